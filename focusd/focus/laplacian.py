"""The published score: the variance of the Laplacian, to the last digit, in a strip of memory.

The definition is ``cv2.Laplacian(pixels, cv2.CV_64F).var()``. Computed as written it fills two float64 images
(1 GiB for a frame of 8192 x 8192). Here the frame goes through OpenCV strip by strip, and the result is put
together from two integers: the sum of the Laplacian over the frame and the sum of its squares.

* The sum needs no pass. Each line's second differences telescope, and under the mirrored border that OpenCV
  uses (``BORDER_REFLECT_101``) what is left are the first differences at the two ends of the line.
* The sum of squares comes from ``cv2.norm``, which adds in float64. It is exact while it stays below 2**53;
  it is given back as the square of a root, so it is trusted below 2**50 and rounded. A strip above that
  (16-bit noise of full contrast) is counted again in integers.

Source of the score: J. L. Pech-Pacheco, G. Cristobal, J. Chamorro-Martinez, J. Fernandez-Valdivia, "Diatom
autofocusing in brightfield microscopy: a comparative study", ICPR 2000, equation 6.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from focusd.errors import ImageError

_STRIP_BYTES = 1 << 20
"""Size of the strip's Laplacian: fits the second-level cache of the processors it was measured on."""
_TRUSTED_SUM = 1 << 50

AnyArray = NDArray[Any]


def laplacian_variance(pixels: AnyArray) -> float:
    """Give the variance of the image's Laplacian, equal to ``cv2.Laplacian(pixels, cv2.CV_64F).var()``.

    The score rises towards focus while there is no noise; noise of variance ``s**2`` adds ``20 * s**2``.

    Args:
        pixels: Grey levels, uint8 or uint16 of either byte order, shape ``(rows, columns)``, each side at
            least 2 px, in any memory layout; it is not written to.

    Returns:
        Variance in squared grey levels, never negative; exact but for one rounding to float.

    Raises:
        ImageError: not two-dimensional, under 2 px on a side, or of another type.
    """
    if pixels.ndim != 2 or min(pixels.shape) < 2:
        raise ImageError(f"an image must have rows and columns, at least 2 of each, got shape {pixels.shape}")
    if pixels.dtype.kind != "u" or pixels.dtype.itemsize not in {1, 2}:
        raise ImageError(f"an image must be uint8 or uint16, got {pixels.dtype}")
    total = _sum(pixels)
    squares = _sum_of_squares(pixels)
    return (pixels.size * squares - total * total) / pixels.size**2


def _sum(pixels: AnyArray) -> int:
    """Sum of the Laplacian over the whole image, from its border lines."""
    return sum(
        _line_sum(inner) - _line_sum(outer)
        for inner, outer in (
            (pixels[1], pixels[0]),
            (pixels[-2], pixels[-1]),
            (pixels[:, 1], pixels[:, 0]),
            (pixels[:, -2], pixels[:, -1]),
        )
    )


def _line_sum(line: AnyArray) -> int:
    return int(line.sum(dtype=np.int64))


def _sum_of_squares(pixels: AnyArray) -> int:
    """Sum of the squared Laplacian over the whole image, strip by strip."""
    rows, columns = pixels.shape
    small = pixels.dtype.itemsize == 1
    item_bytes = 2 if small else 4
    height = max(1, _STRIP_BYTES // (item_bytes * columns))
    buffer = np.empty((min(height, rows) + 2, columns), np.int16 if small else np.float32)
    source = np.empty_like(buffer) if not small else None
    total = 0
    for top in range(0, rows, height):
        bottom = min(top + height, rows)
        # One line more on either side, so that the mirrored border falls on lines that are not counted.
        first, last = max(top - 1, 0), min(bottom + 1, rows)
        strip = pixels[first:last]
        if source is None:
            part = cv2.Laplacian(np.ascontiguousarray(strip), cv2.CV_16S, dst=buffer[: last - first])
        else:
            # OpenCV's own path from 16 bits to float is slow; converting first takes half the time.
            converted = source[: last - first]
            np.copyto(converted, strip)
            part = cv2.Laplacian(converted, cv2.CV_32F, dst=buffer[: last - first])
        total += _squares(part[top - first : bottom - first])
    return total


def _squares(values: AnyArray) -> int:
    """Exact sum of the squares of whole numbers held as int16 or float32."""
    fast = cv2.norm(values, cv2.NORM_L2SQR)
    if fast < _TRUSTED_SUM:
        return round(fast)
    return sum(int(np.square(row.astype(np.int64)).sum()) for row in values)
