"""Everything that is read off one frame, in one go; meant for a worker thread."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from focusd.focus.metrics import metric
from focusd.focus.quality import Quality, assess
from focusd.focus.spectrum import RadialSpectrum, Score, radial_spectrum
from focusd.frame import Pixels, checked_pixels

_PUBLISHED = "laplacian_variance"


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """What one frame says about focus; small, so it may be kept when the pixels are gone."""

    shape: tuple[int, int]
    """Rows and columns of the frame."""
    scores: Mapping[str, Score]
    """By metric; always holds ``laplacian_variance``."""
    laplacian_variance: float
    """The published score, exact."""
    quality: Quality
    spectrum: RadialSpectrum


def measure(pixels: Pixels, metrics: Collection[str]) -> Measurement:
    """Score a frame by the named metrics, with its spectrum and whether it can be judged.

    Args:
        pixels: Grey levels, uint8 or uint16, each side 64 to 32,768 px.
        metrics: Names from ``METRICS``.

    Raises:
        ImageError: the pixels are none of that.
        ValueError: a metric is not known.
    """
    image = checked_pixels(pixels)
    spectrum = radial_spectrum(image)
    scores = {name: metric(name).score(image, spectrum) for name in (*metrics, _PUBLISHED)}
    return Measurement(
        shape=(image.shape[0], image.shape[1]),
        scores=scores,
        laplacian_variance=scores[_PUBLISHED].value,
        quality=assess(image, spectrum),
        spectrum=spectrum,
    )
