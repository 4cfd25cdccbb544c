"""The sharpness metrics of the literature, kept for comparison. They rise towards focus, and with noise.

Each takes grey levels (uint8, uint16, or float32 after ``high_passed``) and, where only a part of the frame
counts, a mask of the pixels that do: a filtered value counts when every pixel that went into it does.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from focusd.focus import laplacian
from focusd.focus.spectrum import Score
from focusd.frame import Pixels

Image: TypeAlias = Pixels | NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]
_Values: TypeAlias = NDArray[np.float32]

_REACH = np.ones((3, 3), np.uint8)
"""The pixels that a 3 x 3 filter looks at."""


def high_passed(pixels: Pixels, sigma_px: float) -> NDArray[np.float32]:
    """Take slow changes of brightness (charging, shading) out of a frame: its Gaussian blur is subtracted.

    The published drift detection by the variance of the Laplacian has this filter as an option. The mean grey
    level is kept, for the metrics that divide by it. The Laplacian itself hardly changes: it weights detail
    by its frequency squared already.

    Args:
        pixels: Grey levels, uint8 or uint16.
        sigma_px: Standard deviation of the Gaussian; detail much larger than it goes.

    Raises:
        ValueError: ``sigma_px`` is not above 0, or above a quarter of the shorter side.
    """
    if not 0.0 < sigma_px <= min(pixels.shape) / 4.0:
        raise ValueError(
            f"high_pass_px must be above 0 and at most {min(pixels.shape) / 4.0:g}, a quarter of the shorter "
            f"side, got {sigma_px:g}"
        )
    image = pixels.astype(np.float32)
    filtered: NDArray[np.float32] = (
        image - cv2.GaussianBlur(image, (0, 0), sigma_px) + np.float32(image.mean())
    )
    return filtered


def laplacian_variance(image: Image, keep: Mask | None = None) -> Score:
    """Variance of the Laplacian; exact for a whole frame of grey levels, see ``focusd.focus.laplacian``."""
    # Sum of the squared correlations of neighbouring values of a Laplacian of white noise: 676 / 20**2.
    if keep is None and image.dtype.kind == "u":
        return _scattered(laplacian.laplacian_variance(image), image.size, 1.69)
    values = _kept(_filtered(cv2.Laplacian(image.astype(np.float32), cv2.CV_32F)), _inner(keep))
    return _scattered(float(values.var(dtype=np.float64)), values.size, 1.69)


def tenengrad(image: Image, keep: Mask | None = None) -> Score:
    """Mean squared gradient by Sobel's operator.

    Source: J. M. Tenenbaum, "Accommodation in computer vision", thesis, Stanford 1970; as used by
    E. Krotkov, "Focusing", International Journal of Computer Vision 1, 1987.
    """
    inner, values = _inner(keep), image.astype(np.float32)
    slopes = [_kept(_filtered(cv2.Sobel(values, cv2.CV_32F, *axis)), inner) for axis in ((1, 0), (0, 1))]
    return _scattered(sum(_mean_square(slope) for slope in slopes), slopes[0].size, 2.92)


def brenner(image: Image, keep: Mask | None = None) -> Score:
    """Mean squared difference of pixels two apart, along rows and along columns.

    Source: J. F. Brenner and others, "An automated microscope for cytologic research", Journal of
    Histochemistry and Cytochemistry 24, 1976 (there along one axis).
    """
    values = image.astype(np.float32)
    size = image.size if keep is None else int(np.count_nonzero(keep))
    return _scattered(
        sum(_mean_square(one - other) for one, other in _pairs(values, keep, apart_px=2)), size, 1.5
    )


def normalized_variance(image: Image, keep: Mask | None = None) -> Score:
    """Variance of the grey levels over their mean.

    Source: F. C. A. Groen, I. T. Young, G. Ligthart, "A comparison of different focus functions for use in
    autofocus algorithms", Cytometry 6, 1985 (function 8).
    """
    mean, deviation = cv2.meanStdDev(image, mask=None if keep is None else keep.astype(np.uint8))
    level = float(mean[0, 0])
    size = image.size if keep is None else int(np.count_nonzero(keep))
    return _scattered(float(deviation[0, 0]) ** 2 / level if level > 0.0 else 0.0, size, 1.0)


def vollath_f4(image: Image, keep: Mask | None = None) -> Score:
    """Correlation of pixels one apart less that of pixels two apart, along rows and along columns.

    White noise has neither, so its mean contribution is zero.

    Source: D. Vollath, "Automatic focusing by correlative methods", Journal of Microscopy 147, 1987,
    function F4 (there along one axis, and without the mean taken off, which only adds a border term).
    """
    values = image.astype(np.float32)
    values -= _kept(values, keep).mean(dtype=np.float64)
    near, far = (
        sum(_mean_product(one, other) for one, other in _pairs(values, keep, apart_px=apart_px))
        for apart_px in (1, 2)
    )
    kept = _kept(values, keep)
    # Four correlations, each of standard error variance / sqrt(pixels) in white noise.
    return Score(near - far, _mean_square(kept) * math.sqrt(4.0 / kept.size))


def _pairs(values: _Values, keep: Mask | None, *, apart_px: int) -> list[tuple[_Values, _Values]]:
    """Pixels so far apart, along columns and along rows, where both count."""
    down = (values[:-apart_px], values[apart_px:])
    across = (values[:, :-apart_px], values[:, apart_px:])
    if keep is None:
        return [down, across]
    both = keep[:-apart_px] & keep[apart_px:], keep[:, :-apart_px] & keep[:, apart_px:]
    return [(one[kept], other[kept]) for (one, other), kept in zip((down, across), both, strict=True)]


def _inner(keep: Mask | None) -> Mask | None:
    """Where a 3 x 3 filter sees nothing but pixels that count."""
    return None if keep is None else cv2.erode(keep.astype(np.uint8), _REACH).astype(np.bool_)


def _filtered(values: NDArray[Any]) -> _Values:
    """OpenCV's stubs do not tell the type that was asked for."""
    return values


def _kept(values: _Values, keep: Mask | None) -> _Values:
    return values if keep is None else values[keep]


def _scattered(value: float, size: int, correlation: float) -> Score:
    """A mean square with the standard error it has if all of it is noise: the most that noise can do.

    ``correlation`` is the sum of the squared correlations between values of the filtered noise.
    """
    return Score(value, value * math.sqrt(2.0 * correlation / size))


def _mean_square(values: _Values) -> float:
    return float(cv2.norm(values, cv2.NORM_L2SQR)) / values.size


def _mean_product(one: _Values, other: _Values) -> float:
    return float(np.mean(one * other, dtype=np.float64))
