"""Sharpness metrics of one frame, in one table. Each rises towards focus.

Two are focusd's own and read the radial spectrum: ``log_energy``, free of noise, for comparing scans of one
field; ``band_ratio``, free of noise and of contrast, for comparing frames of different fields. The others are
classics of the literature, kept for comparison; they count noise as sharpness.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from focusd.focus import laplacian
from focusd.focus.spectrum import RadialSpectrum, Score, energy_weights
from focusd.focus.spectrum import log_energy as energy_at
from focusd.frame import Pixels

SEARCH_SIGMA_PX = 2.0
FINE_SIGMA_PX = 1.4
COARSE_SIGMA_PX = 2.8
"""Over a specimen whose texture wanders, at 20 electrons a pixel, a pair at 1 and 2 px raised a hundred times
more false alarms and found a step of 2 depths of field no sooner."""
COLOURED_NOISE_SHARE = 0.1
"""A detector's noise is not quite white: in real frames (800 ns a pixel) its power at low frequencies was a
tenth above that in the corners."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A way to score a frame."""

    name: str
    summary: str
    good_for: str
    score: Callable[[Pixels, RadialSpectrum], Score]


def log_energy(_pixels: Pixels, spectrum: RadialSpectrum) -> Score:
    """Energy of the Laplacian of Gaussian at a scale of 2 px, the noise's share removed."""
    return energy_at(spectrum, SEARCH_SIGMA_PX)


def band_ratio(_pixels: Pixels, spectrum: RadialSpectrum) -> Score:
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


def laplacian_variance(pixels: Pixels, _spectrum: RadialSpectrum) -> Score:
    """Variance of the Laplacian; see ``focusd.focus.laplacian``."""
    # Sum of the squared correlations of neighbouring values of a Laplacian of white noise: 676 / 20**2.
    return _scattered(laplacian.laplacian_variance(pixels), pixels, 1.69)


def tenengrad(pixels: Pixels, _spectrum: RadialSpectrum) -> Score:
    """Mean squared gradient by Sobel's operator.

    Source: J. M. Tenenbaum, "Accommodation in computer vision", thesis, Stanford 1970; as used by
    E. Krotkov, "Focusing", International Journal of Computer Vision 1, 1987.
    """
    image = pixels.astype(np.float32)
    squares = sum(cv2.norm(cv2.Sobel(image, cv2.CV_32F, *axis), cv2.NORM_L2SQR) for axis in ((1, 0), (0, 1)))
    return _scattered(squares / pixels.size, pixels, 2.92)


def brenner(pixels: Pixels, _spectrum: RadialSpectrum) -> Score:
    """Mean squared difference of pixels two apart, along rows and along columns.

    Source: J. F. Brenner and others, "An automated microscope for cytologic research", Journal of
    Histochemistry and Cytochemistry 24, 1976 (there along one axis).
    """
    image = pixels.astype(np.float32)
    return _scattered(
        _mean_square(image[2:] - image[:-2]) + _mean_square(image[:, 2:] - image[:, :-2]), pixels, 1.5
    )


def normalized_variance(pixels: Pixels, _spectrum: RadialSpectrum) -> Score:
    """Variance of the grey levels over their mean.

    Source: F. C. A. Groen, I. T. Young, G. Ligthart, "A comparison of different focus functions for use in
    autofocus algorithms", Cytometry 6, 1985 (function 8).
    """
    mean, deviation = cv2.meanStdDev(pixels)
    level = float(mean[0, 0])
    return _scattered(float(deviation[0, 0]) ** 2 / level if level > 0.0 else 0.0, pixels, 1.0)


def vollath_f4(pixels: Pixels, _spectrum: RadialSpectrum) -> Score:
    """Correlation of pixels one apart less that of pixels two apart, along rows and along columns.

    White noise has neither, so its mean contribution is zero.

    Source: D. Vollath, "Automatic focusing by correlative methods", Journal of Microscopy 147, 1987,
    function F4 (there along one axis, and without the mean taken off, which only adds a border term).
    """
    image = pixels.astype(np.float32)
    image -= image.mean(dtype=np.float64)
    value = (
        _mean_product(image[:-1], image[1:])
        - _mean_product(image[:-2], image[2:])
        + _mean_product(image[:, :-1], image[:, 1:])
        - _mean_product(image[:, :-2], image[:, 2:])
    )
    # Four correlations, each of standard error variance / sqrt(pixels) in white noise.
    return Score(value, _mean_square(image) * math.sqrt(4.0 / pixels.size))


def _scattered(value: float, pixels: Pixels, correlation: float) -> Score:
    """A mean square with the standard error it has if all of it is noise: the most that noise can do.

    ``correlation`` is the sum of the squared correlations between values of the filtered noise.
    """
    return Score(value, value * math.sqrt(2.0 * correlation / pixels.size))


def _mean_square(values: NDArray[np.float32]) -> float:
    return float(cv2.norm(values, cv2.NORM_L2SQR)) / values.size


def _mean_product(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.mean(one * other, dtype=np.float64))


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
                laplacian_variance,
            ),
            Metric("tenengrad", "mean squared Sobel gradient", "low noise, one field", tenengrad),
            Metric("brenner", "mean squared difference two pixels apart", "low noise, one field", brenner),
            Metric(
                "normalized_variance",
                "variance of grey levels over their mean",
                "large defocus, one field, steady brightness",
                normalized_variance,
            ),
            Metric(
                "vollath_f4",
                "correlation one pixel apart less that two apart",
                "moderate noise, one field",
                vollath_f4,
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
