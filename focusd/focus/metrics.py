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

from focusd.focus import classics
from focusd.focus.classics import Image, Mask
from focusd.focus.spectrum import RadialSpectrum, Score, energy_weights
from focusd.focus.spectrum import log_energy as energy_at

SEARCH_SIGMA_PX = 2.0
FINE_SIGMA_PX = 1.4
COARSE_SIGMA_PX = 2.8
"""Over a specimen whose texture wanders, at 20 electrons a pixel, a pair at 1 and 2 px raised a hundred times
more false alarms and found a step of 2 depths of field no sooner."""
COLOURED_NOISE_SHARE = 0.1
"""A detector's noise is not quite white: in real frames (800 ns a pixel) its power at low frequencies was a
tenth above that in the corners."""


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
    """Energy of fine detail over that of coarser detail: contrast and brightness cancel.

    With F and C the noise-corrected energies at 1.4 and 2.8 px, the score is ``max(F, 0.1 e) / hypot(C, e)``.
    While there is signal this is ``F / C``. e is half of what noise may have left in F, its standard error
    and the share of coloured noise together: when blur has buried both bands, e in the denominator keeps
    noise over noise from looking like detail, and in the numerator it keeps the score positive.
    """
    fine, coarse = energy_at(spectrum, FINE_SIGMA_PX), energy_at(spectrum, COARSE_SIGMA_PX)
    noise = float(energy_weights(spectrum, FINE_SIGMA_PX).sum()) * spectrum.corner_power
    left = 0.5 * math.hypot(fine.standard_error, COLOURED_NOISE_SHARE * noise)
    denominator = math.hypot(coarse.value, left)
    if denominator == 0.0:
        return Score(0.0, 0.0)
    gradient = (
        energy_weights(spectrum, FINE_SIGMA_PX) / denominator
        - energy_weights(spectrum, COARSE_SIGMA_PX) * max(fine.value, 0.0) * coarse.value / denominator**3
    )
    value = max(fine.value, 0.1 * left) / denominator
    return Score(value, spectrum.total(gradient).standard_error)


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
                "energy of fine detail (1.4 px) over coarser detail (2.8 px), noise removed",
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
