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
from focusd.service.board import StatusBoard
from focusd.service.desk import RefocusDesk
from focusd.service.following import Follower, Foreseen
from focusd.service.heartbeat import Heartbeat
from focusd.service.jobs import Inbox
from focusd.service.monitor import Monitor
from focusd.service.neighbours import Neighbours
from focusd.service.pending import Due, Pending
from focusd.service.policy import Policy
from focusd.service.storewatch import StoreWatch
from focusd.service.surface import Place
from focusd.sources.scan import ScanSource

_log = structlog.get_logger(__name__)

RETRY_FRAME_AFTER_S = 5.0
"""Least pause after a scan that the microscope refused or broke off."""

_NO_MATTER_OF_FOCUS = frozenset({RefocusResult.NOT_FOCUS_RELATED, RefocusResult.BLIND})


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
        pending: Holds the wanted refocus until it may begin.
        neighbours: Others who scan on the same microscope.
        follower: Moves the lens to where focus is predicted.
        store_watch: Knows whether anything can be written down.
        board: Where the status is published.
        inbox: Where others leave jobs.
        heartbeat: Told of progress.
        clock: Monotonic seconds.
    """

    def __init__(  # noqa: PLR0913 - one keyword for each of those it works with
        self,
        config: Config,
        *,
        monitor: Monitor,
        source: ScanSource,
        desk: RefocusDesk,
        pending: Pending,
        neighbours: Neighbours,
        follower: Follower,
        store_watch: StoreWatch,
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
        self._policy = Policy(config, clock)
        self._pending = pending
        self._neighbours = neighbours
        self._follower = follower
        self._store_watch = store_watch
        self._next_frame_due = 0.0
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
                elif (due := self._pending.begin()) is not None:
                    await self._run(due, microscope)
                elif self._frame_is_due():
                    await self._take_due_frame(microscope)
                else:
                    await self.refresh(microscope)
            except StoreError as error:
                _log.warning("not_written_down", error=str(error))

    async def scan(self, microscope: Microscope) -> ScanAnswer:
        """Take and judge one frame now, and refocus if that is due.

        Raises:
            ScanRefusedError, ScanIncompleteError, LinkError, StoreError: no verdict was reached.
        """
        frame = await self._source.take(microscope)
        verdict = await self.judge(frame)
        self._follow(verdict, frame, is_own=True, is_awaited=self._source.interval_s is None)
        due = self._pending.begin()
        return ScanAnswer(verdict, await self._run(due, microscope) if due else None)

    async def observe(self, frame: Frame, *, is_awaited: bool) -> tuple[FrameVerdict, Due | None]:
        """Judge a frame that others took; give the verdict, and the refocus that is wanted after it.

        Args:
            frame: The frame.
            is_awaited: Whether somebody waits for the outcome before the next frame is taken.

        Raises:
            StoreError: the verdict could not be kept.
        """
        verdict = await self.judge(frame)
        due = self._follow(verdict, frame, is_own=False, is_awaited=is_awaited)
        if due is not None:
            self._inbox.wake()
        return verdict, due

    async def judge(self, frame: Frame) -> FrameVerdict:
        """Give the verdict on a frame, and publish it."""
        with self._heartbeat.promise("judging a frame"):
            verdict = await self._monitor.judge(frame)
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
        return verdict

    async def run_admitted(self, microscope: Microscope) -> RefocusRecord:
        """Carry out the refocus an operator asked for."""
        self._policy.forgive_attempts()
        self._pending.drop("an operator has asked for one")
        return await self._refocus(microscope, None)

    async def move(self, microscope: Microscope, working_distance_mm: float) -> float:
        """Set the working distance by an operator's word; give the readback in millimetres."""
        readback_mm = await microscope.set_working_distance(working_distance_mm)
        self._monitor.forget_suspicion()
        self._pending.drop("an operator has moved the lens")
        self._board.update(working_distance_setpoint_mm=working_distance_mm, last_verdict=None)
        await self.refresh(microscope)
        return readback_mm

    async def follow(self, microscope: Microscope, place: Place) -> Foreseen | None:
        """Bring the lens to the focus predicted for the next tile, if it may; give what is predicted.

        Returns:
            The prediction, and whether the lens was moved or why it was not; ``None`` if there is none.

        Raises:
            LinkError, StoreError: the connection is lost, or nothing can be written down.
        """
        foreseen = await self._follower.foresee(microscope, place)
        if foreseen is None or foreseen.reason:
            return foreseen
        if reason := self._why_no_move():
            return replace(foreseen, reason=reason)
        async with self._neighbours.turn("the lens follows the specimen"):
            followed = await self._follower.follow(microscope, foreseen)
        counters = self._board.current.counters
        self._board.update(
            working_distance_setpoint_mm=followed.working_distance_mm if followed.applied else None,
            counters=replace(counters, predicted_moves=counters.predicted_moves + followed.applied),
        )
        await self.refresh(microscope)
        return followed

    def lens_was_moved(self) -> None:
        """Start afresh where a neighbour has put the lens: that is no drift."""
        self._monitor.forget_suspicion()
        self._pending.drop("a client of the relay has moved the lens")
        self._board.update(working_distance_setpoint_mm=None, last_verdict=None)
        self._inbox.wake()

    def forgive(self) -> None:
        """Start afresh by an operator's word: failures and suspicion are forgotten."""
        self._policy.forgive()
        self._monitor.forget_suspicion()
        self._pending.drop("an operator has spoken")
        self._next_frame_due = self._clock()
        self._board.set_degraded(None)

    def block(self, reason: str) -> None:
        """Make no move until an operator says so: something must be looked at by hand first."""
        self._policy.block()
        self._pending.drop(reason)
        self._board.set_degraded(reason)

    async def refresh(self, microscope: Microscope) -> None:
        """Read the column, which is also the sign of life of an idle link."""
        started, mark = self._clock(), self._neighbours.mark()
        column = await microscope.get_state()
        self._neighbours.learn(column, mark)
        link = replace(self._board.current.link, round_trip_s=self._clock() - started)
        self._board.update(column=column, link=link)

    def _why_no_move(self) -> str:
        """Say why the lens must stay although it could be nearer to focus, ``""`` if it may move."""
        reasons = (
            (self.is_paused, "focusd is paused"),
            (self._store_watch.has_failed, "nothing can be written down"),
            (self._policy.has_given_up, "focus was looked for in vain"),
            (self._pending.leased_s > 0.0, "somebody scans"),
            (self._neighbours.is_scanning, "a client of the relay scans"),
            (self._desk.is_busy or self._pending.due is not None, "a refocus comes first"),
            (not self._pending.is_at_checkpoint, "acquisition has gone on"),
        )
        return next((reason for holds, reason in reasons if holds), "")

    def _idle_s(self) -> float:
        idle_s = self._config.microscope.timeouts.ping_interval_s
        leased_s = self._pending.leased_s
        if leased_s > 0.0:
            idle_s = min(idle_s, leased_s)
        elif self._source.interval_s is not None and not self.is_paused:
            idle_s = min(idle_s, max(0.0, self._next_frame_due - self._clock()))
        self._heartbeat.expect(idle_s)
        return idle_s

    def _frame_is_due(self) -> bool:
        if self.is_paused or self._source.interval_s is None or self._pending.leased_s > 0.0:
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

    def _follow(self, verdict: FrameVerdict, frame: Frame, *, is_own: bool, is_awaited: bool) -> Due | None:
        """Note what is wanted after a frame; give the refocus that is, if one is."""
        trigger = self._policy.wanted(verdict, frame, is_awaited=is_awaited)
        if verdict.verdict is Verdict.IN_FOCUS:
            self._pending.drop("a frame was in focus")
        # One that is queued or running has the same cause, or an operator's word, which comes first.
        if trigger is None or self.is_paused or self._desk.is_busy or self._store_watch.has_failed:
            return None
        if trigger is RefocusTrigger.FIRST_FRAME and not self._monitor.wants_focus:
            return None
        return self._pending.want(Due(trigger, verdict, frame, is_own))

    async def _run(self, due: Due, microscope: Microscope) -> RefocusRecord | None:
        """Carry out a refocus that was wanted."""
        record: RefocusRecord | None = None
        try:
            if not self._desk.is_busy:
                await self._desk.admit(due.trigger, due.verdict.frame_id)
                record = await self._refocus(microscope, due)
        finally:
            due.end(record)
        return record

    async def _refocus(self, microscope: Microscope, due: Due | None) -> RefocusRecord:
        """Run the admitted refocus, called for by a frame or by an operator."""
        first = due.frame if due is not None and due.is_own else None
        if self._neighbours.is_scanning:
            self._heartbeat.expect(self._config.relay.max_hold_s)
        try:
            async with self._neighbours.turn("focus is being mended"):
                stage_position = due.frame.stage_position if due is not None else None
                record = await self._desk.run(microscope, first, stage_position=stage_position)
        except TimeoutError:
            reason = "a scan of a client of the relay does not end"
            abandoned = await self._desk.abandon(reason, RefocusResult.CANCELLED)
            if abandoned is None:
                raise
            return abandoned
        self._note_result(record, due)
        await self._follower.note_refocus(record)
        self._board.update(
            baseline=self._monitor.baseline, working_distance_setpoint_mm=record.final_working_distance_mm
        )
        await self.refresh(microscope)
        return record

    def _note_result(self, record: RefocusRecord, due: Due | None) -> None:
        """Draw the consequences of a refocus for the next alarms."""
        frame, ratio = (due.frame, due.verdict.ratio) if due else (None, None)
        given_up = self._policy.note(record, frame, ratio)
        if given_up is not None:
            _log.error("refocus_given_up", refocus_id=record.refocus_id, reason=given_up)
            self._board.set_degraded(given_up)
        elif record.result is not None and record.result.is_success:
            self._board.set_degraded(None)
        elif due is not None and record.result in _NO_MATTER_OF_FOCUS:
            self._monitor.forget_suspicion()
            if due.is_own and record.result is RefocusResult.NOT_FOCUS_RELATED:
                self._monitor.vouch_for(due.verdict)
