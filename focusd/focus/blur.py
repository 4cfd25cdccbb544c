"""How blur changes the power spectrum of a frame, and what two frames of one field tell of each other's blur.

A frame's power at a spatial frequency is the specimen's, times ``|H|**2`` of the beam, plus white noise. In
two frames of one field the specimen is the same, so the ratio of their noise-corrected powers is the ratio of
their ``|H|**2``, whatever the specimen is.

``|H|**2`` is written as a function of ``x = pi r f``, with f in cycles per pixel and r the radius of blur in
pixels. A uniform disk of radius r has ``H = 2 J1(2 x) / (2 x)`` (J. W. Goodman, Introduction to Fourier
Optics, 1968, section 6.4, geometrical limit), which begins ``|H|**2 = 1 - x**2``. The Gaussian
``|H|**2 = exp(-x**2)`` begins alike, as does any round spot of the same second moment: so for small x the
slope of ``log(P2 / P1)`` against ``(pi f)**2`` is ``r1**2 - r2**2``, with no model of the spot at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import j1

from focusd.focus.compare import common_floor
from focusd.focus.spectrum import Floats, RadialSpectrum

Floats32 = NDArray[np.float32]

FLOOR_SLACK = 0.02
"""Relative error of the noise floor in a ring: a detector's noise is not quite white."""
FAINTEST = 1e-6
"""Least ``|H|**2``: beyond it scattered electrons, not the disk's zeros, decide what is seen."""
_SMEAR = np.linspace(0.85, 1.15, 9)
"""Spread of radii within a frame, by tilt and astigmatism; it washes the side lobes of the disk out."""
_LARGEST_X = 40.0
_STEPS_PER_X = 200
_SMALL_X = 1.6
"""Up to here ``log|H|**2 = -x**2`` holds within the slack of ``relative_blur``."""
_KNEE_PX = 4.0
_STEPS_PER_FOLD = 160
_LARGEST_RADIUS_PX = 1000.0


class SpotShape(Enum):
    """Shape of the beam out of focus."""

    DISK = "disk"
    GAUSSIAN = "gaussian"


@lru_cache(maxsize=len(SpotShape))
def _table(shape: SpotShape) -> Floats32:
    """Tabulate ``|H|**2`` over x."""
    x = np.arange(0.0, _LARGEST_X + 1.0 / _STEPS_PER_X, 1.0 / _STEPS_PER_X)
    if shape is SpotShape.GAUSSIAN:
        values = np.exp(-np.square(x))
    else:
        u = np.maximum(2.0 * x[:, np.newaxis] * _SMEAR, 1e-4)
        values = np.square(2.0 * j1(u) / u).mean(axis=1)
    return np.asarray(np.maximum(values, FAINTEST), dtype=np.float32)


def transfer_power(x: Floats, shape: SpotShape) -> Floats32:
    """Give ``|H|**2`` at ``x = pi r f``: 1 at 0, falling, never below ``FAINTEST``."""
    table = _table(shape)
    step: NDArray[np.intp] = np.rint(np.minimum(np.abs(x), _LARGEST_X) * _STEPS_PER_X).astype(np.intp)
    return np.take(table, step)


class TransferRows:
    """``|H|**2`` of all rings at once, by the radius of blur; a table, because a posterior needs millions.

    Radii are spaced by 0.025 px near focus and by 0.6 % far from it.

    Args:
        frequency: Of the rings, cycles per pixel.
        shape: Of the spot.
    """

    def __init__(self, frequency: Floats, shape: SpotShape) -> None:
        radii = _KNEE_PX * np.sinh(np.arange(_row(_LARGEST_RADIUS_PX) + 1) / _STEPS_PER_FOLD)
        self._rows = transfer_power(math.pi * np.outer(radii, frequency), shape)

    def at(self, radius_px: Floats) -> Floats32:
        """Give ``|H|**2``, of the shape of ``radius_px`` and an axis of rings."""
        inside = np.minimum(radius_px, _LARGEST_RADIUS_PX)
        row = np.rint(_STEPS_PER_FOLD * np.arcsinh(inside / _KNEE_PX)).astype(np.intp)
        rows: Floats32 = np.take(self._rows, row, axis=0)
        return rows


def _row(radius_px: float) -> int:
    return round(_STEPS_PER_FOLD * math.asinh(radius_px / _KNEE_PX))


