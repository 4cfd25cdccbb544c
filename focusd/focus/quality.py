"""Can this frame be judged at all? A frame that cannot neither triggers a refocus nor teaches a baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from focusd.focus.spectrum import RadialSpectrum, signal_to_noise
from focusd.frame import Pixels

MAX_SATURATED_FRACTION = 0.25
"""With a quarter of the frame clipped at white, clipping and not focus decides how steep the edges are."""
MIN_GREY_LEVELS = 3
"""A frame of fewer grey levels is a blanked beam or a converter's flicker."""
COARSE_SCALES_PX = (4.0, 8.0)
"""Detail of this size survives blur, so it tells "nothing to see here" from "blurred". Still coarser scales
see shading and charging, which are no specimen."""
MIN_SIGNAL_TO_NOISE = 8.0
"""Coarse detail under so many standard errors is not told from noise. Measured in simulation, frames of 512
px: textures stay above it to 20 depths of field at 20 electrons a pixel, empty resin below it to 200."""
UNSCANNED_FRACTION = 1.0 / 32.0
"""Share of the rows that must be blank at the bottom: fewer do not move a score."""
_SAMPLED_ROWS = 33
_PIECE_BYTES = 1 << 19
"""A piece that is looked at in several ways fits the second-level cache, with what is worked out of it."""
_CONVERTER_CEILINGS = (255, 1023, 4095, 16_383, 65_535)
"""Highest grey level of converters of 8, 10, 12, 14 and 16 bits; 16-bit images often hold fewer."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What a frame is worth as evidence of focus."""

    judgeable: bool
    reason: str | None
    """``half_scanned``, ``blank``, ``saturated`` or ``no_signal``; ``None`` when judgeable."""
    saturated_fraction: float
    """Share of the pixels at the converter's highest level."""
    dark_fraction: float
    """Share of the pixels at zero."""
    mean_level: float
    """Mean grey level."""
    contrast: float
    """Standard deviation of the grey levels over the converter's range."""
    signal_to_noise: float
    """Coarse detail in standard errors, at the clearer of two scales."""
    deviation_level: float = 0.0
    """Standard deviation of the grey levels, in grey levels."""

    @property
    def is_searchable(self) -> bool:
        """Whether a search for focus may start from this frame: far out of focus nothing shows in it."""
        return self.judgeable or self.reason == "no_signal"


def assess(pixels: Pixels, spectrum: RadialSpectrum, keep: NDArray[np.bool_] | None = None) -> Quality:
    """Tell whether a frame can be judged, and if not why.

    Args:
        pixels: Grey levels, uint8 or uint16, contiguous.
        spectrum: Of the same frame.
        keep: Pixels that count; all of them when not given.
    """
    half_scanned = (keep is None or bool(keep[-1].any())) and _is_half_scanned(pixels)
    levels = _levels(pixels if keep is None else pixels[keep])
    # Both sums are whole numbers below 2**63, so the difference of large numbers loses nothing that shows.
    deviation = math.sqrt(max(levels.mean_square - levels.mean**2, 0.0))
    ceiling = next(level for level in _CONVERTER_CEILINGS if levels.highest <= level)
    saturated = levels.highest_fraction if levels.highest == ceiling else 0.0
    clarity = max(signal_to_noise(spectrum, sigma_px) for sigma_px in COARSE_SCALES_PX)
    reason: str | None = None
    if levels.highest - levels.lowest < MIN_GREY_LEVELS - 1:
        reason = "blank"
    elif half_scanned:
        reason = "half_scanned"
    elif saturated > MAX_SATURATED_FRACTION:
        reason = "saturated"
    elif clarity < MIN_SIGNAL_TO_NOISE:
        reason = "no_signal"
    return Quality(
        judgeable=reason is None,
        reason=reason,
        saturated_fraction=saturated,
        dark_fraction=levels.dark_fraction,
        mean_level=levels.mean,
        contrast=deviation / ceiling,
        signal_to_noise=clarity,
        deviation_level=deviation,
    )


@dataclass(frozen=True, slots=True)
class _Levels:
    """How the grey levels of a frame are distributed."""

    lowest: int
    highest: int
    mean: float
    mean_square: float
    dark_fraction: float
    """Share of the pixels at zero."""
    highest_fraction: float
    """Share at the highest level, where that is a converter's ceiling."""


def _levels(pixels: Pixels) -> _Levels:
    """Go over the pixels, a contiguous array, piece by piece: each comes from memory once."""
    line = pixels.reshape(1, -1)
    total = squares = 0.0
    dark, at_ceiling = 0, dict.fromkeys(_CONVERTER_CEILINGS, 0)
    lowest, highest = _CONVERTER_CEILINGS[-1], 0
    step = min(_PIECE_BYTES // pixels.itemsize, pixels.size)
    is_most = np.empty((1, step), np.bool_)
    for begin in range(0, pixels.size, step):
        piece = line[:, begin : begin + step]
        total += cv2.sumElems(piece)[0]
        squares += cv2.norm(piece, cv2.NORM_L2SQR)
        least, most, _, _ = cv2.minMaxLoc(piece)
        lowest, highest = min(lowest, int(least)), max(highest, int(most))
        if least == 0:
            dark += piece.size - cv2.countNonZero(piece)
        if most in at_ceiling:
            found = np.equal(piece, int(most), out=is_most[:, : piece.size])
            at_ceiling[int(most)] += int(np.count_nonzero(found))
    return _Levels(
        lowest=lowest,
        highest=highest,
        mean=total / pixels.size,
        mean_square=squares / pixels.size,
        dark_fraction=dark / pixels.size,
        highest_fraction=at_ceiling.get(highest, 0) / pixels.size,
    )


def _is_half_scanned(pixels: Pixels) -> bool:
    """Whether the scan broke off: the bottom rows hold one value, right below rows like all the others.

    The second half tells it from an empty part of the field that is clipped to black, which the specimen
    fades into. The row right above may be the one in which the scan stopped, so the one before is looked at.
    """
    rows = pixels.shape[0]
    fill = pixels[-1, -1]
    blank = 0
    while blank < rows and (pixels[-blank - 1] == fill).all():
        blank += 1
    if blank < max(2, round(rows * UNSCANNED_FRACTION)):
        return False
    scanned = max(rows - blank - 1, 1)
    sample = pixels[np.linspace(0, scanned - 1, _SAMPLED_ROWS).astype(int)].astype(np.float32)
    distance = np.abs(sample - float(fill)).mean(axis=1)
    return bool(distance[-1] > np.median(distance) / 2.0)
