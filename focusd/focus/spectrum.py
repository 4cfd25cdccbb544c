"""The radially averaged power spectrum of a frame, and how sharp it says the frame is.

Everything noise-robust in focusd is read off this one spectrum. Shot noise and the detector's noise are
white: they add the same power at every spatial frequency, while the beam, being at least about a pixel wide,
leaves no signal in the corners of the frequency plane (beyond 0.5 cycles per pixel). The power there is the
noise floor; what stands above it in a ring is the picture.

Power is in squared grey levels: white noise of variance ``s**2`` has the power ``s**2`` in every ring.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from focusd.errors import ImageError
from focusd.frame import MIN_SIDE_PX, Pixels

RINGS = 36
PATCH_PX = 512
MAX_PATCHES = 4
_LOWEST_CYCLES = 1.6
"""Lowest frequency used, in cycles per side: below it the window's own main lobe spreads the mean."""
MIN_INDEPENDENT_PX = 400.0
"""Pixels under which a spectrum says nothing; the window leaves 1,117 of the smallest frame."""
_FADE_PX = 8
"""Width of the rim over which a mask fades out."""
_FLOOR_TRUST = 0.005
"""Relative error of the floor beyond counting: detectors and converters are not perfectly white."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """A sharpness and how far it would scatter if the same field were scanned again (one sigma)."""

    value: float
    standard_error: float


@dataclass(frozen=True, slots=True, eq=False)
class RadialSpectrum:
    """Power per ring of spatial frequency; the rings leave out the mean and the corners."""

    frequency: Floats
    """Root mean square frequency of each ring, in cycles per pixel, rising, at most 0.5."""
    power: Floats
    """Mean power of each ring, squared grey levels."""
    modes: Floats
    """Independent complex modes in each ring; the window leaves a quarter of them independent."""
    corner_power: float
    """Mean power beyond 0.5 cycles per pixel: the white noise floor."""
    dwell_time_us: float | None = None
    """How long the beam rested on a pixel, where spectra that are compared differ in it."""

    @property
    def corner_modes(self) -> float:
        """Independent modes in the corners, by area: the rings fill a disk in the unit square."""
        return float(self.modes.sum()) * (4.0 / math.pi - 1.0)

    @property
    def all_modes(self) -> float:
        """Independent modes of the whole frequency plane."""
        return float(self.modes.sum()) * 4.0 / math.pi

    def signal(self, floor: float) -> Floats:
        """Power of each ring above a noise floor."""
        return self.power - floor

    def variance(self, floor: float) -> Floats:
        """Variance of each ring's power over scans of one field.

        The picture repeats, the noise does not: a mode of signal S and noise N has the variance
        ``N**2 + 2 S N`` (a constant phasor in complex Gaussian noise).
        """
        signal: Floats = np.maximum(self.power - floor, 0.0)
        variance: Floats = (floor * floor + 2.0 * signal * floor) / self.modes
        return variance

    def floor_variance(self, floor: float) -> float:
        """Variance of the noise floor itself."""
        return floor * floor * (1.0 / self.corner_modes + _FLOOR_TRUST**2)

    def total(self, weights: Floats, *, floor: float | None = None) -> Score:
        """Sum the rings' signal with weights; the floor is the spectrum's own unless given."""
        level = self.corner_power if floor is None else floor
        variance = float(weights**2 @ self.variance(level)) + float(weights.sum()) ** 2 * self.floor_variance(
            level
        )
        return Score(float(weights @ self.signal(level)), math.sqrt(variance))


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What the spectrum of a patch of one shape needs, computed once."""

    window: NDArray[np.float32]
    ring: NDArray[np.intp]
    """Ring of each coefficient of the half plane; the last two are the corners and the unused mean."""
    weight: Floats
    """How often each coefficient stands for a mode of the full plane."""
    members: Floats
    """Modes of the full plane in each ring."""
    frequency: Floats
    energy: tuple[float, float]
    """Sums of the window's squares and fourth powers."""


