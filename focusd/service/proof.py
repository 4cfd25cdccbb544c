"""The end of a search: the lens goes to the answer, and a scan decides whether it stays there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from focusd.config import RefocusSettings
from focusd.focus.acceptance import Acceptance, decide, same_focus
from focusd.focus.measure import Measurement
from focusd.focus.search import Search, SearchOutcome, SearchResult
from focusd.records import RefocusResult, ScanRole
from focusd.service.lens import Lens
from focusd.service.looks import Looks

ALIKE_WITHIN_DEPTHS = 2.2
"""Where no picture so near to the start is clearly sharper or blurrier, the start is as good as any."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of it."""

    result: RefocusResult
    reason: str
    verified: Measurement | None = None
    """A scan at the answer itself, taken as frames are, where the picture is in focus."""
    acceptance: Acceptance | None = None
    """How the scan at the end compares with the start's, where the lens was moved."""


class Prover:
    """Proves the answer of a search.

    Args:
        lens: Moves.
        looks: Takes the scans.
        settings: Metric and depth of field.
        search: At its end.
    """

    def __init__(self, lens: Lens, looks: Looks, settings: RefocusSettings, search: Search) -> None:
        self._lens = lens
        self._looks = looks
        self._settings = settings
        self._search = search

    async def prove(self, start: Measurement, start_mm: float) -> Proof:
        """Bring the lens to the answer and judge it against the scan at the start."""
        outcome = self._search.outcome
        best_mm = outcome.working_distance_mm
        if best_mm is None or outcome.result in {SearchResult.NO_PEAK, SearchResult.EDGE_OF_RANGE}:
            return Proof(RefocusResult(outcome.result.value), outcome.reason)
        if same_focus(best_mm, start_mm, depth_of_field_um=self._settings.depth_of_field_um):
            return await self._stay(outcome)
        proof = await self._move(outcome, start, best_mm)
        away_depths = abs(best_mm - start_mm) * 1000 / self._settings.depth_of_field_um
        if proof.result is RefocusResult.NO_PEAK and _is_told(outcome) and away_depths <= ALIKE_WITHIN_DEPTHS:
            await self._lens.put_back()
            reason = f"near focus, and nothing is to be gained: {proof.reason}"
            return replace(proof, result=RefocusResult.CONFIRMED_IN_FOCUS, reason=reason)
        return proof

    async def _stay(self, outcome: SearchOutcome) -> Proof:
        """The sharpest picture is the one at the start: go back there."""
        here_mm = await self._lens.put_back()
        end = self._seen_at(outcome, here_mm) or await self._fresh(here_mm)
        # Where the scans together tell focus, one of them need not be clear by itself.
        if not (end.quality.is_searchable if _is_told(outcome) else end.quality.judgeable):
            return Proof(RefocusResult.NO_PEAK, f"nothing to focus on: {end.quality.reason}")
        reason = "the sharpest picture is the one at the start"
        return Proof(RefocusResult.CONFIRMED_IN_FOCUS, reason, self._if_usual(end))

    async def _move(self, outcome: SearchOutcome, start: Measurement, best_mm: float) -> Proof:
        """Let a scan near the answer decide; where it does not speak for the answer, one at the answer."""
        here_mm = await self._lens.move(best_mm)
        there = self._seen_at(outcome, best_mm)
        if outcome.verified_by is not None:
            acceptance = self._judged(outcome, start, outcome.verified_by)
            if acceptance.accepted or there is not None:
                return self._ended(outcome, acceptance, there)
        end = await self._fresh(here_mm)
        return self._ended(outcome, self._judged(outcome, start, end), end)

    def _ended(self, outcome: SearchOutcome, acceptance: Acceptance, end: Measurement | None) -> Proof:
        if acceptance.accepted:
            verified = self._if_usual(end) if end is not None else None
            return Proof(RefocusResult.REFOCUSED, acceptance.reason, verified, acceptance)
        if outcome.result is SearchResult.BUDGET:
            return Proof(RefocusResult.BUDGET_EXCEEDED, outcome.reason, acceptance=acceptance)
        result = RefocusResult.WORSE_THAN_START if acceptance.is_worse else RefocusResult.NO_PEAK
        return Proof(result, acceptance.reason, acceptance=acceptance)

    def _judged(self, outcome: SearchOutcome, start: Measurement, end: Measurement) -> Acceptance:
        return decide(
            start,
            end,
            metric=self._settings.metric,
            probability_nearer=outcome.probability_nearer,
            settled=outcome.result is SearchResult.FOUND,
            by_shape=outcome.by_shape,
        )

    def _seen_at(self, outcome: SearchOutcome, place_mm: float) -> Measurement | None:
        """Give the search's own scan of a place, if it has one."""
        seen_mm, depth_um = outcome.verified_at_mm, self._settings.depth_of_field_um
        if seen_mm is None or not same_focus(seen_mm, place_mm, depth_of_field_um=depth_um):
            return None
        return outcome.verified_by

    async def _fresh(self, here_mm: float) -> Measurement:
        return await self._looks.at(here_mm, ScanRole.VERIFICATION, dwell_factor=self._search.dwell_factor)

    def _if_usual(self, end: Measurement) -> Measurement | None:
        """Only a scan of the usual dwell time may become what frames are compared with."""
        return end if self._looks.is_usual(end) else None


def _is_told(outcome: SearchOutcome) -> bool:
    """Whether a posterior has settled on the answer."""
    return outcome.sd_um is not None and outcome.result is SearchResult.FOUND
