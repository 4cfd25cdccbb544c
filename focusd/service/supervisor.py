"""The daemon's life with a microscope: connect, settle what is open, keep focus, connect again.

Also the few verbs that the HTTP endpoint may call. They never touch the link: they leave a job in the
inbox of the task that owns it, or read the status board.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import structlog

from focusd import __version__
from focusd.config import Config
from focusd.errors import LinkError, MicroscopeError, NotFoundError, PausedError, WorkingDistanceLimitError
from focusd.frame import Frame
from focusd.microscope.interface import Microscope
from focusd.microscope.reconnect import backoff
from focusd.records import Baseline, FrameVerdict, RefocusRecord, RefocusResult, RefocusTrigger
from focusd.service.attended import attended
from focusd.service.board import StatusBoard
from focusd.service.desk import RefocusDesk
from focusd.service.following import Follower
from focusd.service.heartbeat import Heartbeat
from focusd.service.jobs import Inbox
from focusd.service.keeper import Keeper, ScanAnswer
from focusd.service.leases import Leases
from focusd.service.linkwatch import LinkWatch
from focusd.service.looplag import LagSummary
from focusd.service.monitor import Monitor
from focusd.service.neighbours import Neighbours, Nobody
from focusd.service.pending import Due, Pending, WaitsFor
from focusd.service.recovery import settle_open_entries
from focusd.service.relaying import RelayClients
from focusd.service.status import DaemonState, LinkStatus, Status
from focusd.service.storewatch import StoreWatch
from focusd.service.surface import Surfaces
from focusd.service.turns import Turns
from focusd.sources.scan import ScanSource
from focusd.store.database import Store

_log = structlog.get_logger(__name__)

PAUSED_SETTING = "paused"
STEADY_S = 5.0
"""A link that is lost sooner has not come back: the pauses before it is tried again go on growing."""


class Supervisor:
    """Owns the microscope for as long as the daemon runs.

    Args:
        config: The whole configuration.
        store: What is remembered.
        connect: Opens a connection to the microscope.
        heartbeat: Told of progress, for the watchdog.
        clock: Monotonic seconds, by which frames fall due and cool-downs pass.
        wall_clock: Seconds since 1970, by which focus drifts.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        connect: Callable[[], AbstractAsyncContextManager[Microscope]],
        heartbeat: Heartbeat,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self.store = store
        self._connect = connect
        self._heartbeat = heartbeat
        self._clock = clock
        self._loop_lag: LagSummary | None = None
        self._inbox = Inbox()
        self._monitor = Monitor(store, config.drift, config.baseline, refocus_metric=config.refocus.metric)
        source = ScanSource(config.scan, takes_frames=config.frames.source == "scan")
        self.board = initial_board(config)
        self._link = LinkWatch(self.board)
        self.store_watch = StoreWatch(store, self.board)
        self.surfaces = Surfaces(config, store, wall_clock=wall_clock)
        self._desk = RefocusDesk(
            config, store, monitor=self._monitor, source=source, board=self.board, surfaces=self.surfaces
        )
        self._leases = Leases(clock)
        relays = config.frames.source == "relay"
        self._relay = RelayClients(config.relay, config.microscope) if relays else None
        self._neighbours: Neighbours = self._relay or Nobody()
        self._pending = Pending(
            self._leases, self._neighbours, at_checkpoints=config.refocus.mode == "checkpoint"
        )
        self._keeper = Keeper(
            config,
            monitor=self._monitor,
            source=source,
            desk=self._desk,
            pending=self._pending,
            neighbours=self._neighbours,
            follower=Follower(config, store, self.surfaces),
            store_watch=self.store_watch,
            board=self.board,
            inbox=self._inbox,
            heartbeat=heartbeat,
            clock=clock,
        )
        self.turns = Turns(
            leases=self._leases,
            neighbours=self._neighbours,
            pending=self._pending,
            desk=self._desk,
            inbox=self._inbox,
            store=store,
            follow=self._keeper.follow,
        )

    # --- life ---

    @asynccontextmanager
    async def sources(self) -> AsyncIterator[None]:
        """Take in the frames of others for the length of an ``async with`` block.

        Raises:
            OSError: the relay's address cannot be listened on.
        """
        if self._relay is None:
            yield
            return
        async with self._relay.listening(), asyncio.TaskGroup() as group:
            judge = group.create_task(self._relay.serve(self), name="judge of relayed frames")
            try:
                yield
            finally:
                judge.cancel()

    async def run(self) -> None:
        """Connect and keep focus for ever; a lost link is made again with growing pauses."""
        await self.store_watch.insist(self._recall, self._heartbeat)
        try:
            await self._keep_connected()
        finally:
            self._link.stopped()

    async def _keep_connected(self) -> None:
        delays: Iterator[float] = self._delays()
        while True:
            up_at = math.inf
            try:
                timeouts = self._config.microscope.timeouts
                async with attended(self._connect(), self._heartbeat, timeouts) as microscope:
                    microscope.on_lost(self._inbox.wake)
                    await self.store_watch.insist(lambda: self._settle(microscope), self._heartbeat)
                    await self._keeper.refresh(microscope)
                    self._link.up(microscope)
                    microscope.on_overdue(self._link.overdue)
                    self._inbox.open()
                    up_at = self._clock()
                    await self._keeper.serve(microscope)
            except LinkError as error:
                await self._link_down(error)
            if self._clock() - up_at >= STEADY_S:
                delays = self._delays()
            delay_s = next(delays)
            self._heartbeat.expect(delay_s)
            await asyncio.sleep(delay_s)

    async def _recall(self) -> None:
        """Take up what the last run of the daemon left in the store."""
        await self.store.refocuses.close_interrupted(
            RefocusResult.LINK_LOST, "focusd ended in the middle of it"
        )
        paused = await self.store.settings.get(PAUSED_SETTING)
        if isinstance(paused, str):
            self._keeper.is_paused = True
            self.board.set_paused(paused)

    def _delays(self) -> Iterator[float]:
        return backoff(cap_s=self._config.microscope.timeouts.reconnect_max_s)

    async def _settle(self, microscope: Microscope) -> None:
        tolerance_mm = self._config.microscope.working_distance_tolerance_um / 1000
        try:
            await settle_open_entries(self.store, microscope, tolerance_mm=tolerance_mm)
        except LinkError:
            raise
        except MicroscopeError as error:
            _log.error("restore_point_not_settled", error=str(error))
            self._keeper.block(f"the working distance could not be put back: {error}")
        damaged = [problem.message for problem in self.store.problems if problem.source == "journal"]
        if damaged:
            self._keeper.block(f"check the working distance by hand: {damaged[0]}")

    async def _link_down(self, error: LinkError) -> None:
        self._inbox.close(str(error))
        self._pending.drop(str(error))
        await self._desk.abandon(str(error))
        self._link.down(error)

    # --- what the relay tells ---

    async def observe_relayed(self, frame: Frame) -> tuple[FrameVerdict, Due | None]:
        """Judge a client's frame; give the refocus that is to come before the clients' next scan."""
        verdict, due = await self._keeper.observe(frame, is_awaited=True)
        if self._pending.waits_for in {WaitsFor.SCAN_LEASE, WaitsFor.CHECKPOINT}:
            return verdict, None
        return verdict, due

    def lens_was_moved(self) -> None:
        """A client has moved the lens by its own will."""
        self._keeper.lens_was_moved()

    def clients_wait_no_longer(self) -> None:
        """A client's scan will soon be let through, whatever focusd is at."""
        self._pending.drop("a client's scan could be held no longer")
        self._desk.cancel_any("a client's scan could be held no longer")

    def wake(self) -> None:
        """Something has changed that may be waited for."""
        self._inbox.wake()

    # --- verbs for the control endpoint ---

    @property
    def status(self) -> Status:
        """The present snapshot."""
        current = self.board.current
        return replace(
            current,
            pending_refocus=None if current.current_refocus else self._pending.shown,
            scan_leases=self._leases.current,
            relay=self._neighbours.status,
            event_loop_lag_ms=self._loop_lag,
        )

    def note_loop_lag(self, summary: LagSummary) -> None:
        """Take over how late the event loop has been; for the status."""
        self._loop_lag = summary

    @property
    def is_alive(self) -> bool:
        """Whether the owner of the microscope was heard of when it promised to be."""
        return self._heartbeat.is_alive

    async def scan(self) -> ScanAnswer:
        """Take and judge one frame now, and refocus if that is due.

        Raises:
            PausedError, NotConnectedError: no frame is taken.
            MicroscopeError: the frame was lost.
        """
        self._refuse_while_paused()
        self.turns.refuse_while_leased("a scan")
        self.turns.refuse_while_clients_scan("a scan")
        return await self._inbox.put("the scan", self._keeper.scan)

    async def judge(self, frame: Frame, *, is_awaited: bool = False) -> tuple[FrameVerdict, Due | None]:
        """Judge a frame that others took; give the verdict, and the refocus that is wanted after it.

        Args:
            frame: The frame.
            is_awaited: Whether the other side takes no frame before ``wait_for_due`` has ended.

        Raises:
            StoreError: the verdict could not be kept.
        """
        return await self._keeper.observe(frame, is_awaited=is_awaited)

    async def wait_for_due(self, due: Due, *, timeout_s: float) -> RefocusRecord | None:
        """Wait for a refocus that is wanted, as ``Turns.wait_for`` does."""
        return await self.turns.wait_for(due, timeout_s=timeout_s)

    async def start_refocus(self, *, keep_spectra: bool | None = None) -> RefocusRecord:
        """Queue a refocus and give its record.

        Args:
            keep_spectra: Whether the spectra of its scans are kept; as configured unless given.

        Raises:
            PausedError, NotConnectedError: nothing is moved.
            BusyError: one is queued or running; its id is in the error.
        """
        self._refuse_while_paused()
        self.turns.refuse_while_leased("a refocus")
        self._inbox.refuse_while_closed()
        record = await self._desk.admit(RefocusTrigger.REQUEST, keep_spectra=keep_spectra)
        try:
            self._inbox.put("the refocus", self._keeper.run_admitted)
        except BaseException as error:
            await self._desk.abandon(str(error))
            raise
        return record

    async def wait_for_refocus(self, refocus_id: int, *, timeout_s: float | None = None) -> RefocusRecord:
        """Wait for a refocus to end, at most ``timeout_s``; give its record as it stands then.

        Raises:
            NotFoundError: there is no such refocus.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._desk.wait(refocus_id)
        except TimeoutError:
            return await self._desk.get(refocus_id)

    async def get_refocus(self, refocus_id: int) -> RefocusRecord:
        """Give the record of a refocus as it stands now; ``NotFoundError`` if there is none."""
        return await self._desk.get(refocus_id)

    def cancel_refocus(self, refocus_id: int, *, reason: str = "cancelled on request") -> None:
        """End a refocus within one scan; ``NotFoundError`` if it is not queued or running."""
        self._desk.cancel(refocus_id, reason)

    async def pause(self, reason: str) -> None:
        """Take the hands off: no scan and no move until ``resume``. A running refocus is ended."""
        self._keeper.is_paused = True
        self._pending.drop("paused")
        self._desk.cancel_any("paused")
        self.board.set_paused(reason)
        # Last: hands are taken off also when that cannot be written down.
        await self.store.settings.put(PAUSED_SETTING, reason)

    async def resume(self) -> None:
        """Go on after a pause, or after giving up."""
        await self.store.settings.put(PAUSED_SETTING, None)
        self._keeper.is_paused = False
        self._keeper.forgive()
        self.board.set_paused(None)
        self._inbox.wake()

    async def set_working_distance(self, working_distance_mm: float) -> float:
        """Move the lens by an operator's word; give the readback in millimetres.

        Raises:
            WorkingDistanceLimitError: outside the limits; nothing was sent.
            BusyError, NotConnectedError, MicroscopeError: as named.
        """
        low_mm, high_mm = self.status.limits_mm
        if not low_mm <= working_distance_mm <= high_mm:
            raise WorkingDistanceLimitError(working_distance_mm, low_mm, high_mm)
        self._desk.refuse_while_busy("moving the lens")
        self.turns.refuse_while_leased("moving the lens")
        self.turns.refuse_while_clients_scan("moving the lens")
        readback_mm = await self._inbox.put(
            "the move", lambda microscope: self._keeper.move(microscope, working_distance_mm)
        )
        await self.store_watch.try_to(self.store.journal.supersede())
        return readback_mm

    async def capture_baseline(self) -> Baseline:
        """Make the last judgeable frame the baseline of its imaging condition.

        Raises:
            NotFoundError: no judgeable frame has been seen since the daemon started.
        """
        baseline = await self._monitor.capture()
        if baseline is None:
            raise NotFoundError("no judgeable frame has been seen since focusd started")
        self.board.update(baseline=self._monitor.baseline)
        return baseline

    async def put_baseline(self, baseline: Baseline) -> None:
        """Set a baseline by an operator's word."""
        await self._monitor.put(baseline)
        self.board.update(baseline=self._monitor.baseline)

    async def delete_baseline(self, condition: str) -> None:
        """Forget a baseline; ``NotFoundError`` if there is none."""
        if not await self._monitor.delete(condition):
            raise NotFoundError(f"there is no baseline {condition}")
        self.board.update(baseline=self._monitor.baseline)

    def _refuse_while_paused(self) -> None:
        if self._keeper.is_paused:
            raise PausedError(f"focusd is paused: {self.status.reason or 'no reason given'}")


def initial_board(config: Config) -> StatusBoard:
    """Make the board of a daemon that has not connected yet."""
    now = time.time()
    address = f"{config.microscope.host}:{config.microscope.port}"
    return StatusBoard(
        Status(
            state=DaemonState.DISCONNECTED,
            version=__version__,
            started_at=now,
            updated_at=now,
            link=LinkStatus(connected=False, address=address, since=now),
            limits_mm=config.microscope.limits.working_distance_mm,
            reason="not connected yet",
        )
    )
