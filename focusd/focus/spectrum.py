"""The radially averaged power spectrum of a frame, and how sharp it says the frame is.

Everything noise-robust in focusd is read off this one spectrum. Shot noise and the detector's noise are
white: they add the same power at every spatial frequency, while the beam, being at least about a pixel wide,
leaves no signal in the corners of the frequency plane (beyond 0.5 cycles per pixel). The power there is the
noise floor; what stands above it in a ring is the picture.

Power is in squared grey levels: white noise of variance ``s**2`` has the power ``s**2`` in every ring.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from focusd.errors import ImageError
from focusd.frame import MIN_SIDE_PX, Pixels

RINGS = 36
PATCH_PX = 512
MAX_PATCHES = 16
"""All of 2048 x 2048; the standard error of a score is half that of four patches."""
MIN_SHARE = 0.25
"""Share of a larger frame that is seen, by more patches: detail may be local."""
_LOWEST_CYCLES = 1.6
"""Lowest frequency used, in cycles per side: below it the window's own main lobe spreads the mean."""
MIN_INDEPENDENT_PX = 400.0
"""Pixels under which a spectrum says nothing; the window leaves 1,117 of the smallest frame."""
_FADE_PX = 8
"""Width of the rim over which a mask fades out."""
_SPARSE_SHARE = 0.3
"""Share of the frame under which patches are strewn: a periodic specimen might be in step with a grid."""
_GOLDEN = 0.618034
"""Steps of this share of a side come nowhere near one another soon."""
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
    """Ring of each place of ``_folded``; the last two are the corners and the unused mean."""
    weight: NDArray[np.float32]
    """How often each column of ``_folded`` stands for itself and its mirror; shape (columns,)."""
    members: Floats
    """Modes of the full plane in each ring."""
    frequency: Floats
    energy: tuple[float, float]
    """Sums of the window's squares and fourth powers."""
    total: float
    """Sum of the window."""
    spare: deque[_Transform]
    """Transforms that wait for the next frame, of any thread: fresh memory costs as much as the transform."""


