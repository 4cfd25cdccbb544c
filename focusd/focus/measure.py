"""Everything that is read off one frame, in one go; meant for a worker thread."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from focusd.errors import ImageError
from focusd.focus.classics import Mask, high_passed
from focusd.focus.metrics import metric
from focusd.focus.quality import Quality, assess
from focusd.focus.spectrum import RadialSpectrum, Score, radial_spectrum
from focusd.frame import MIN_SIDE_PX, Pixels, ScanRegion, checked_pixels

_PUBLISHED = "laplacian_variance"


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """What one frame says about focus; small, so it may be kept when the pixels are gone."""

    shape: tuple[int, int]
    """Rows and columns of the frame, or of the part of it that was looked at."""
    scores: Mapping[str, Score]
    """By metric; always holds ``laplacian_variance``."""
    laplacian_variance: float
    """The published score, exact unless a mask or a filter was applied."""
    quality: Quality
    spectrum: RadialSpectrum


def measure(
    pixels: Pixels,
    metrics: Collection[str],
    *,
    region: ScanRegion | None = None,
    mask: Mask | None = None,
    high_pass_px: float | None = None,
) -> Measurement:
    """Score a frame by the named metrics, with its spectrum and whether it can be judged.

    Args:
        pixels: Grey levels, uint8 or uint16, each side 64 to 32,768 px.
        metrics: Names from ``METRICS``.
        region: Part of the frame that is looked at, each side at least 64 px; all of it when not given.
        mask: Which pixels count, bool, of the frame's shape (not the region's); e.g. without an empty border.
        high_pass_px: Sigma of the Gaussian blur that is subtracted before the classic metrics, in pixels; see
            ``focusd.focus.classics``. Spectrum and quality are those of the frame as it is.

    Raises:
        ImageError: the pixels are none of that, or too few of them count.
        ValueError: a metric is not known, or region, mask or filter do not fit the frame.
    """
    image, keep = _part(checked_pixels(pixels), region, mask)
    spectrum = radial_spectrum(image, keep=keep)
    seen = image if high_pass_px is None else high_passed(image, high_pass_px)
    scores = {name: metric(name).score(seen, spectrum, keep) for name in (*metrics, _PUBLISHED)}
    return Measurement(
        shape=(image.shape[0], image.shape[1]),
        scores=scores,
        laplacian_variance=scores[_PUBLISHED].value,
        quality=assess(image, spectrum, keep),
        spectrum=spectrum,
    )


def _part(image: Pixels, region: ScanRegion | None, mask: Mask | None) -> tuple[Pixels, Mask | None]:
    """Cut out the region, and of the rest the box that holds all pixels that count."""
    rows, columns = image.shape
    if mask is not None and (mask.shape != image.shape or mask.dtype != np.bool_):
        raise ValueError(
            f"a mask must be bool of the frame's shape {image.shape}, got {mask.dtype}, {mask.shape}"
        )
    if region is not None:
        right, bottom = region.x + region.width, region.y + region.height
        if min(region.x, region.y) < 0 or right > columns or bottom > rows:
            raise ValueError(
                f"a region must lie inside x 0..{columns}, y 0..{rows}, "
                f"got x {region.x}..{right}, y {region.y}..{bottom}"
            )
        part = slice(region.y, bottom), slice(region.x, right)
        image, mask = checked_pixels(image[part]), None if mask is None else mask[part]
    if mask is None or mask.all():
        return image, None
    box = _box(mask)
    return checked_pixels(image[box]), np.ascontiguousarray(mask[box])


def _box(mask: Mask) -> tuple[slice, slice]:
    """Give the smallest box that holds all of a mask, but no side under 64 px."""
    top, bottom = _span(np.flatnonzero(mask.any(axis=1)))
    left, right = _span(np.flatnonzero(mask.any(axis=0)))
    return slice(top, bottom), slice(left, right)


def _span(where: NDArray[np.intp]) -> tuple[int, int]:
    if where.size == 0:
        raise ImageError("no pixel counts: the mask is empty")
    first, last = int(where[0]), int(where[-1]) + 1
    first = max(0, min(first, last - MIN_SIDE_PX))
    return first, max(last, first + MIN_SIDE_PX)
