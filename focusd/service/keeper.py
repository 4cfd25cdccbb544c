"""What is done with a connected microscope: take frames, judge them, refocus when focus is lost.

One task owns the microscope and does one thing at a time; what others ask for waits in the inbox. So no
two moves, and no scan and move, can ever overlap.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from focusd.config import Config
from focusd.errors import ScanIncompleteError, ScanRefusedError, StoreError
from focusd.frame import Frame
from focusd.microscope.interface import Microscope
from focusd.records import FrameVerdict, RefocusRecord, RefocusResult, RefocusTrigger, Verdict
from focusd.service.attempts import Attempts
from focusd.service.board import StatusBoard
from focusd.service.desk import RefocusDesk
from focusd.service.heartbeat import Heartbeat
from focusd.service.jobs import Inbox
from focusd.service.monitor import Monitor
from focusd.service.places import SeenPlaces
from focusd.sources.scan import ScanSource

_log = structlog.get_logger(__name__)

RETRY_FRAME_AFTER_S = 5.0
"""Least pause after a scan that the microscope refused or broke off."""


@dataclass(frozen=True, slots=True)
class ScanAnswer:
    """One frame taken on request: its verdict, and the refocus it led to."""

    verdict: FrameVerdict
    refocus: RefocusRecord | None = None


class Keeper:
    """Keeps one microscope in focus while it is connected.

    Args:
        config: The whole configuration.
        monitor: Judges frames.
        source: Takes frames.
        desk: Runs refocuses.
        board: Where the status is published.
        inbox: Where others leave jobs.
        heartbeat: Told of progress.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        config: Config,
        *,
        monitor: Monitor,
        source: ScanSource,
        desk: RefocusDesk,
        board: StatusBoard,
        inbox: Inbox,
        heartbeat: Heartbeat,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._monitor = monitor
        self._source = source
        self._desk = desk
        self._board = board
        self._inbox = inbox
        self._heartbeat = heartbeat
        self._clock = clock
        self._attempts = Attempts(config.refocus.attempts, config.refocus.cool_down_s, clock)
        self._places = SeenPlaces(config.refocus.place_cool_down_s, config.drift.threshold_ratio, clock)
        self._next_frame_due = 0.0
        self._advised = False
        self._blocked = False
        self._store_failed = False
        self.is_paused = False

    async def serve(self, microscope: Microscope) -> None:
        """Keep the microscope in focus until the link is lost or the task is cancelled.

        Raises:
            LinkError: the connection can no longer be trusted.
        """
        self._next_frame_due = self._clock()
        while True:
            job = await self._inbox.get(self._idle_s())
            try:
                if job is not None:
                    await job.carry_out(microscope)
                elif self._frame_is_due():
                    await self._take_due_frame(microscope)
                else:
                    await self.refresh(microscope)
            except StoreError as error:
                if not self._store_failed:
                    _log.error("store_failed", error=str(error))
                self._store_failed = True
                self._board.set_degraded(str(error))

    async def scan(self, microscope: Microscope) -> ScanAnswer:
        """Take and judge one frame now, and refocus if that is due.

        Raises:
            ScanRefusedError, ScanIncompleteError, LinkError, StoreError: no verdict was reached.
        """
        scan_s = 2 * self._source.request.beam_time_s + 10
        self._heartbeat.expect(scan_s + 2 * self._config.microscope.timeouts.request_s)
        frame = await self._source.take(microscope)
        verdict = await self._monitor.judge(frame)
        self._note_store_works()
        self._publish(verdict)
        return ScanAnswer(verdict, await self._act_on(verdict, frame, microscope))

    async def run_admitted(self, microscope: Microscope) -> RefocusRecord:
        """Carry out the refocus an operator asked for."""
        self._attempts.reset()
        return await self._refocus(microscope)

    async def move(self, microscope: Microscope, working_distance_mm: float) -> float:
        """Set the working distance by an operator's word; give the readback in millimetres."""
        readback_mm = await microscope.set_working_distance(working_distance_mm)
        self._monitor.forget_suspicion()
        self._board.update(working_distance_setpoint_mm=working_distance_mm, last_verdict=None)
        await self.refresh(microscope)
        return readback_mm

    def forgive(self) -> None:
        """Start afresh by an operator's word: failures and suspicion are forgotten."""
        self._attempts.reset()
        self._monitor.forget_suspicion()
        self._places.forget()
        self._advised = self._blocked = False
        self._next_frame_due = self._clock()
        self._board.set_degraded(None)

    def block(self, reason: str) -> None:
        """Make no move until an operator says so: something must be looked at by hand first."""
        self._blocked = True
        self._board.set_degraded(reason)

    async def refresh(self, microscope: Microscope) -> None:
        """Read the column, which is also the sign of life of an idle link."""
        started = self._clock()
        column = await microscope.get_state()
        link = replace(self._board.current.link, round_trip_s=self._clock() - started)
        self._board.update(column=column, link=link)

    def _idle_s(self) -> float:
        idle_s = self._config.microscope.timeouts.ping_interval_s
        if self._source.interval_s is not None and not self.is_paused:
            idle_s = min(idle_s, max(0.0, self._next_frame_due - self._clock()))
        # Several questions make up one reading of the column, each with its own deadline.
        self._heartbeat.expect(idle_s + 10 * self._config.microscope.timeouts.request_s)
        return idle_s

    def _frame_is_due(self) -> bool:
        if self.is_paused or self._source.interval_s is None:
            return False
        return self._clock() >= self._next_frame_due

    async def _take_due_frame(self, microscope: Microscope) -> None:
        interval_s = self._source.interval_s or 0.0
        self._next_frame_due = self._clock() + interval_s
        try:
            await self.scan(microscope)
        except (ScanRefusedError, ScanIncompleteError) as error:
            _log.warning("frame_lost", error=str(error))
            self._next_frame_due = self._clock() + max(interval_s, RETRY_FRAME_AFTER_S)

    def _note_store_works(self) -> None:
        if self._store_failed:
            self._store_failed = False
            _log.info("store_works_again")
            if not (self._blocked or self._attempts.exhausted):
                self._board.set_degraded(None)

    def _publish(self, verdict: FrameVerdict) -> None:
        counters = self._board.current.counters
        self._board.update(
            last_verdict=verdict,
            baseline=self._monitor.baseline,
            counters=replace(
                counters,
                frames_judged=counters.frames_judged + 1,
                frames_unjudgeable=counters.frames_unjudgeable + (verdict.verdict is Verdict.UNJUDGEABLE),
            ),
        )

    async def _act_on(
        self, verdict: FrameVerdict, frame: Frame, microscope: Microscope
    ) -> RefocusRecord | None:
        """Refocus if the verdict calls for it and nothing forbids it."""
        trigger = self._trigger(verdict)
        if trigger is None:
            self._advised = self._advised and verdict.verdict is not Verdict.IN_FOCUS
            return None
        if self._config.refocus.mode == "advise":
            if not self._advised:
                _log.warning(
                    "refocus_advised", trigger=trigger.value, frame_id=verdict.frame_id, ratio=verdict.ratio
                )
            self._advised = True
            return None
        # An operator's refocus that waits in the inbox comes first; then there is nothing left to do here.
        if self._blocked or self._attempts.exhausted or self._desk.is_busy:
            return None
        if trigger is RefocusTrigger.DRIFT and self._places.knows(frame, verdict.ratio):
            _log.debug("place_left_alone", frame_id=verdict.frame_id)
            return None
        await self._desk.admit(trigger, verdict.frame_id)
        return await self._refocus(microscope, frame, verdict.ratio)

    def _trigger(self, verdict: FrameVerdict) -> RefocusTrigger | None:
        if verdict.verdict is Verdict.OUT_OF_FOCUS:
            return RefocusTrigger.DRIFT
        if verdict.verdict is Verdict.SUSPECT and self._probes_suspicions:
            return RefocusTrigger.DRIFT
        if verdict.verdict is Verdict.LEARNING and self._config.baseline.policy == "autofocus":
            return RefocusTrigger.FIRST_FRAME
        return None

    @property
    def _probes_suspicions(self) -> bool:
        """Whether one suspect frame is enough: whoever asks for a frame waits for its verdict."""
        settings = self._config.refocus
        on_request = self._source.interval_s is None
        return on_request and settings.mode == "immediate" and settings.probe and settings.probe_suspicion

    async def _refocus(
        self, microscope: Microscope, first: Frame | None = None, ratio: float | None = None
    ) -> RefocusRecord:
        """Run the admitted refocus, called for by a frame of this sharpness over the baseline's."""
        record = await self._desk.run(microscope, first)
        self._note_result(record, first, ratio)
        self._board.update(
            baseline=self._monitor.baseline, working_distance_setpoint_mm=record.final_working_distance_mm
        )
        await self.refresh(microscope)
        return record

    def _note_result(self, record: RefocusRecord, first: Frame | None, ratio: float | None) -> None:
        """Draw the consequences of a refocus for the next alarms."""
        result = record.result
        if result is None:
            return
        if result.is_success:
            self._attempts.reset()
            self._places.forget()
            self._board.set_degraded(None)
        elif result.is_failure and record.trigger is not RefocusTrigger.REQUEST:
            self._note_failure(record)
        elif first is not None and result is not RefocusResult.CANCELLED:
            self._places.remember(first, ratio)
            self._monitor.forget_suspicion()

    def _note_failure(self, record: RefocusRecord) -> None:
        self._attempts.failed()
        if self._attempts.exhausted:
            cool_down_s = self._config.refocus.cool_down_s
            reason = f"refocus failed ({record.result}): {record.reason}; next try in {cool_down_s:g} s"
            _log.error("refocus_given_up", refocus_id=record.refocus_id, reason=reason)
            self._board.set_degraded(reason)