@lru_cache(maxsize=32)
def _transfer_rows(frequency: bytes, shape: SpotShape) -> TransferRows:
    return TransferRows(np.frombuffer(frequency), shape)


def transfer_rows(frequency: Floats, shape: SpotShape) -> TransferRows:
    """Give the table of a set of rings, made once."""
    return _transfer_rows(np.ascontiguousarray(frequency, dtype=np.float64).tobytes(), shape)


@dataclass(frozen=True, slots=True, eq=False)
class NoiseFree:
    """Spectra of one field with their noise floors taken off; arrays of shape (frames, rings)."""

    signal: Floats
    """Power above the floor; scatters about zero where there is none."""
    variance: Floats
    """Of the signal, by counting and by what is not known of the floor."""
    floor: Floats
    """Of each frame, shape (frames, 1)."""
    modes: Floats
    """Independent modes of each ring, shape (rings,)."""

    @property
    def positive(self) -> Floats:
        """The signal, or the least that could be told from noise where it is below that."""
        least: Floats = np.maximum(self.signal, self.floor / np.sqrt(self.modes))
        return least


def noise_free(spectra: Sequence[RadialSpectrum]) -> NoiseFree:
    """Take the noise floors off spectra of one field; see ``compare.common_floor``.

    Args:
        spectra: With the same rings.

    Raises:
        ValueError: the spectra are of frames of different shapes.
    """
    rings = spectra[0].frequency
    if any(not np.array_equal(one.frequency, rings) for one in spectra):
        raise ValueError("spectra of frames of different shapes cannot be compared ring by ring")
    floors = common_floor(*spectra)
    pairs = list(zip(spectra, floors, strict=True))
    counted = np.array([one.variance(floor) + one.floor_variance(floor) for one, floor in pairs])
    levels: Floats = np.array(floors)[:, np.newaxis]
    return NoiseFree(
        signal=np.array([one.signal(floor) for one, floor in pairs]),
        variance=counted + np.square(FLOOR_SLACK * levels),
        floor=levels,
        modes=spectra[0].modes,
    )


@dataclass(frozen=True, slots=True)
class BlurDifference:
    """``r1**2 - r2**2`` of two frames in px**2, positive when the first is the blurrier."""

    value_px2: float
    standard_error_px2: float
    """Infinite when the spectra cannot tell."""


def relative_blur(
    one: RadialSpectrum, other: RadialSpectrum, *, slack: float = 0.05, free_gain: bool = False
) -> BlurDifference:
    """Measure how much blurrier one frame is than another, in closed form.

    The weighted slope of the log ratio of the noise-corrected rings against ``(pi f)**2``, over the rings in
    which both stand clear of noise and blur is small enough for the law to hold (found by iteration).

    Args:
        one: Spectrum of the first frame.
        other: Of the second, of one shape with the first.
        slack: Relative scatter of a ring's power that is neither blur nor noise; large for different fields.
        free_gain: Whether contrast may differ too: only the shape of the spectra is compared then.
    """
    frames = noise_free((one, other))
    clear = (frames.signal > 2.0 * np.sqrt(frames.variance)).all(axis=0)
    if clear.sum() < 3:
        return BlurDifference(0.0, math.inf)
    signal = frames.signal[:, clear]
    g = np.square(math.pi * one.frequency[clear])
    log_ratio = np.log(signal[1] / signal[0])
    weight = 1.0 / ((frames.variance[:, clear] / np.square(signal)).sum(axis=0) + slack**2)
    slope, error = _slope(g, log_ratio, weight, free_gain=free_gain)
    for _ in range(3):
        within = np.abs(slope) * g < _SMALL_X**2
        if within.sum() < 3:
            within = g <= g[2]
        slope, error = _slope(g, log_ratio, weight * within, free_gain=free_gain)
    return BlurDifference(slope, error)


def _slope(x: Floats, y: Floats, weight: Floats, *, free_gain: bool) -> tuple[float, float]:
    """Slope of a weighted straight line, through the origin or not, with its standard error."""
    centre_x, centre_y = (float(weight @ a / weight.sum()) if free_gain else 0.0 for a in (x, y))
    spread = float(weight @ np.square(x - centre_x))
    return float(weight @ ((x - centre_x) * (y - centre_y))) / spread, 1.0 / math.sqrt(spread)
