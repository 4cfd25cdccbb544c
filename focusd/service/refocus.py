"""One refocus from start to end: scan, search, move, prove with a fresh scan, or put everything back.

The rule that stands above all others: whatever happens, the lens ends at a working distance whose picture
was shown to be sharper than the first, or where it stood before.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import structlog

from focusd.config import RefocusSettings
from focusd.errors import (
    LinkError,
    LinkTimeoutError,
    MicroscopeError,
    ScanIncompleteError,
    ScanRefusedError,
    StoreError,
    WorkingDistanceLimitError,
    WorkingDistanceNotSetError,
)
from focusd.focus.depth import LearnedDepth
from focusd.focus.measure import Measurement
from focusd.focus.probe import Probe, ProbeOutcome, ProbeResult
from focusd.focus.search import Search, make_search
from focusd.focus.spectrum import RadialSpectrum
from focusd.frame import Frame, ImagingConditions, StagePosition
from focusd.microscope.cleanup import uninterrupted
from focusd.microscope.interface import Microscope
from focusd.records import (
    RefocusRecord,
    RefocusResult,
    RefocusScan,
    RefocusSpectra,
    RefocusTrigger,
    RestorePoint,
    ScanRole,
    StoredSpectrum,
)
from focusd.service.depths import Depths
from focusd.service.lens import Lens, MovedByOtherError
from focusd.service.looks import Looks, UnusablePictureError
from focusd.service.proof import Prover
from focusd.service.references import FocusReferences
from focusd.sources.scan import ScanSource
from focusd.store.database import Store

_log = structlog.get_logger(__name__)

PUT_BACK_DEADLINE_S = 60.0
PUT_BACK_TRIES = 3
APPROACH_DEPTHS = 3.0
"""Depths of field below a target that the lens goes first when it comes from above."""

_RESULT_OF_ERROR: Mapping[type[Exception], RefocusResult] = {
    MovedByOtherError: RefocusResult.CANCELLED,
    UnusablePictureError: RefocusResult.NO_PEAK,
    WorkingDistanceLimitError: RefocusResult.LIMITS,
    WorkingDistanceNotSetError: RefocusResult.WD_NOT_SETTABLE,
    ScanRefusedError: RefocusResult.SCAN_FAILED,
    ScanIncompleteError: RefocusResult.SCAN_FAILED,
}

LEAST_SIGNAL_TO_NOISE = 3.0
"""With less coarse detail an alarm's frame holds nothing but noise, and the lens is left alone. Who asks for
a refocus gets it from such a frame too: far out of focus, a textured specimen looks like that."""

Ending: TypeAlias = tuple[RefocusResult, str]


@dataclass(frozen=True, slots=True)
class Refocused:
    """How a refocus ended.

    ``verified`` is the measurement of a scan at the very end, taken as frames are, when the picture is in
    focus; a refocus may know that without such a scan. ``conditions`` are those of the usual scans.
    """

    record: RefocusRecord
    conditions: ImagingConditions | None = None
    verified: Measurement | None = None
    stage_position: StagePosition | None = None
    """Where the last scan was taken, if the microscope tells."""


class Refocus:
    """Drives one refocus; ``record`` is its state so far.

    Args:
        microscope: The connected microscope.
        store: Where the restore point is written before the first move, and what was learnt is kept.
        settings: Method, budget and bounds.
        record: The run as it was asked for.
        source: Takes the scans.
        measure: Scores an image off the event loop.
        on_progress: Called with the record after each scan.
        tolerance_mm: How far a readback may be from the setpoint.
    """

    def __init__(
        self,
        microscope: Microscope,
        store: Store,
        settings: RefocusSettings,
        record: RefocusRecord,
        *,
        source: ScanSource,
        measure: Callable[[Frame], Awaitable[Measurement]],
        on_progress: Callable[[RefocusRecord], None],
        tolerance_mm: float,
    ) -> None:
        self.record = record
        self._microscope = microscope
        self._journal = store.journal
        self._settings = settings
        self._looks = Looks(
            microscope,
            source,
            measure,
            metric=settings.metric,
            max_scans=record.max_scans,
            on_scan=self._note,
        )
        self._depths = Depths(store, settings.depth_of_field_um)
        self._references = FocusReferences(store, is_used=settings.use_reference)
        self._on_progress = on_progress
        self._tolerance_mm = tolerance_mm
        self._depth_of_field_mm = settings.depth_of_field_um / 1000
        self._scope = asyncio.timeout(settings.deadline_s)
        self._attempting = False
        self._cancelled_because: str | None = None
        self._lens: Lens | None = None
        self._entry: RestorePoint | None = None
        self._at_hand: Frame | None = None
        self._verified: Measurement | None = None

    @property
    def spectra(self) -> RefocusSpectra:
        """The spectra of the scans so far."""
        spectra = tuple(StoredSpectrum.of(spectrum) for spectrum in self._looks.spectra)
        return RefocusSpectra(self.record.refocus_id, spectra)

    def cancel(self, reason: str) -> None:
        """End the run within one scan; the lens is put back and the run ends as ``cancelled``."""
        if self._cancelled_because is not None or self.record.result is not None:
            return
        self._cancelled_because = reason
        if self._attempting:
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def run(self, first: Frame | None = None) -> Refocused:
        """Carry it out; a failure that leaves the link usable ends as a result, not as an exception.

        Args:
            first: A frame just taken where the lens stands; it serves as the scan at the start.

        Raises:
            LinkError: the link was lost; the restore point stays open and is settled at the next connect.
            StoreError: nothing can be written down; the lens is not moved any more.
        """
        started = time.monotonic()
        self._at_hand = first
        try:
            result, reason = await self._attempt()
        except asyncio.CancelledError:
            await uninterrupted(self._conclude(RefocusResult.CANCELLED, "focusd is stopping", started))
            raise
        except (LinkError, StoreError) as error:
            await uninterrupted(self._give_up(error, started))
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with focusd, the lens is put back
            _log.error("refocus_failed", exc_info=error)
            result, reason = RefocusResult.INTERNAL_ERROR, f"{type(error).__name__}: {error}"
        await uninterrupted(self._conclude(result, reason, started))
        return Refocused(self.record, self._looks.conditions, self._verified, self._looks.stage_position)

    async def _conclude(self, result: RefocusResult, reason: str, started: float) -> None:
        """Leave the microscope as the result demands, and finish the record."""
        try:
            result, reason = await self._settle(result, reason)
        except (LinkError, StoreError) as error:
            await self._give_up(error, started)
            raise
        self._finish(result, reason, started)

    async def _give_up(self, error: LinkError | StoreError, started: float) -> None:
        """Finish the record of a run whose restore point stays open."""
        if isinstance(error, LinkError):
            self._finish(RefocusResult.LINK_LOST, str(error), started)
            return
        with contextlib.suppress(LinkError):
            await self._put_back_unrecorded()
        self._finish(RefocusResult.CANCELLED, str(error), started)

    async def _attempt(self) -> Ending:
        if self._cancelled_because is not None:
            return RefocusResult.CANCELLED, self._cancelled_because
        try:
            async with self._scope, self._microscope.acquisition():
                self._attempting = True
                try:
                    return await self._search_and_prove()
                finally:
                    self._attempting = False
        except LinkError:
            raise
        except TimeoutError:
            if self._cancelled_because is not None:
                return RefocusResult.CANCELLED, self._cancelled_because
            return (
                RefocusResult.BUDGET_EXCEEDED,
                f"not done within deadline_s = {self._settings.deadline_s:g}",
            )
        except (MovedByOtherError, UnusablePictureError, MicroscopeError) as error:
            if type(error) not in _RESULT_OF_ERROR:
                raise
            if isinstance(error, UnusablePictureError) and self.record.trigger is RefocusTrigger.DRIFT:
                return RefocusResult.BLIND, str(error)
            return _RESULT_OF_ERROR[type(error)], str(error)

    async def _search_and_prove(self) -> Ending:
        start_mm = await self._microscope.get_working_distance()
        self._update(start_working_distance_mm=start_mm)
        low_mm, high_mm = self._microscope.limits_mm
        if not low_mm <= start_mm <= high_mm:
            raise WorkingDistanceLimitError(start_mm, low_mm, high_mm)
        start = await self._looks.at_start(start_mm, self._at_hand, tolerance_mm=self._tolerance_mm)
        is_alarm = self.record.trigger is RefocusTrigger.DRIFT
        is_empty = is_alarm and start.quality.signal_to_noise < LEAST_SIGNAL_TO_NOISE
        if is_empty or not start.quality.is_searchable:
            result = RefocusResult.BLIND if is_alarm else RefocusResult.NO_PEAK
            return result, f"nothing to focus on: {start.quality.reason}"
        lens = await self._open_lens(start_mm)
        bounds_mm = self._bounds_mm(start_mm)
        prior = await self._depths.known(self.record.condition)
        seen = [(start_mm, start)]
        if self._settings.probe and is_alarm:
            probed = await self._probe(lens, bounds_mm, prior, seen)
            if probed.result is not ProbeResult.LOST:
                return RefocusResult(probed.result.value), probed.reason
        reference = await self._references.known(self._looks.conditions)
        search = self._make_search(start_mm, bounds_mm, prior, reference)
        # What it makes of a scan takes milliseconds, in which the event loop would stand still.
        for place_mm, measurement in seen:
            await asyncio.to_thread(search.tell, place_mm, measurement)
        while (target_mm := search.ask()) is not None:
            readback_mm = await lens.move(target_mm)
            seen_there = await self._looks.at(readback_mm, ScanRole.SEARCH, dwell_factor=search.dwell_factor)
            await asyncio.to_thread(search.tell, target_mm, seen_there)
        return await self._prove(lens, search, start, start_mm)

    async def _probe(
        self,
        lens: Lens,
        bounds_mm: tuple[float, float],
        prior: LearnedDepth,
        seen: list[tuple[float, Measurement]],
    ) -> ProbeOutcome:
        """Find out whether focus is the matter; what is seen on the way is added to ``seen``."""
        probe = Probe(seen[0][0], *bounds_mm, self._settings.depth_of_field_um, prior=prior)
        await asyncio.to_thread(probe.tell, *seen[0])
        while (target_mm := probe.ask()) is not None:
            readback_mm = await lens.move(target_mm)
            seen.append((target_mm, await self._looks.at(readback_mm, ScanRole.PROBE)))
            await asyncio.to_thread(probe.tell, *seen[-1])
        outcome = probe.outcome
        self._update(focus_mm=outcome.mean_mm, focus_sd_um=outcome.sd_um, probability_lost=outcome.p_lost)
        _log.info("probe_finished", result=outcome.result.value, reason=outcome.reason, scans=len(seen))
        return outcome

    async def _prove(self, lens: Lens, search: Search, start: Measurement, start_mm: float) -> Ending:
        """Bring the lens to the search's answer and let a scan decide."""
        outcome = search.outcome
        self._update(
            focus_mm=outcome.mean_mm,
            focus_sd_um=outcome.sd_um,
            depth_of_field_um=outcome.depth_of_field_um,
            probability_nearer=outcome.probability_nearer,
        )
        proof = await Prover(lens, self._looks, self._settings, search).prove(start, start_mm)
        self._verified = proof.verified
        if proof.result is RefocusResult.CONFIRMED_IN_FOCUS:
            # What the search said of a move that is not made is no evidence for staying.
            self._update(probability_nearer=None)
        if proof.acceptance is not None:
            self._update(gain=proof.acceptance.gain, z_score=proof.acceptance.z_score)
        if proof.result is RefocusResult.REFOCUSED:
            await self._depths.learn(self.record.condition, outcome)
        return proof.result, proof.reason

    def _bounds_mm(self, start_mm: float) -> tuple[float, float]:
        """Where the search may go: within the limits, and not too far from the start."""
        low_mm, high_mm = self._microscope.limits_mm
        if self._settings.method == "brent-wide":
            return low_mm, high_mm
        change_mm = self._settings.max_change_um / 1000
        return max(low_mm, start_mm - change_mm), min(high_mm, start_mm + change_mm)

    def _make_search(
        self,
        start_mm: float,
        bounds_mm: tuple[float, float],
        prior: LearnedDepth,
        reference: RadialSpectrum | None,
    ) -> Search:
        settings = self._settings
        return make_search(
            settings.method,
            start_mm=start_mm,
            low_mm=bounds_mm[0],
            high_mm=bounds_mm[1],
            depth_of_field_um=settings.depth_of_field_um,
            max_scans=settings.max_scans - 1,
            wide_maxiter=settings.wide_maxiter,
            metric=settings.metric,
            prior=prior,
            reference=reference,
        )

    async def _open_lens(self, start_mm: float) -> Lens:
        """Write the restore point down; nothing moves before this has returned."""
        self._entry = await self._journal.open(self.record.refocus_id, start_mm, time.time())
        self._lens = Lens(
            self._microscope,
            self._journal,
            self._entry,
            approach_mm=APPROACH_DEPTHS * self._depth_of_field_mm,
            tolerance_mm=self._tolerance_mm,
        )
        return self._lens

    def _note(self, scan: RefocusScan, conditions: ImagingConditions) -> None:
        self._update(scans=(*self.record.scans, scan), condition=conditions.key)
        _log.info(
            "refocus_scanned",
            role=scan.role.value,
            scan=scan.index + 1,
            max_scans=self.record.max_scans,
            working_distance_mm=scan.working_distance_mm,
            sharpness=scan.sharpness,
        )

    async def _settle(self, result: RefocusResult, reason: str) -> Ending:
        """Leave the microscope as the result demands, and close the restore point."""
        if self._entry is None or self._lens is None:
            return result, reason
        if not result.is_success:
            try:
                async with asyncio.timeout(PUT_BACK_DEADLINE_S):
                    await self._put_back(self._lens)
            except MovedByOtherError as error:
                self._lens.readback_mm = error.found_mm
                reason = f"{reason}; not put back: {error}"
            except WorkingDistanceNotSetError as error:
                # The entry stays open: it is tried again at the next connect.
                return RefocusResult.WD_NOT_SETTABLE, f"{reason}; could not be put back: {error}"
            except LinkError:
                raise
            except TimeoutError as error:
                message = f"the lens could not be put back within {PUT_BACK_DEADLINE_S:g} s"
                raise LinkTimeoutError(message) from error
        await self._journal.close(self._entry.entry_id, result.value, supersedes=result.is_success)
        return result, reason

    async def _put_back(self, lens: Lens) -> None:
        for _ in range(PUT_BACK_TRIES - 1):
            try:
                await lens.put_back()
            except WorkingDistanceNotSetError as error:
                _log.warning("put_back_failed", error=str(error))
            else:
                return
        await lens.put_back()

    async def _put_back_unrecorded(self) -> None:
        """Put the lens back although the journal cannot be written; the open entry knows the place."""
        if self._lens is not None:
            with contextlib.suppress(MovedByOtherError, WorkingDistanceNotSetError):
                await self._lens.put_back_unrecorded()

    def _finish(self, result: RefocusResult, reason: str, started: float) -> None:
        final_mm = self._lens.readback_mm if self._lens else self.record.start_working_distance_mm
        self._update(
            result=result,
            reason=reason,
            final_working_distance_mm=None if result is RefocusResult.LINK_LOST else final_mm,
            duration_s=time.monotonic() - started,
        )

    def _update(self, **changes: Any) -> None:  # noqa: ANN401 - the record's own fields, checked by replace
        self.record = replace(self.record, **changes)
        self._on_progress(self.record)