@lru_cache(maxsize=8)
def _plan(rows: int, columns: int) -> _Plan:
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    down, across = np.arange(rows // 2 + 1), np.arange(columns // 2 + 1)
    frequency = np.hypot((down / rows)[:, np.newaxis], across / columns)
    edges = np.geomspace(_LOWEST_CYCLES / min(rows, columns), 0.5, RINGS + 1)
    ring = np.digitize(frequency, edges) - 1
    ring[frequency > 0.5] = RINGS
    ring[(frequency <= 0.5) & (ring == RINGS)] = RINGS - 1
    ring[ring < 0] = RINGS + 1
    weight = _mirrored(columns)
    modes = np.outer(_mirrored(rows), weight)
    members = _per_ring(ring.ravel(), modes)
    squared = _per_ring(ring.ravel(), modes * frequency**2)
    return _Plan(
        window=window.astype(np.float32),
        ring=ring.ravel(),
        weight=weight.astype(np.float32),
        members=members,
        frequency=np.sqrt(squared / np.maximum(members, 1.0)),
        energy=_energy(window),
        total=float(window.sum()),
        spare=deque(maxlen=4),
    )


def _mirrored(side: int) -> Floats:
    """How many frequencies of a side have each absolute value: two, but for 0 and the highest of an even."""
    counts = np.full(side // 2 + 1, 2.0)
    counts[0] = 1.0
    if side % 2 == 0:
        counts[-1] = 1.0
    return counts


def _energy(window: NDArray[Any]) -> tuple[float, float]:
    squared = np.square(window, dtype=np.float64)
    return float(squared.sum()), float(np.square(squared).sum())


def _per_ring(ring: NDArray[np.intp], values: NDArray[Any]) -> Floats:
    sums: Floats = np.bincount(ring, values.ravel(), RINGS + 2)[: RINGS + 1].astype(np.float64)
    return sums


def radial_spectrum(
    pixels: Pixels,
    *,
    keep: NDArray[np.bool_] | None = None,
    patch_px: int = PATCH_PX,
    max_patches: int | None = None,
) -> RadialSpectrum:
    """Measure the radial power spectrum of a frame under a Hann window.

    A frame larger than ``patch_px`` is sampled by patches spread evenly over it: all of it up to 2048 px a
    side, about a quarter beyond. Beside the frame it takes 4 MiB of memory,
    twice that for the first of a shape, and keeps it for the next.

    Args:
        pixels: Grey levels, uint8 or uint16, each side at least 64 px.
        keep: Pixels that count; all of them when not given. The window fades out towards the others, and
            the fewer there are the larger the standard errors.
        patch_px: Longest side of a patch.
        max_patches: Most patches taken; ``MAX_PATCHES`` or what ``MIN_SHARE`` needs when not given.

    Raises:
        ImageError: a side is under 64 px, or too few pixels count.
    """
    if pixels.ndim != 2 or min(pixels.shape) < MIN_SIDE_PX:
        raise ImageError(f"each side of an image must be at least {MIN_SIDE_PX} px, got shape {pixels.shape}")
    rows, columns = (min(side, patch_px) for side in pixels.shape)
    plan = _plan(rows, columns)
    most = max_patches or max(MAX_PATCHES, math.ceil(MIN_SHARE * pixels.size / patch_px**2))
    corners = _patch_corners(pixels.shape, patch_px, most)
    transform = _transform(plan)
    squares = fourths = 0.0
    weights = None if keep is None else _faded(keep)
    for top, left in corners:
        part = slice(top, top + rows), slice(left, left + columns)
        window = plan.window if weights is None else plan.window * weights[part]
        energy = plan.energy if weights is None else _energy(window)
        squares += energy[0]
        fourths += energy[1]
        transform.add(pixels[part], window, plan.total if weights is None else float(window.sum()))
    # What the windows leave independent of the pixels (Welch 1967), as the equivalent number of whole ones.
    independent = squares**2 / fourths if fourths else 0.0
    if independent < MIN_INDEPENDENT_PX:
        raise ImageError(f"too few pixels count: only {independent:.0f} of {pixels.size} after fading")
    power = _per_ring(plan.ring, transform.power() * plan.weight) / np.maximum(plan.members, 1.0) / squares
    plan.spare.append(transform)
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
    """Top left corners of the patches: strewn where they are few, on a grid where they nearly touch."""
    patch = [min(side, patch_px) for side in shape]
    if max_patches * patch[0] * patch[1] < _SPARSE_SHARE * shape[0] * shape[1]:
        return _strewn(shape[0] - patch[0], shape[1] - patch[1], max_patches)
    # One more along a side for each half patch that is left over.
    fit = [max(1, math.floor(side / patch_px + 0.5)) for side in shape]
    if fit[0] * fit[1] > max_patches:
        shorter = fit.index(min(fit))
        fit[shorter] = max(1, round(fit[shorter] * math.sqrt(max_patches / (fit[0] * fit[1]))))
        fit[1 - shorter] = min(fit[1 - shorter], max_patches // fit[shorter])
    tops, lefts = (_spread(*sides) for sides in zip(shape, patch, fit, strict=True))
    return [(top, left) for top in tops for left in lefts]


def _strewn(rows: int, columns: int, count: int) -> list[tuple[int, int]]:
    """Corners in the room that patches have, each in a row and a column of its own: a lattice of rank 1.

    So there are as many phases of whatever lies along one of the sides as there are patches.
    """
    step = round(_GOLDEN * count)
    while math.gcd(step, count) > 1:
        step += 1
    return [
        (round((index + 0.5) / count * rows), round((index * step % count + 0.5) / count * columns))
        for index in range(count)
    ]


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


def _transform(plan: _Plan) -> _Transform:
    """Give a transform that nobody uses, with nothing in it."""
    try:
        transform = plan.spare.pop()
    except IndexError:
        return _Transform(*plan.window.shape)
    transform.clear()
    return transform


class _Transform:
    """Sums the power of patches over the frequency plane, in buffers that serve for all of them.

    OpenCV's transform is the fastest at hand where it has Intel's library under it; it gives the half plane
    packed into as many numbers as there are pixels. The sum of the windows' squares is not divided out.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self._values = np.empty((rows, columns), np.float32)
        self._modes = np.empty_like(self._values)
        self._sum = np.zeros_like(self._values)

    def clear(self) -> None:
        """Forget all patches."""
        self._sum.fill(0.0)

    def add(self, patch: Pixels, window: NDArray[np.float32], total: float) -> None:
        """Add a patch seen through a window, which sums up to ``total``."""
        values = self._values
        np.copyto(values, patch)
        # The mean under the window, so that no power of it leaks into the lowest rings.
        values -= np.float32(float(np.vdot(values, window)) / total if total else 0.0)
        values *= window
        cv2.dft(values, self._modes)
        cv2.accumulateSquare(self._modes, self._sum)

    def power(self) -> NDArray[np.float32]:
        """Give the power by the absolute values of the frequencies down and across.

        Frequencies down of either sign are added up; those across stand for themselves only.
        """
        return _folded(self._sum)


def _folded(squares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring the squares of OpenCV's packed transform ("CCS") together, mode by mode.

    Real and imaginary parts lie side by side in a row; where the mode across is its own mirror (the first
    column, and the last of an even number) they lie one below the other, for positive frequencies down only.
    """
    rows, columns = squares.shape
    power = np.empty((rows // 2 + 1, columns // 2 + 1), np.float32)
    paired = (rows - 1) // 2
    pairs = squares[:, 1:-1:2] + squares[:, 2::2]
    inside = power[:, 1 : 1 + pairs.shape[1]]
    inside[0] = pairs[0]
    inside[1 : 1 + paired] = pairs[1 : 1 + paired] + pairs[: -1 - paired : -1]
    own_mirrors = (0,) if columns % 2 else (0, -1)
    for column in own_mirrors:
        packed = squares[:, column]
        power[0, column] = packed[0]
        power[1 : 1 + paired, column] = 2.0 * (packed[1:-1:2] + packed[2::2])
        if rows % 2 == 0:
            power[-1, column] = packed[-1]
    if rows % 2 == 0:
        inside[-1] = pairs[rows // 2]
    return power


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
