"""Is it really focus that was lost? One scan decides, two where it says too little.

An alarm is a suspicion: a change of specimen looks much like blur. The probe takes the frame that raised the
alarm, adds a scan some depths of field away, and asks the posterior. If focus is lost, its scans are the
first scans of the search, so a true alarm costs nothing extra; a false one costs one scan and no move that
stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from focusd.focus.depth import LearnedDepth
from focusd.focus.measure import Measurement
from focusd.focus.posterior import DEPTH_LOG_SD, FocusPosterior, FocusPrior, Observation, focus_posterior

PROBE_DEPTHS = 3.0
"""How far away the first scan is taken: from there one depth of field more or less is plainly seen. With the
depth of field learnt, frames in focus took a second scan half as often as with 4."""
LOST_DEPTHS = 1.0
"""Farther from focus than this, focus counts as lost ..."""
LOST_PROBABILITY = 0.5
"""... when it is so likely."""
BLIND_DEPTHS = 6.0
"""Standard deviation of a posterior that cannot tell."""
SURELY_LOST_PROBABILITY = 0.995
"""So likely, focus is lost even where a wide posterior cannot say how far; the prior alone is below this."""
UNDECIDED_PROBABILITY = (0.2, 0.9)
"""A verdict between these is worth a second scan. With the depth of field known only within 30 % it mostly
is; once that is learnt, one scan mostly does."""
MAX_SCANS = 2


class ProbeResult(StrEnum):
    """What the probe found."""

    LOST = "lost"
    """Focus is elsewhere: search for it."""
    NOT_FOCUS_RELATED = "not_focus_related"
    """The lens stands in focus: the specimen has changed, or something else has."""
    BLIND = "blind"
    """Nothing here tells where focus is: leave the lens alone."""


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """What the probe found, with its evidence."""

    result: ProbeResult
    p_lost: float
    """Probability that focus is more than one depth of field away."""
    mean_mm: float
    """Where focus is likely to be."""
    sd_um: float
    reason: str


class Probe:
    """The probe, as ask and tell like a search; its scans may be told to a search afterwards.

    Args:
        start_mm: Where the lens stands and the alarm's frame was taken.
        low_mm: Lowest working distance that may be asked for.
        high_mm: Highest.
        depth_of_field_um: Defocus that adds one pixel of blur.
        prior: The depth of field as past runs have it; replaces ``depth_of_field_um``.
    """

    def __init__(
        self,
        start_mm: float,
        low_mm: float,
        high_mm: float,
        depth_of_field_um: float,
        *,
        prior: LearnedDepth | None = None,
    ) -> None:
        depth_um = depth_of_field_um if prior is None else prior.depth_of_field_um
        log_sd = DEPTH_LOG_SD if prior is None else prior.log_sd
        self._start_mm = min(max(start_mm, low_mm), high_mm)
        self._prior = FocusPrior(self._start_mm, low_mm, high_mm, depth_um, log_sd)
        self._depth_mm = depth_um / 1000.0
        self._scans: list[Observation] = []
        self._posterior: FocusPosterior | None = None

    def ask(self) -> float | None:
        """Give the next working distance to scan, the start first unless told of it; ``None`` at the end."""
        if not self._scans:
            return self._start_mm
        here_mm = self._scans[0].working_distance_mm
        up = self._prior.high_mm - here_mm >= here_mm - self._prior.low_mm
        step_mm = PROBE_DEPTHS * self._depth_mm * (1.0 if up else -1.0)
        first_mm, second_mm = (self._clipped(here_mm + step) for step in (step_mm, -step_mm))
        taken = len(self._scans) - 1
        if taken == 0:
            return first_mm
        if taken < MAX_SCANS and self._is_undecided():
            # At a bound there is no other side; then twice as far on this one.
            is_open = abs(second_mm - here_mm) > LOST_DEPTHS * self._depth_mm
            return second_mm if is_open else self._clipped(here_mm + 2.0 * step_mm)
        return None

    def tell(self, working_distance_mm: float, measurement: Measurement) -> None:
        """Report a scan; the alarm's own frame first."""
        self._scans.append(Observation(working_distance_mm, measurement.spectrum))
        self._posterior = focus_posterior(self._scans, self._prior)

    @property
    def outcome(self) -> ProbeOutcome:
        """The verdict.

        Raises:
            ValueError: nothing was told yet.
        """
        posterior = self._posterior
        if posterior is None:
            raise ValueError("a probe without a scan has no outcome")
        p_lost = posterior.probability_off(self._scans[0].working_distance_mm, LOST_DEPTHS)
        sd_um = 1000.0 * posterior.sd_mm
        if posterior.sd_mm > BLIND_DEPTHS * self._depth_mm and p_lost < SURELY_LOST_PROBABILITY:
            result, reason = ProbeResult.BLIND, f"{len(self._scans)} pictures leave focus uncertain"
        elif p_lost > LOST_PROBABILITY:
            result, reason = ProbeResult.LOST, f"focus seems to lie at {posterior.mean_mm:.6g} mm"
        else:
            result, reason = ProbeResult.NOT_FOCUS_RELATED, "the lens stands in focus"
        reason = f"{reason} (within {sd_um:.3g} um; lost with probability {p_lost:.2f})"
        return ProbeOutcome(result, p_lost, posterior.mean_mm, sd_um, reason)

    def _is_undecided(self) -> bool:
        """Whether a second scan is worth its dose."""
        posterior = self._posterior
        if posterior is None:
            return True
        p_lost = posterior.probability_off(self._scans[0].working_distance_mm, LOST_DEPTHS)
        low, high = UNDECIDED_PROBABILITY
        is_wide = posterior.sd_mm > BLIND_DEPTHS * self._depth_mm
        return low < p_lost < high or (is_wide and p_lost < SURELY_LOST_PROBABILITY)

    def _clipped(self, place_mm: float) -> float:
        return min(max(place_mm, self._prior.low_mm), self._prior.high_mm)
