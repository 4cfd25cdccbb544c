"""A microscope small enough for tests: a disk of confusion, shot noise, 8 bits.

One depth of field adds one pixel of blur radius. The beam in focus is a Gaussian of radius one pixel. Dose is
in electrons a pixel at mid grey, 128.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import j1

from focusd.focus.measure import Measurement
from focusd.focus.quality import Quality
from focusd.focus.spectrum import RadialSpectrum, Score
from focusd.frame import Pixels

SIDE_PX = 256
DEPTH_UM = 2.0
DEPTH_MM = DEPTH_UM / 1000.0

Image = NDArray[np.float64]


@lru_cache(maxsize=8)
def texture(kind: str, side_px: int = SIDE_PX) -> Image:
    """Give a periodic specimen of mid-grey mean: ``cells``, ``powder`` or ``particles``."""
    rng = np.random.default_rng(sum(map(ord, kind)))
    if kind == "cells":
        image = np.asarray(np.tanh(12.0 * _field(rng, side_px, smooth_px=4.0)) * 45.0, np.float64)
    elif kind == "powder":
        image = _field(rng, side_px, falling=1.3) * 40.0
    else:
        image = np.where(_field(rng, side_px, smooth_px=2.5) > 1.2, 120.0, 0.0)
    return np.asarray(np.clip(image - image.mean() + 128.0, 5.0, 250.0), np.float64)


def _field(rng: np.random.Generator, side_px: int, *, smooth_px: float = 0.0, falling: float = 0.0) -> Image:
    """A random periodic field of unit variance, smoothed or with an amplitude falling as a power."""
    frequency = np.hypot(np.fft.fftfreq(side_px)[:, np.newaxis], np.fft.rfftfreq(side_px))
    frequency[0, 0] = 1.0
    modes = fft.rfft2(rng.standard_normal((side_px, side_px)))
    modes *= np.exp(-2.0 * (np.pi * smooth_px * frequency) ** 2) * np.power(frequency, -falling)
    modes[0, 0] = 0.0
    field = np.asarray(fft.irfft2(modes, s=(side_px, side_px)), np.float64)
    return np.asarray(field / field.std(), np.float64)


def transfer(frequency: Image, radius_px: float) -> Image:
    """Give the transfer function of a Gaussian beam of radius 1 px widened by a disk."""
    argument = np.maximum(2.0 * np.pi * radius_px * frequency, 1e-6)
    values: Image = np.exp(-0.5 * (np.pi * frequency) ** 2) * 2.0 * j1(argument) / argument
    return values


def blurred(image: Image, radius_px: float) -> Image:
    """See an image through a beam defocused to a disk."""
    frequency = np.hypot(np.fft.fftfreq(image.shape[0])[:, np.newaxis], np.fft.rfftfreq(image.shape[1]))
    seen: Image = fft.irfft2(fft.rfft2(image) * transfer(frequency, radius_px), s=image.shape)
    return seen


def exposed(image: Image, dose: float, rng: np.random.Generator) -> Pixels:
    """Add shot noise and convert to 8 bits; at low dose the contrast is set so that the noise fits."""
    counts = rng.poisson(np.maximum(image, 0.0) * (dose / 128.0)) * (128.0 / dose)
    scale = min(1.0, 40.0 / (128.0 / np.sqrt(dose)))
    grey = scale * counts + (1.0 - scale) * 110.0
    pixels: Pixels = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return pixels


class Column:
    """A column with its best focus somewhere; ``scan`` gives a frame at a working distance."""

    def __init__(self, kind: str, *, focus_mm: float, dose: float, seed: int = 0) -> None:
        self._image = texture(kind)
        self._focus_mm = focus_mm
        self._dose = dose
        self._rng = np.random.default_rng(seed)

    def scan(self, working_distance_mm: float) -> Pixels:
        """Take one frame."""
        radius_px = abs(working_distance_mm - self._focus_mm) / DEPTH_MM
        return exposed(blurred(self._image, radius_px), self._dose, self._rng)


_FREQUENCY = np.geomspace(0.006, 0.49, 36)
_MODES = 30.0 + 60_000.0 * _FREQUENCY**2


def measured(
    radius_px: float, *, noise: float = 100.0, rng: np.random.Generator | None = None
) -> Measurement:
    """Make the measurement of a frame blurred by a disk, from the theory of its spectrum alone.

    The specimen's power falls as the third power of the frequency. ``noise`` is its white floor; with ``rng``
    the rings scatter as counting demands.
    """
    signal = 0.05 * _FREQUENCY**-3 * transfer(_FREQUENCY, radius_px) ** 2
    scatter = np.zeros_like(signal)
    floor = noise
    if rng is not None:
        scatter = rng.standard_normal(signal.size) * np.sqrt((noise**2 + 2.0 * noise * signal) / _MODES)
        floor = noise * (1.0 + 0.005 * rng.standard_normal())
    return measurement(RadialSpectrum(_FREQUENCY, signal + noise + scatter, _MODES, floor))


def measurement(spectrum: RadialSpectrum, scores: dict[str, Score] | None = None) -> Measurement:
    """Wrap a made spectrum, or made scores, as if a frame had been measured."""
    return Measurement(
        shape=(SIDE_PX, SIDE_PX),
        scores=scores or {"laplacian_variance": Score(1.0, 0.0)},
        laplacian_variance=(scores or {}).get("laplacian_variance", Score(1.0, 0.0)).value,
        quality=Quality(True, None, 0.0, 0.0, 128.0, 0.2, 50.0),
        spectrum=spectrum,
    )


def scored(value: float, error: float = 0.0, *, metric: str = "tenengrad") -> Measurement:
    """Make a measurement that holds one score and a featureless spectrum."""
    flat = RadialSpectrum(_FREQUENCY, np.full(_FREQUENCY.size, 1.0), _MODES, 1.0)
    return measurement(flat, {metric: Score(value, error), "laplacian_variance": Score(value, error)})
