"""The published score: the variance of the Laplacian, to the last digit, in a strip of memory.

The definition is ``cv2.Laplacian(pixels, cv2.CV_64F).var()``. Computed as written it fills two float64 images
(1 GiB for a frame of 8192 x 8192). Here the frame goes through two small buffers, block by block, and the
result is put together from two integers: the sum of the Laplacian over the frame and the sum of its squares.

* The sum needs no pass. Each line's second differences telescope, and under the mirrored border that OpenCV
  uses (``BORDER_REFLECT_101``) what is left are the first differences at the two ends of the line.
* The sum of squares comes from ``cv2.norm``, which adds in float64. It is exact while it stays below 2**53;
  it is given back as the square of a root, so it is trusted below 2**50 and rounded. A block above that
  (16-bit noise of full contrast) is counted again in integers.

Source of the score: J. L. Pech-Pacheco, G. Cristobal, J. Chamorro-Martinez, J. Fernandez-Valdivia, "Diatom
autofocusing in brightfield microscopy: a comparative study", ICPR 2000, equation 6.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from focusd.errors import ImageError

_BUFFER_BYTES = 15 << 15
"""Size of each of a block's two buffers: both together fit the second-level cache of the processors it was
measured on, and the calls of numpy and OpenCV cost little beside the work on a block."""
_BLOCK_COLUMNS = 4096
"""Wider frames are cut, so that the two lines about a block stay a small part of it."""
_LARGEST_IN_16_BITS = (1 << 15) // 4 - 1
"""Up to this grey level four pixels, and so the Laplacian, fit int16: all of uint8, and 12 bits."""
_TRUSTED_SUM = 1 << 50

AnyArray = NDArray[Any]
_Buffers = tuple[AnyArray, AnyArray]

_SPARE: deque[_Buffers] = deque(maxlen=4)
"""Buffers that wait for the next frame, of any thread: to fresh memory the system adds page after page, which
can cost as much as the work on a small frame."""


def laplacian_variance(pixels: AnyArray) -> float:
    """Give the variance of the image's Laplacian, equal to ``cv2.Laplacian(pixels, cv2.CV_64F).var()``.

    The score rises towards focus while there is no noise; noise of variance ``s**2`` adds ``20 * s**2``.
    Beside the image it takes 1 MiB of memory, however large the image is, and keeps it for the next.

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
    """Sum of the squared Laplacian over the whole image: in int16 up to the first block that needs more."""
    rows, columns = pixels.shape
    buffers = _buffers()
    block = _Block(buffers, np.dtype(np.int16))
    total = 0
    parts = -(-columns // _BLOCK_COLUMNS)
    for part in range(parts):
        across = slice(part * columns // parts, (part + 1) * columns // parts)
        top = 0
        while top < rows:
            down = slice(top, min(top + block.height(across), rows))
            if block.is_small and not _fits_in_16_bits(pixels[_widened(down), _widened(across)]):
                block = _Block(buffers, np.dtype(np.float32))
                continue
            block.load(pixels, down, across)
            total += block.sum_of_squares()
            top = down.stop
    _SPARE.append(buffers)
    return total


def _buffers() -> _Buffers:
    """Give two buffers that nobody uses."""
    try:
        return _SPARE.pop()
    except IndexError:
        return np.empty(_BUFFER_BYTES, np.uint8), np.empty(_BUFFER_BYTES, np.uint8)


def _widened(span: slice) -> slice:
    """A span of a block's lines with the line on either side, where there is one."""
    return slice(max(span.start - 1, 0), span.stop + 1)


def _fits_in_16_bits(pixels: AnyArray) -> bool:
    return pixels.dtype.itemsize == 1 or bool(pixels.max() <= _LARGEST_IN_16_BITS)


class _Block:
    """A rectangle of the image with one more line on every side, and what is worked out of it in place.

    Both buffers are flat, and a line is followed by the next. So one addition gives the sum of the upper
    and the left neighbour of each pixel; that of the lower and the right one is the same array, one line and
    one pixel on. At the ends of a line that is wrong, but there it is only read for the lines on every side.

    Args:
        buffers: Memory for the pixels, and for the sums of neighbours.
        dtype: int16 while the Laplacian fits it, float32 otherwise: whole numbers are exact in both.
    """

    def __init__(self, buffers: _Buffers, dtype: np.dtype[Any]) -> None:
        self.is_small = dtype.itemsize == 2
        self._values, self._pairs = (one.view(dtype) for one in buffers)
        if not self.is_small:
            # The conversion below multiplies what was there by 0, which must be a number.
            self._values.fill(0)
        self._shape = (0, 0)

    def height(self, across: slice) -> int:
        """Lines of a block so wide."""
        width: int = across.stop - across.start
        return max(1, self._values.size // (width + 2) - 2)

    def load(self, pixels: AnyArray, down: slice, across: slice) -> None:
        """Copy a block and the lines about it; beyond the image's border they are mirrored."""
        self._reshape(down.stop - down.start, across.stop - across.start)
        rows, columns = pixels.shape
        source = pixels[_widened(down), _widened(across)]
        first, left = int(down.start == 0), int(across.start == 0)
        target = self._grid[first : first + source.shape[0], left : left + source.shape[1]]
        if self.is_small or not source.dtype.isnative:
            np.copyto(target, source, casting="unsafe")
        else:
            # No more than a conversion from 16 bits, but a faster one than numpy's.
            cv2.accumulateWeighted(source, target, 1.0)
        if down.start == 0:
            self._grid[0] = self._grid[2]
        if down.stop == rows:
            self._grid[-1] = self._grid[-3]
        if across.start == 0:
            self._grid[:, 0] = self._grid[:, 2]
        if across.stop == columns:
            self._grid[:, -1] = self._grid[:, -3]

    def sum_of_squares(self) -> int:
        """Sum of the squared Laplacian of the block; its pixels are gone after that."""
        centre = self._centre
        np.add(*self._up_and_left, out=self._all_pairs)
        if self.is_small:
            np.multiply(centre, 4, out=centre)
            np.subtract(centre, self._before, out=centre)
            np.subtract(centre, self._after, out=centre)
            return round(cv2.norm(self._inner, cv2.NORM_L2SQR))
        cv2.addWeighted(centre, 4.0, self._before, -1.0, 0.0, dst=centre)
        fast = cv2.norm(self._inner, self._after_grid, cv2.NORM_L2SQR)
        if fast < _TRUSTED_SUM:
            return round(fast)
        lines = zip(self._inner, self._after_grid, strict=True)
        return sum(int(np.square((one - other).astype(np.int64)).sum()) for one, other in lines)

    def _reshape(self, height: int, width: int) -> None:
        """Lay the views out for blocks of this shape."""
        if (height, width) == self._shape:
            return
        self._shape = (height, width)
        line = width + 2
        size, counted, first = (height + 2) * line, height * line - 2, line + 1
        self._grid = self._values[:size].reshape(height + 2, line)
        self._inner = self._grid[1:-1, 1:-1]
        self._centre = self._values[first : first + counted]
        self._up_and_left = self._values[: size - line], self._values[line - 1 : size - 1]
        self._all_pairs = self._pairs[: size - line]
        self._before = self._pairs[1 : 1 + counted]
        self._after = self._pairs[first + 1 : first + 1 + counted]
        strides = (line * self._after.itemsize, self._after.itemsize)
        self._after_grid = as_strided(self._after, (height, width), strides, writeable=False)
