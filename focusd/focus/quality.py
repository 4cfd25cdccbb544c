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
    if keep is not None:
        pixels = pixels[keep][np.newaxis]
    mean = float(cv2.sumElems(pixels)[0]) / pixels.size
    # Both sums are whole numbers below 2**63, so the difference of large numbers loses nothing that shows.
    variance = float(cv2.norm(pixels, cv2.NORM_L2SQR)) / pixels.size - mean**2
    deviation = math.sqrt(max(variance, 0.0))
    lowest, highest, _, _ = cv2.minMaxLoc(pixels)
    ceiling = next(level for level in _CONVERTER_CEILINGS if highest <= level)
    saturated = _share_at(pixels, ceiling) if highest == ceiling else 0.0
    clarity = max(signal_to_noise(spectrum, sigma_px) for sigma_px in COARSE_SCALES_PX)
    reason: str | None = None
    if highest - lowest < MIN_GREY_LEVELS - 1:
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
        dark_fraction=_share_at(pixels, 0) if lowest == 0 else 0.0,
        mean_level=mean,
        contrast=deviation / ceiling,
        signal_to_noise=clarity,
        deviation_level=deviation,
    )


def _share_at(pixels: Pixels, level: int) -> float:
    if level == 0:
        return 1.0 - cv2.countNonZero(pixels) / pixels.size
    return float(np.count_nonzero(pixels == level)) / pixels.size


def _is_half_scanned(pixels: Pixels) -> bool:
    """Whether the scan broke off: the bottom rows hold one value, right below rows like all the others.

    The second half tells it from an empty part of the field that is clipped to black, which the specimen
    fades into. The row right above may be the one in which the scan stopped, so the one before is looked at.
    """
    rows = pixels.shape[0]
    fill = pixels[-1, -1]
    needed = max(2, round(rows * UNSCANNED_FRACTION))
    if not (pixels[-needed:] == fill).all():
        return False
    blank = needed
    while blank < rows and (pixels[-blank - 1] == fill).all():
        blank += 1
    scanned = max(rows - blank - 1, 1)
    sample = pixels[np.linspace(0, scanned - 1, _SAMPLED_ROWS).astype(int)].astype(np.float32)
    distance = np.abs(sample - float(fill)).mean(axis=1)
    return bool(distance[-1] > np.median(distance) / 2.0)