@lru_cache(maxsize=8)
def _plan(rows: int, columns: int) -> _Plan:
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    frequency = np.hypot(np.fft.fftfreq(rows)[:, np.newaxis], np.fft.rfftfreq(columns)[np.newaxis])
    edges = np.geomspace(_LOWEST_CYCLES / min(rows, columns), 0.5, RINGS + 1)
    ring = np.digitize(frequency, edges) - 1
    ring[frequency > 0.5] = RINGS
    ring[(frequency <= 0.5) & (ring == RINGS)] = RINGS - 1
    ring[ring < 0] = RINGS + 1
    weight = np.full(frequency.shape, 2.0)
    weight[:, 0] = 1.0
    if columns % 2 == 0:
        weight[:, -1] = 1.0
    members = _per_ring(ring, weight)
    squared = _per_ring(ring, weight * frequency**2)
    return _Plan(
        window=window.astype(np.float32),
        ring=ring.ravel(),
        weight=weight.ravel(),
        members=members,
        frequency=np.sqrt(squared / np.maximum(members, 1.0)),
        energy=_energy(window),
    )


def _energy(window: NDArray[Any]) -> tuple[float, float]:
    squared = np.square(window, dtype=np.float64)
    return float(squared.sum()), float(np.square(squared).sum())


def _per_ring(ring: NDArray[np.intp], values: Floats) -> Floats:
    sums: Floats = np.bincount(ring.ravel(), values.ravel(), RINGS + 2)[: RINGS + 1].astype(np.float64)
    return sums


def radial_spectrum(
    pixels: Pixels,
    *,
    keep: NDArray[np.bool_] | None = None,
    patch_px: int = PATCH_PX,
    max_patches: int = MAX_PATCHES,
) -> RadialSpectrum:
    """Measure the radial power spectrum of a frame under a Hann window.

    A frame larger than ``patch_px`` is sampled by up to ``max_patches`` patches spread evenly over it, so the
    cost does not grow with the frame.

    Args:
        pixels: Grey levels, uint8 or uint16, each side at least 64 px.
        keep: Pixels that count; all of them when not given. The window fades out towards the others, and
            the fewer there are the larger the standard errors.
        patch_px: Longest side of a patch.
        max_patches: Most patches taken.

    Raises:
        ImageError: a side is under 64 px, or too few pixels count.
    """
    if pixels.ndim != 2 or min(pixels.shape) < MIN_SIDE_PX:
        raise ImageError(f"each side of an image must be at least {MIN_SIDE_PX} px, got shape {pixels.shape}")
    rows, columns = (min(side, patch_px) for side in pixels.shape)
    plan = _plan(rows, columns)
    corners = _patch_corners(pixels.shape, patch_px, max_patches)
    power = np.zeros(RINGS + 1)
    squares = fourths = 0.0
    weights = None if keep is None else _faded(keep)
    for top, left in corners:
        part = slice(top, top + rows), slice(left, left + columns)
        window = plan.window if weights is None else plan.window * weights[part]
        energy = plan.energy if weights is None else _energy(window)
        squares += energy[0]
        fourths += energy[1]
        power += _patch_power(pixels[part], window, plan)
    # What the windows leave independent of the pixels (Welch 1967), as the equivalent number of whole ones.
    independent = squares**2 / fourths if fourths else 0.0
    if independent < MIN_INDEPENDENT_PX:
        raise ImageError(f"too few pixels count: only {independent:.0f} of {pixels.size} after fading")
    power /= squares
    kept = plan.members[:RINGS] > 0
    # Half: the plane is Hermitian, so a mode and its mirror are one.
    modes = plan.members[:RINGS] * (independent / (rows * columns) / 2.0)
    return RadialSpectrum(
        frequency=plan.frequency[:RINGS][kept],
        power=power[:RINGS][kept],
        modes=modes[kept],
        corner_power=float(power[RINGS]),
    )


