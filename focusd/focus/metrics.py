"""Sharpness metrics of one frame, in one table. Each rises towards focus.

Two are focusd's own and read the radial spectrum: ``log_energy``, free of noise, for comparing scans of one
field; ``band_ratio``, free of noise and of contrast, for comparing frames of different fields. The others are
the classics of the literature (``focusd.focus.classics``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from focusd.focus import classics
from focusd.focus.classics import Image, Mask
from focusd.focus.spectrum import Floats, RadialSpectrum, Score, energy_weights
from focusd.focus.spectrum import log_energy as energy_at

SEARCH_SIGMA_PX = 2.0
FINE_SIGMA_PX = 1.4
COARSE_SIGMA_PX = 4.0
"""At one rate of false alarms over ten textures that wander, 20 and 8 electrons a pixel, this pair found more
steps of 2 depths of field than any other of 1 to 2 with 2 to 8 px."""
COLOUR_SD, MOST_COLOUR = 0.05, 0.2
"""A detector's noise is not quite white: in real frames (800 ns a pixel) its power in the fine band was some
0.15 above that in the corners. What is believed of that beforehand, as a share of the floor, and the most
that is ever taken off: what stands higher in the top rings is the picture."""
TOP_CYCLES = 0.38
"""Rings above this, in cycles per pixel, tell how the floor rises from the corners inwards ..."""
CORNER_CYCLES = 0.575
"""... which lie at this frequency on average."""


class Scorer(Protocol):
    """Scores a frame from its grey levels and its spectrum; of the pixels only those of ``keep`` count."""

    def __call__(self, pixels: Image, spectrum: RadialSpectrum, keep: Mask | None = None, /) -> Score:
        """Give the sharpness with its standard error."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A way to score a frame."""

    name: str
    summary: str
    good_for: str
    score: Scorer


def log_energy(_pixels: Image, spectrum: RadialSpectrum, _keep: Mask | None = None, /) -> Score:
    """Energy of the Laplacian of Gaussian at a scale of 2 px, the noise's share removed."""
    return energy_at(spectrum, SEARCH_SIGMA_PX)


def band_ratio(_pixels: Image, spectrum: RadialSpectrum, _keep: Mask | None = None, /) -> Score:
    """Energy of fine detail over that of coarser detail: contrast and brightness cancel."""
    return band_ratio_of(spectrum)


def band_ratio_of(spectrum: RadialSpectrum) -> Score:
    """Give the metric ``band_ratio``, which needs nothing but the spectrum.

    With F and C the energies at 1.4 and 4 px above the sloping floor of the noise, the score is
    ``max(F, 0.1 e) / hypot(C, e)``. While there is signal this is ``F / C``. e is half the standard error of
    F: when blur has buried both bands, e in the denominator keeps noise over noise from looking like detail,
    and in the numerator it keeps the score positive.
    """
    fine = energy_weights(spectrum, FINE_SIGMA_PX)
    coarse = energy_weights(spectrum, COARSE_SIGMA_PX)
    floor, floor_error = _sloping_floor(spectrum, fine)
    signal = spectrum.power - floor
    least = 0.5 * spectrum.total(fine).standard_error
    fine_energy, coarse_energy = float(fine @ signal), float(coarse @ signal)
    denominator = math.hypot(coarse_energy, least)
    if denominator == 0.0:
        return Score(0.0, 0.0)
    gradient = fine / denominator - coarse * max(fine_energy, 0.0) * coarse_energy / denominator**3
    by_slope = floor_error * float(fine.sum()) / denominator
    return Score(
        max(fine_energy, 0.1 * least) / denominator,
        math.hypot(spectrum.total(gradient).standard_error, by_slope),
    )


def _sloping_floor(spectrum: RadialSpectrum, weights: Floats) -> tuple[Floats, float]:
    """Noise floor of each ring, rising from the corners inwards as the top rings have it, and its error.

    Neither a sharp picture nor a blurred one has much power in the top rings beside the noise's. How far
    their reading is believed depends on how well it is known: frames of few pixels hardly tell the slope.

    Args:
        spectrum: Of the frame.
        weights: Of the rings that the floor is wanted for; the error is that of their mean.
    """
    corner = spectrum.corner_power
    top = spectrum.frequency > TOP_CYCLES
    top_modes = float(spectrum.modes[top].sum())
    if corner <= 0.0 or top_modes == 0.0:
        return np.full_like(spectrum.power, corner), 0.0
    modes = spectrum.modes[top] / top_modes
    rise = (CORNER_CYCLES - spectrum.frequency) / (CORNER_CYCLES - float(modes @ spectrum.frequency[top]))
    reach = float(weights @ rise) / float(weights.sum())
    colour = reach * (float(modes @ spectrum.power[top]) / corner - 1.0)
    error = reach * math.sqrt(1.0 / top_modes + 1.0 / spectrum.corner_modes)
    trust = COLOUR_SD**2 / (COLOUR_SD**2 + error**2)
    taken = min(max(trust * colour, 0.0), MOST_COLOUR)
    return corner * (1.0 + taken / reach * rise), corner * trust * error


def _classic(score: Callable[[Image, Mask | None], Score]) -> Scorer:
    """Fit a classic metric, which needs no spectrum, into the table."""

    def fitted(pixels: Image, _spectrum: RadialSpectrum, keep: Mask | None = None, /) -> Score:
        return score(pixels, keep)

    return fitted


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric(
                "log_energy",
                "energy of the Laplacian of Gaussian at 2 px, noise removed",
                "the search: scans of one field, also at low dose",
                log_energy,
            ),
            Metric(
                "band_ratio",
                "energy of fine detail (1.4 px) over coarser detail (4 px), noise removed",
                "drift: frames of different fields under one imaging condition",
                band_ratio,
            ),
            Metric(
                "laplacian_variance",
                "variance of the Laplacian, as published",
                "noise-free images of one field; reported with every frame",
                _classic(classics.laplacian_variance),
            ),
            Metric(
                "tenengrad",
                "mean squared Sobel gradient",
                "low noise, one field",
                _classic(classics.tenengrad),
            ),
            Metric(
                "brenner",
                "mean squared difference two pixels apart",
                "low noise, one field",
                _classic(classics.brenner),
            ),
            Metric(
                "normalized_variance",
                "variance of grey levels over their mean",
                "large defocus, one field, steady brightness",
                _classic(classics.normalized_variance),
            ),
            Metric(
                "vollath_f4",
                "correlation one pixel apart less that two apart",
                "moderate noise, one field",
                _classic(classics.vollath_f4),
            ),
        )
    }
)


def metric(name: str) -> Metric:
    """Look a metric up.

    Raises:
        ValueError: there is none of that name; the message lists those there are.
    """
    try:
        return METRICS[name]
    except KeyError:
        raise ValueError(f"unknown metric {name!r}; known are {', '.join(METRICS)}") from None
