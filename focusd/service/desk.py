"""The one refocus that may be queued or running: who asked, how far it is, how to end it and wait for it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

import structlog

from focusd.config import Config
from focusd.errors import BusyError, NotFoundError, StoreError
from focusd.frame import Frame, StagePosition
from focusd.microscope.interface import Microscope
from focusd.records import RefocusRecord, RefocusResult, RefocusTrigger
from focusd.service.board import StatusBoard
from focusd.service.monitor import Monitor
from focusd.service.references import FocusReferences
from focusd.service.refocus import Refocus, Refocused
from focusd.service.surface import Surfaces
from focusd.sources.scan import ScanSource
from focusd.store.database import Store

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Active:
    """A refocus from its request to its end."""

    record: RefocusRecord
    finished: asyncio.Future[RefocusRecord]
    run: Refocus | None = None
    cancelled_because: str | None = None


class RefocusDesk:
    """Admits one refocus at a time and runs it.

    Args:
        config: The whole configuration.
        store: Where refocuses are kept.
        monitor: Scores the scans, and is told when focus is found.
        source: Takes the scans.
        board: Where progress is published.
        surfaces: Told where focus was found.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        monitor: Monitor,
        source: ScanSource,
        board: StatusBoard,
        surfaces: Surfaces,
    ) -> None:
        self._config = config
        self._store = store
        self._monitor = monitor
        self._source = source
        self._board = board
        self._surfaces = surfaces
        self._references = FocusReferences(store, is_used=config.refocus.use_reference)
        self._active: _Active | None = None
        self._free = asyncio.Event()
        self._free.set()

    @property
    def is_busy(self) -> bool:
        """Whether a refocus is queued or running."""
        return not self._free.is_set()

    @property
    def current(self) -> RefocusRecord | None:
        """The refocus that is queued or running; ``None`` also while it is being written down."""
        return self._active.record if self._active else None

    @property
    def last(self) -> RefocusRecord | None:
        """The refocus that ended last since the daemon was started."""
        return self._board.current.last_refocus

    async def until_free(self) -> RefocusRecord | None:
        """Wait until no refocus is queued or running; give the one that ended last."""
        await self._free.wait()
        return self._board.current.last_refocus

    def refuse_while_busy(self, what: str) -> None:
        """Raise ``BusyError`` naming the running refocus, if there is one."""
        if self.is_busy:
            running = str(self._active.record.refocus_id) if self._active else None
            raise BusyError(
                f"{what} is not possible while a refocus is queued or running", running_id=running
            )

    async def admit(
        self, trigger: RefocusTrigger, frame_id: int | None = None, *, keep_spectra: bool | None = None
    ) -> RefocusRecord:
        """Take the one place and give the new record; ``run`` carries it out.

        Args:
            trigger: Why.
            frame_id: The frame that raised the alarm, if one did.
            keep_spectra: Whether the spectra of the scans are kept; as configured unless given.

        Raises:
            BusyError: the place is taken.
            StoreError: the record could not be kept.
        """
        self.refuse_while_busy("a refocus")
        self._free.clear()
        try:
            record = RefocusRecord(
                refocus_id=await self._store.refocuses.next_id(),
                trigger=trigger,
                method=self._config.refocus.method,
                metric=self._config.refocus.metric,
                condition="",
                started_at=time.time(),
                start_working_distance_mm=None,
                max_scans=self._config.refocus.max_scans,
                frame_id=frame_id,
                frame_beam_time_s=self._source.request.beam_time_s,
                keep_spectra=self._config.refocus.keep_spectra if keep_spectra is None else keep_spectra,
            )
            await self._store.refocuses.insert(record)
        except BaseException:
            self._free.set()
            raise
        self._active = _Active(record, asyncio.get_running_loop().create_future())
        self._board.update(current_refocus=record)
        return record

    async def run(
        self,
        microscope: Microscope,
        first: Frame | None = None,
        *,
        stage_position: StagePosition | None = None,
    ) -> RefocusRecord:
        """Carry out the admitted refocus and give its finished record.

        Args:
            microscope: The connected microscope.
            first: The frame that raised the alarm, just taken where the lens stands.
            stage_position: Where the frame that called for it was taken, in case the microscope tells none.

        Raises:
            LinkError, StoreError: after the record has been finished.
        """
        active = self._active
        if active is None:
            raise BusyError("no refocus was admitted")
        active.run = Refocus(
            microscope,
            self._store,
            self._config.refocus,
            active.record,
            source=self._source,
            measure=self._monitor.measure,
            on_progress=self._progressed,
            tolerance_mm=self._config.microscope.working_distance_tolerance_um / 1000,
        )
        if active.cancelled_because is not None:
            active.run.cancel(active.cancelled_because)
        _log.info("refocus_started", refocus_id=active.record.refocus_id, trigger=active.record.trigger.value)
        try:
            with structlog.contextvars.bound_contextvars(refocus_id=active.record.refocus_id):
                refocused = await active.run.run(first)
            await self._teach(microscope, refocused, stage_position)
        finally:
            await self._conclude(active)
        return active.record

    async def abandon(
        self, reason: str, result: RefocusResult = RefocusResult.LINK_LOST
    ) -> RefocusRecord | None:
        """Give the place back when the admitted refocus cannot be run at all."""
        active = self._active
        if active is None or active.run is not None:
            return None
        active.record = replace(active.record, result=result, reason=reason, duration_s=0.0)
        try:
            await self._conclude(active)
        except StoreError as error:
            _log.warning("refocus_not_kept", refocus_id=active.record.refocus_id, error=str(error))
        return active.record

    def cancel(self, refocus_id: int, reason: str) -> None:
        """End the queued or running refocus within one scan.

        Raises:
            NotFoundError: it is not queued or running.
        """
        active = self._active
        if active is None or active.record.refocus_id != refocus_id:
            raise NotFoundError(f"refocus {refocus_id} is not queued or running")
        self.cancel_any(reason)

    def cancel_any(self, reason: str) -> None:
        """End whatever refocus is queued or running."""
        if self._active is None:
            return
        self._active.cancelled_because = reason
        if self._active.run is not None:
            self._active.run.cancel(reason)

    async def wait(self, refocus_id: int) -> RefocusRecord:
        """Wait for a refocus to end, and give its record.

        Raises:
            NotFoundError: there never was such a refocus.
        """
        active = self._active
        if active is not None and active.record.refocus_id == refocus_id:
            return await asyncio.shield(active.finished)
        return await self.get(refocus_id)

    async def get(self, refocus_id: int) -> RefocusRecord:
        """Give the record of a refocus as it stands now.

        Raises:
            NotFoundError: there never was such a refocus.
        """
        active = self._active
        if active is not None and active.record.refocus_id == refocus_id:
            return active.record
        record = await self._store.refocuses.get(refocus_id)
        if record is None:
            raise NotFoundError(f"there is no refocus {refocus_id}")
        return record

    def _progressed(self, record: RefocusRecord) -> None:
        if self._active is not None:
            self._active.record = record
            self._board.update(current_refocus=record)

    async def _teach(
        self, microscope: Microscope, refocused: Refocused, stage_position: StagePosition | None
    ) -> None:
        """After a success: forget the suspicion, note the place, make a baseline where there is none."""
        record, verified, conditions = refocused.record, refocused.verified, refocused.conditions
        if record.result is None or not record.result.is_success:
            return
        self._monitor.forget_suspicion()
        if not self._source.takes_frames:
            # Scanned by others in a way of their own, which only their next frames can show.
            self._monitor.expect_focus()
        if conditions is not None:
            await self._surfaces.learn(record, conditions, refocused.stage_position or stage_position)
        if verified is not None and conditions is not None:
            await self._references.learn(conditions, verified)
        if not (self._source.takes_frames and self._monitor.wants_reference):
            return
        is_part = self._source.focus_request.beam_time_s != self._source.request.beam_time_s
        if is_part or verified is None or conditions is None:
            # The refocus has looked at a part of the frame, or not quite where the lens stands now.
            frame = await self._source.take(microscope)
            part = self._source.as_focus_frame(frame) if verified is None else None
            if part is not None:
                await self._references.learn(part.conditions, await self._monitor.measure(part))
            verified, conditions = await self._monitor.measure(frame), frame.conditions
        await self._monitor.adopt(conditions, verified, record.final_working_distance_mm)

    async def _conclude(self, active: _Active) -> None:
        record = active.record
        _log.info(
            "refocus_finished",
            refocus_id=record.refocus_id,
            result=record.result and record.result.value,
            reason=record.reason,
            scans=len(record.scans),
            gain=record.gain,
            start_working_distance_mm=record.start_working_distance_mm,
            final_working_distance_mm=record.final_working_distance_mm,
            dose_frames=record.dose_frames,
            beam_time_s=record.beam_time_s,
            duration_s=record.duration_s,
        )
        try:
            await self._store.refocuses.update(record)
            if record.keep_spectra and active.run is not None:
                await self._store.spectra.put(active.run.spectra)
        finally:
            self._release(record)

    def _release(self, record: RefocusRecord) -> None:
        active, self._active = self._active, None
        counters = self._board.current.counters
        failed = record.result is None or record.result.is_failure
        self._board.update(
            current_refocus=None,
            last_refocus=record,
            counters=replace(
                counters,
                refocuses=counters.refocuses + 1,
                refocuses_failed=counters.refocuses_failed + failed,
            ),
        )
        self._free.set()
        if active is not None and not active.finished.done():
            active.finished.set_result(record)
