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
    MicroscopeError,
    ScanIncompleteError,
    ScanRefusedError,
    StoreError,
    WorkingDistanceLimitError,
    WorkingDistanceNotSetError,
)
from focusd.focus.acceptance import decide
from focusd.focus.compare import SCALES_PX
from focusd.focus.measure import Measurement
from focusd.focus.search import Search, SearchOutcome, SearchResult, make_search
from focusd.focus.spectrum import log_energy
from focusd.frame import Frame, ImagingConditions
from focusd.microscope.interface import Microscope
from focusd.records import RefocusRecord, RefocusResult, RefocusScan, RestorePoint, ScanRole
from focusd.service.lens import Lens, MovedByOtherError
from focusd.sources.scan import ScanSource
from focusd.store.journal import Journal

_log = structlog.get_logger(__name__)

PUT_BACK_DEADLINE_S = 60.0
APPROACH_DEPTHS = 3.0
"""Depths of field below a target that the lens goes first when it comes from above."""
CONFIRMED_WITHIN_DEPTHS = 0.5
"""An answer this near to the start is the start: a move would gain nothing that can be seen."""

_RESULT_OF_ERROR: Mapping[type[Exception], RefocusResult] = {
    MovedByOtherError: RefocusResult.CANCELLED,
    WorkingDistanceLimitError: RefocusResult.LIMITS,
    WorkingDistanceNotSetError: RefocusResult.WD_NOT_SETTABLE,
    ScanRefusedError: RefocusResult.SCAN_FAILED,
    ScanIncompleteError: RefocusResult.SCAN_FAILED,
}

Ending: TypeAlias = tuple[RefocusResult, str]


@dataclass(frozen=True, slots=True)
class Refocused:
    """How a refocus ended; ``verified`` is the measurement of its last scan when the picture is in focus."""

    record: RefocusRecord
    conditions: ImagingConditions | None = None
    verified: Measurement | None = None


