"""Is the picture at the end of a refocus truly sharper than the one at its start?

Decided from the two spectra alone, whatever the metric of the search, so that a search led astray by its
metric cannot talk itself into success.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from focusd.focus.compare import sharper, sharper_by_shape
from focusd.focus.measure import Measurement
from focusd.focus.spectrum import Score

MIN_Z_SCORE = 2.0
"""Standard errors by which the end must be the sharper: 1 in 40 by chance."""
MIN_Z_SCORE_SETTLED = 1.0
"""The same where a posterior of focus has settled and says so too."""
MIN_Z_SCORE_UNSETTLED = 3.0
"""The same where a posterior never settled: only a place really seen to be sharper will do."""
MIN_Z_SCORE_SURE = -1.0
"""The same where the settled posterior is sure: many scans say more than two of them, unless these differ."""
SURELY_NEARER = 0.95
MIN_PROBABILITY_NEARER = 0.8
"""Probability that the end is nearer to focus than the start."""
BRIGHTNESS_CHANGED = 0.15
"""Share by which the mean level differs when somebody, or the instrument itself, has changed the gain."""
SAME_FOCUS_DEPTHS = 0.6
"""Two working distances nearer than this many depths of field give pictures that cannot be told apart."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Whether to stay at the end of a refocus."""

    accepted: bool
    gain: float
    """Score of the end over that of the start, by the metric asked for."""
    z_score: float
    """By how many standard errors the end is the sharper; negative when it is the blurrier."""
    reason: str
    is_worse: bool = False
    """Whether the end is clearly the blurrier; an end that is not accepted may also be as good."""


def decide(
    start: Measurement,
    end: Measurement,
    *,
    metric: str,
    probability_nearer: float | None = None,
    settled: bool = True,
    by_shape: bool = False,
) -> Acceptance:
    """Accept the end of a refocus only if its scan is significantly sharper than the start's.

    A search with a posterior has more to say than the two pictures, and is bound by it as well: the end must
    also be the likelier place; where it surely is, the pictures need only not to differ. So it is by the
    metric asked for: a score that fell by more than its standard error forbids to stay. Where the scans
    differ in gain, they are compared by a measure in which brightness cancels instead; so they are where the
    place is sure and the end is plainly the sharper by that measure.

    Args:
        start: The scan before the lens moved.
        end: A scan at the place found or near it, of the same shape; its spectrum may be of another dwell.
        metric: Whose gain is reported.
        probability_nearer: That the end is nearer to focus than the start, where a posterior says so.
        settled: Whether that posterior has settled.
        by_shape: Whether the scans differ in gain, as far as the search knows; blur leaves the mean as it
            is, so that two pictures of another mean do as well.
    """
    if not by_shape and _changed_brightness(start, end):
        # The search took a change of gain for one of blur: these two pictures must speak for themselves.
        by_shape, probability_nearer = True, None
    before, after = start.scores[metric], end.scores[metric]
    needed = _needed(probability_nearer, settled=settled)
    z_score, fell = sharper(end.spectrum, start.spectrum), _fell(before, after)
    if z_score < needed or fell or by_shape:
        by_shapes = sharper_by_shape(end.spectrum, start.spectrum)
        surely = settled and probability_nearer is not None and probability_nearer > SURELY_NEARER
        if by_shape or (surely and by_shapes > MIN_Z_SCORE_UNSETTLED):
            z_score, fell = by_shapes, False
    gain = max(after.value, 0.0) / max(before.value, before.standard_error, 1e-12)
    if not end.quality.is_searchable:
        reason = f"the picture at the end cannot be judged: {end.quality.reason}"
        return Acceptance(False, gain, z_score, reason)
    likely = probability_nearer is None or probability_nearer > MIN_PROBABILITY_NEARER
    accepted = z_score >= needed and likely and not fell
    verb = "is sharper" if z_score >= max(needed, MIN_Z_SCORE_SETTLED) else "is not clearly sharper"
    reason = f"the picture at the end {verb} than at the start (z = {z_score:.1f}, gain {gain:.2f})"
    if not likely:
        reason += f", and the end is nearer to focus only with probability {probability_nearer:.2f}"
    elif accepted and z_score < MIN_Z_SCORE_SETTLED:
        reason += f", but the end is nearer to focus with probability {probability_nearer:.2f}"
    return Acceptance(accepted, gain, z_score, reason, is_worse=z_score <= -MIN_Z_SCORE)


def _changed_brightness(start: Measurement, end: Measurement) -> bool:
    before, after = start.quality.mean_level, end.quality.mean_level
    return abs(after - before) > BRIGHTNESS_CHANGED * max(before, after)


def _fell(before: Score, after: Score) -> bool:
    return before.value - after.value > math.hypot(before.standard_error, after.standard_error)


def _needed(probability_nearer: float | None, *, settled: bool) -> float:
    """Standard errors by which the end must be the sharper."""
    if probability_nearer is None:
        return MIN_Z_SCORE
    if not settled:
        return MIN_Z_SCORE_UNSETTLED
    return MIN_Z_SCORE_SURE if probability_nearer > SURELY_NEARER else MIN_Z_SCORE_SETTLED


def same_focus(one_mm: float, other_mm: float, *, depth_of_field_um: float) -> bool:
    """Tell whether two working distances give pictures that cannot be told apart."""
    return abs(one_mm - other_mm) * 1000.0 <= SAME_FOCUS_DEPTHS * depth_of_field_um