def _patch_corners(shape: tuple[int, ...], patch_px: int, max_patches: int) -> list[tuple[int, int]]:
    """Top left corners of the patches; one more along a side for each half patch that is left over."""
    fit = [max(1, math.floor(side / patch_px + 0.5)) for side in shape]
    while fit[0] * fit[1] > max_patches:
        fit[fit.index(max(fit))] -= 1
    tops, lefts = (_spread(side, min(side, patch_px), count) for side, count in zip(shape, fit, strict=True))
    return [(top, left) for top in tops for left in lefts]


def _spread(side: int, patch: int, count: int) -> list[int]:
    """Where ``count`` patches begin so that they and the gaps around them share a side evenly."""
    if count * patch > side:
        return [round(i * (side - patch) / (count - 1)) for i in range(count)]
    gap = (side - count * patch) / count
    return [round(gap / 2 + i * (patch + gap)) for i in range(count)]


def _faded(keep: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Give a mask that rises smoothly from its edge inwards, so that the edge itself has no spectrum."""
    inner = cv2.erode(keep.astype(np.float32), np.ones((2 * _FADE_PX + 1,) * 2, np.uint8))
    faded: NDArray[np.float32] = np.asarray(
        cv2.GaussianBlur(inner, (2 * _FADE_PX + 1,) * 2, _FADE_PX / 2.5), np.float32
    )
    return faded


def _patch_power(patch: Pixels, window: NDArray[np.float32], plan: _Plan) -> Floats:
    """Give the mean squared modulus per ring; the sum of the squared window is still to be divided out."""
    values = patch.astype(np.float32)
    total = float(window.sum())
    # The mean under the window, so that no power of it leaks into the lowest rings.
    values -= np.float32(float(np.vdot(values, window)) / total if total else 0.0)
    values *= window
    modes = fft.rfft2(values, overwrite_x=True)
    power = np.square(modes.real) + np.square(modes.imag)
    summed = np.bincount(plan.ring, plan.weight * power.ravel(), RINGS + 2)[: RINGS + 1]
    mean: Floats = summed / np.maximum(plan.members, 1.0)
    return mean


def log_energy(spectrum: RadialSpectrum, sigma_px: float, *, floor: float | None = None) -> Score:
    """Give the variance of the Laplacian of the picture smoothed by a Gaussian, the noise's share removed.

    ``E(sigma) = (2 pi)**4 * mean over modes of f**4 exp(-(2 pi sigma f)**2) (P(f) - N)``: the transfer
    function of the Laplacian is ``-(2 pi f)**2``, that of the Gaussian ``exp(-2 (pi sigma f)**2)``, and both
    are squared.

    Args:
        spectrum: Of the frame.
        sigma_px: Standard deviation of the Gaussian. Small ones tell small defocus, large ones see far.
        floor: White noise power ``N``; the spectrum's own corner power unless given. Frames that are compared
            should share one.

    Returns:
        Energy in squared grey levels per px**4, about zero (also a little below) when nothing but noise is
        there, with its standard error from the number of modes.
    """
    return spectrum.total(energy_weights(spectrum, sigma_px), floor=floor)


def energy_weights(spectrum: RadialSpectrum, sigma_px: float) -> Floats:
    """Weight of each ring's signal in ``log_energy``."""
    angular = 2.0 * math.pi * spectrum.frequency
    weights: Floats = spectrum.modes / spectrum.all_modes * angular**4 * np.exp(-((sigma_px * angular) ** 2))
    return weights


def signal_to_noise(spectrum: RadialSpectrum, sigma_px: float = 4.0) -> float:
    """Tell how clear the coarse detail stands above noise, in standard errors.

    Coarse detail survives blur, so this tells "nothing to see here" from "blurred".
    """
    energy = log_energy(spectrum, sigma_px)
    return energy.value / energy.standard_error if energy.standard_error > 0.0 else 0.0