class Refocus:
    """Drives one refocus; ``record`` is its state so far.

    Args:
        microscope: The connected microscope.
        journal: Where the restore point is written before the first move.
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
        journal: Journal,
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
        self._journal = journal
        self._settings = settings
        self._source = source
        self._first: Frame | None = None
        self._measure = measure
        self._on_progress = on_progress
        self._tolerance_mm = tolerance_mm
        self._depth_of_field_mm = settings.depth_of_field_um / 1000
        self._scope = asyncio.timeout(settings.deadline_s)
        self._attempting = False
        self._cancelled_because: str | None = None
        self._lens: Lens | None = None
        self._entry: RestorePoint | None = None
        self._conditions: ImagingConditions | None = None
        self._verified: Measurement | None = None

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
        self._first = self._source.as_focus_frame(first) if first else None
        try:
            result, reason = await self._attempt()
            result, reason = await self._settle(result, reason)
        except LinkError as error:
            self._finish(RefocusResult.LINK_LOST, str(error), started)
            raise
        except asyncio.CancelledError:
            self._finish(*await self._settle(RefocusResult.CANCELLED, "focusd is stopping"), started)
            raise
        except StoreError as error:
            await self._put_back_unrecorded()
            self._finish(RefocusResult.CANCELLED, str(error), started)
            raise
        self._finish(result, reason, started)
        return Refocused(self.record, self._conditions, self._verified)

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
        except (MovedByOtherError, MicroscopeError) as error:
            if type(error) not in _RESULT_OF_ERROR:
                raise
            return _RESULT_OF_ERROR[type(error)], str(error)

    async def _search_and_prove(self) -> Ending:
        start_mm = await self._microscope.get_working_distance()
        self._update(start_working_distance_mm=start_mm)
        low_mm, high_mm = self._microscope.limits_mm
        if not low_mm <= start_mm <= high_mm:
            raise WorkingDistanceLimitError(start_mm, low_mm, high_mm)
        start = await self._start(start_mm)
        if not start.quality.judgeable:
            return RefocusResult.NO_PEAK, f"nothing to focus on: {start.quality.reason}"
        lens = await self._open_lens(start_mm)
        search = self._make_search(start_mm, low_mm, high_mm)
        while (target_mm := search.ask()) is not None:
            if target_mm == start_mm:
                search.tell(start_mm, start)
                continue
            readback_mm = await lens.move(target_mm)
            search.tell(target_mm, await self._scan(ScanRole.SEARCH, readback_mm))
        return await self._prove(lens, search.outcome, start, start_mm)

    async def _prove(self, lens: Lens, outcome: SearchOutcome, start: Measurement, start_mm: float) -> Ending:
        """Bring the lens to the search's answer and let a fresh scan decide."""
        best_mm = outcome.working_distance_mm
        if best_mm is None or outcome.result in {SearchResult.NO_PEAK, SearchResult.EDGE_OF_RANGE}:
            return RefocusResult(outcome.result.value), outcome.reason
        if abs(best_mm - start_mm) <= CONFIRMED_WITHIN_DEPTHS * self._depth_of_field_mm:
            self._verified = await self._scan(ScanRole.VERIFICATION, await lens.put_back())
            return RefocusResult.CONFIRMED_IN_FOCUS, "the sharpest picture is the one at the start"
        end = await self._scan(ScanRole.VERIFICATION, await lens.move(best_mm))
        acceptance = decide(start, end, metric=self._settings.metric)
        self._update(gain=acceptance.gain, z_score=acceptance.z_score)
        if acceptance.accepted:
            self._verified = end
            return RefocusResult.REFOCUSED, acceptance.reason
        if outcome.result is SearchResult.BUDGET:
            return RefocusResult.BUDGET_EXCEEDED, outcome.reason
        return RefocusResult.WORSE_THAN_START, acceptance.reason

    def _make_search(self, start_mm: float, low_mm: float, high_mm: float) -> Search:
        settings = self._settings
        change_mm = settings.max_change_um / 1000
        if settings.method != "brent-wide":
            low_mm, high_mm = max(low_mm, start_mm - change_mm), min(high_mm, start_mm + change_mm)
        return make_search(
            settings.method,
            start_mm=start_mm,
            low_mm=low_mm,
            high_mm=high_mm,
            depth_of_field_um=settings.depth_of_field_um,
            max_scans=settings.max_scans - 1,
            wide_maxiter=settings.wide_maxiter,
            metric=settings.metric,
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

    async def _start(self, start_mm: float) -> Measurement:
        """Measure the picture at the start: the frame at hand if it was taken right here, else a scan."""
        first = self._first
        if first is None or first.working_distance_mm is None:
            return await self._scan(ScanRole.START, start_mm)
        if abs(first.working_distance_mm - start_mm) > self._tolerance_mm:
            return await self._scan(ScanRole.START, start_mm)
        return await self._note(ScanRole.START, start_mm, first, is_new=False)

    async def _scan(self, role: ScanRole, working_distance_mm: float) -> Measurement:
        frame = await self._source.take_for_focus(self._microscope)
        return await self._note(role, working_distance_mm, frame, is_new=True)

    async def _note(
        self, role: ScanRole, working_distance_mm: float, frame: Frame, *, is_new: bool
    ) -> Measurement:
        """Measure a scan and write it into the record."""
        measurement = await self._measure(frame)
        self._conditions = frame.conditions
        score = measurement.scores[self._settings.metric]
        dwell_time_us = frame.conditions.dwell_time_us or self._source.focus_request.dwell_time_us
        scan = RefocusScan(
            index=len(self.record.scans),
            role=role,
            working_distance_mm=working_distance_mm,
            sharpness=score.value,
            sharpness_standard_error=score.standard_error,
            laplacian_variance=measurement.laplacian_variance,
            signal_to_noise=measurement.quality.signal_to_noise,
            beam_time_s=frame.pixels.size * dwell_time_us * 1e-6 if is_new else 0.0,
            dwell_time_us=dwell_time_us,
            region=self._source.focus_request.region,
            energies={f"{px:g}": log_energy(measurement.spectrum, px).value for px in SCALES_PX},
        )
        self._update(scans=(*self.record.scans, scan), condition=frame.conditions.key)
        _log.info(
            "refocus_scanned",
            role=role.value,
            scan=scan.index + 1,
            max_scans=self.record.max_scans,
            working_distance_mm=working_distance_mm,
            sharpness=score.value,
        )
        return measurement

    async def _settle(self, result: RefocusResult, reason: str) -> Ending:
        """Leave the microscope as the result demands, and close the restore point."""
        if self._entry is None or self._lens is None:
            return result, reason
        if not result.is_success:
            try:
                async with asyncio.timeout(PUT_BACK_DEADLINE_S):
                    await self._lens.put_back()
            except MovedByOtherError as error:
                reason = f"{reason}; not put back: {error}"
            except WorkingDistanceNotSetError as error:
                # The entry stays open: it is tried again at the next connect.
                return RefocusResult.WD_NOT_SETTABLE, f"{reason}; could not be put back: {error}"
        await self._journal.close(self._entry.entry_id, result.value)
        return result, reason

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
