"""Is the picture at the end of a refocus truly sharper than the one at its start?

Decided from the two spectra alone, ring by ring, whatever the metric of the search and with no model of the
optics, so that a search led astray by its own model cannot talk itself into success.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from focusd.focus.measure import Measurement
from focusd.focus.spectrum import RadialSpectrum

MIN_Z_SCORE = 2.0
"""Standard errors by which the end must be the sharper: 1 in 40 by chance."""
GAIN_SCATTER = 0.03
"""Relative change of all power from one scan to the next that is not focus: brightness, charging."""
RING_SCATTER = 0.03
"""The same, ring by ring: the field drifts a little under the window."""
LOWEST_FREQUENCY = 0.015
"""Cycles per pixel; below it shading and charging change more than focus does."""
SAME_FOCUS_DEPTHS = 0.6
"""Two working distances nearer than this many depths of field give pictures that cannot be told apart."""
FLOOR_HEADROOM = 1.1
"""A sharp frame has a little signal in the corners; noise does not differ by more between two scans."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Whether to stay at the end of a refocus."""

    accepted: bool
    gain: float
    """Score of the end over that of the start, by the metric asked for."""
    z_score: float
    """By how many standard errors the end is the sharper; negative when it is the blurrier."""
    reason: str


def decide(start: Measurement, end: Measurement, *, metric: str) -> Acceptance:
    """Accept the end of a refocus only if its fresh scan is significantly sharper than the start's.

    Args:
        start: The scan before the lens moved.
        end: A fresh scan at the place found, of the same shape and dwell.
        metric: Whose gain is reported.
    """
    z_score = sharper(end.spectrum, start.spectrum)
    before, after = start.scores[metric], end.scores[metric]
    gain = max(after.value, 0.0) / max(before.value, before.standard_error, 1e-12)
    if not end.quality.judgeable:
        return Acceptance(
            False, gain, z_score, f"the picture at the end cannot be judged: {end.quality.reason}"
        )
    accepted = z_score >= MIN_Z_SCORE
    verb = "is sharper" if accepted else "is not clearly sharper"
    reason = f"the picture at the end {verb} than at the start (z = {z_score:.1f}, gain {gain:.2f})"
    return Acceptance(accepted, gain, z_score, reason)


def sharper(one: RadialSpectrum, other: RadialSpectrum) -> float:
    """Give the evidence that one frame is sharper than another of the same field, as a z-score.

    The difference of the two spectra, each ring weighted by its signal over its error (a matched filter);
    positive when the first is the sharper.

    Raises:
        ValueError: the spectra are of frames of different shapes.
    """
    if one.power.shape != other.power.shape:
        raise ValueError("sharpness can only be compared between frames of one shape")
    floors = common_floor(one, other)
    noise = one.variance(floors[0]) + other.variance(floors[1])
    mine, theirs = one.signal(floors[0]), other.signal(floors[1])
    signal = np.maximum((mine + theirs) / 2.0, 0.0)
    variance = noise + (RING_SCATTER * signal) ** 2
    weight = np.divide(signal, variance, out=np.zeros_like(signal), where=variance > 0.0)
    weight[one.frequency <= LOWEST_FREQUENCY] = 0.0
    difference = float(weight @ (mine - theirs))
    # A change of brightness moves all rings together, so its error does not average out.
    error = math.hypot(math.sqrt(float(weight**2 @ variance)), GAIN_SCATTER * float(weight @ signal))
    return difference / error if error > 0.0 else 0.0


def common_floor(*spectra: RadialSpectrum) -> tuple[float, ...]:
    """Noise floor of each of some frames of one dwell: its own, but at most 1.1 times the least seen."""
    least = min(spectrum.corner_power for spectrum in spectra)
    return tuple(min(spectrum.corner_power, FLOOR_HEADROOM * least) for spectrum in spectra)


def same_focus(one_mm: float, other_mm: float, *, depth_of_field_um: float) -> bool:
    """Tell whether two working distances give pictures that cannot be told apart."""
    return abs(one_mm - other_mm) * 1000.0 <= SAME_FOCUS_DEPTHS * depth_of_field_um
