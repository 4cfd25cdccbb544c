"""One soak run: frame after frame, fault after fault, and a check after each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from focusd.errors import LinkError, MicroscopeError, ServiceError
from focusd.records import RefocusRecord, RefocusResult
from focusd.service.keeper import ScanAnswer
from focusd.service.status import LinkStatus
from focusd.simulator.sharksem_busy import OPTICS, SCAN
from tests.benchmarks.soak_log import SoakLog, usage
from tests.benchmarks.soak_rig import DEPTH_UM, LIMITS_MM, Rig, soak_rig
from tests.benchmarks.soak_weather import DAY_S, Event, Trouble, changes_of_specimen, faults
from tests.fault_proxy import Fault

HANG_S = 60.0
"""Real time after which something that was asked of focusd counts as never answered."""
BUSY_S = 0.05
SCANS_BEFORE = 2
"""So many scans of a refocus pass before a fault comes into it."""
USAGES = 200
TAKES = 4
"""So often is a tile taken at most."""
_POLL_S = 0.002
_ROUNDING_MM = 1e-6


class StoppedError(Exception):
    """focusd has ended, or does not answer."""


@dataclass(slots=True)
class Soak:
    """A run and what it has come to.

    Args:
        rig: Microscope, network and service.
        days: Simulated time.
        frames: Tiles taken in that time.
        events: Faults to come.
        changes: Specimens to come.
    """

    rig: Rig
    days: float
    frames: int
    events: deque[Event]
    changes: deque[tuple[float, str]]
    log: SoakLog = field(default_factory=SoakLog)
    _outage_ends_s: float | None = None
    _is_after_outage: bool = False
    _seen_refocus: int | None = None
    _reconnects: int = 0
    _stood_mm: float | None = None
    _owed_mm: list[float] = field(default_factory=list)
    _is_refused: bool = False

    async def run(self) -> None:
        """Take all tiles, or as many as there are before focusd ends."""
        step_s = self.days * DAY_S / self.frames
        try:
            await self._until_connected()
            for index in range(self.frames):
                self.rig.clock.now_s = index * step_s
                self.rig.next_tile()
                await self._weather()
                await self._tile()
                if index % max(1, self.frames // USAGES) == 0 and self._outage_ends_s is None:
                    self.log.usages.append(usage(index))
        except (StoppedError, TimeoutError) as error:
            self.log.restarts += 1
            self.log.broken.append(f"day {self._day:.3f}: {type(error).__name__}: {error}")
        self.log.simulated_s = self.rig.clock.now_s

    @property
    def _day(self) -> float:
        return self.rig.clock.now_s / DAY_S

    # --- frames ---

    async def _tile(self) -> None:
        """Take a tile, again after a refocus that succeeded, as acquisition does."""
        for _ in range(TAKES):
            answer = await self._take()
            if answer is None or answer.refocus is None or answer.refocus.result is None:
                return
            if not answer.refocus.result.is_success:
                return

    async def _take(self) -> ScanAnswer | None:
        rig = self.rig
        rig.column.scans.clear()
        answer = await self._ask_scan()
        if answer is None:
            self.log.lost_frames += 1
        else:
            result = answer.refocus.result if answer.refocus else None
            self.log.frames.add(
                rig.clock.now_s,
                rig.column.scans[0].defocus_um / DEPTH_UM,
                answer.verdict,
                is_after_outage=self._is_after_outage,
                is_kept=result is None or not result.is_success,
            )
            self._is_after_outage = False
        self._check()
        return answer

    async def _ask_scan(self) -> ScanAnswer | None:
        self._refuse_to_go_on_alone()
        try:
            async with asyncio.timeout(HANG_S):
                return await self.rig.supervisor.scan()
        except (MicroscopeError, ServiceError) as error:
            if isinstance(error, LinkError):
                await self._until_lost()
            return None

    def _check(self) -> None:
        """Hold what has been done to the promises."""
        rig, log = self.rig, self.log
        low_mm, high_mm = LIMITS_MM
        for move in rig.column.moves:
            if not low_mm - _ROUNDING_MM <= move.requested_mm <= high_mm + _ROUNDING_MM:
                log.outside_limits += 1
                log.broken.append(f"day {self._day:.3f}: the lens was sent to {move.requested_mm} mm")
        log.moves += len(rig.column.moves)
        log.scans = rig.column.scan_count
        rig.column.moves.clear()
        if not rig.supervisor.is_alive:
            log.overdue += 1
        if not rig.supervisor.status.link.connected:
            return
        record = rig.supervisor.status.last_refocus
        if record is not None and record.result is not None and record.refocus_id != self._seen_refocus:
            self._note(record)

    def _note(self, record: RefocusRecord) -> None:
        self._seen_refocus = record.refocus_id
        if record.result is not None and record.result.is_success:
            self._owed_mm.clear()
        elif record.result is RefocusResult.WD_NOT_SETTABLE and record.start_working_distance_mm is not None:
            # focusd puts the lens back there at the next connect.
            self._owed_mm.append(record.start_working_distance_mm)
        self.log.note_refocus(
            record,
            self.rig.clock.now_s,
            lens_mm=self.rig.column.working_distance_mm,
            defocus_depths=self.rig.defocus_depths,
        )

    def _refuse_to_go_on_alone(self) -> None:
        if self.rig.owner.done():
            error = None if self.rig.owner.cancelled() else self.rig.owner.exception()
            raise StoppedError(f"focusd ended: {error!r}")

    # --- what happens ---

    async def _weather(self) -> None:
        now_s = self.rig.clock.now_s
        while self.changes and self.changes[0][0] <= now_s:
            self.rig.change_specimen(self.changes.popleft()[1])
            self.log.mark("another specimen", now_s)
        if self._outage_ends_s is not None and self._outage_ends_s <= now_s:
            self._outage_ends_s = None
            self._is_after_outage = True
            await self._mend()
        if self._outage_ends_s is None and self.events and self.events[0].at_s <= now_s:
            await self._strike(self.events.popleft())

    async def _strike(self, event: Event) -> None:
        """Let a fault come; all but an outage are over when they have been felt once."""
        self.log.troubles[event.trouble.value] += 1
        self.log.mark("fault", self.rig.clock.now_s)
        self._stood_mm = self.rig.column.working_distance_mm
        if event.trouble.is_in_refocus:
            await self._refocus_under(event)
        else:
            self._begin(event)
            await self._take()
        if event.trouble.is_outage:
            self._outage_ends_s = self.rig.clock.now_s + event.lasts_s
        else:
            await self._mend()

    def _begin(self, event: Event) -> None:
        rig = self.rig
        match event.trouble:
            case Trouble.OUTAGE | Trouble.OUTAGE_IN_REFOCUS:
                rig.proxy.fault = Fault(is_refusing=True)
                rig.proxy.reset_all()
            case Trouble.RESET | Trouble.RESET_IN_REFOCUS:
                rig.proxy.fault = Fault(reset_at=event.at_byte)
            case Trouble.SILENT:
                rig.proxy.fault = Fault(is_silent=True)
            case Trouble.REFUSED:
                rig.server.instrument.busy.hold(SCAN)
            case Trouble.BUSY:
                rig.server.instrument.busy.raise_for(OPTICS, BUSY_S)
            case Trouble.STUCK:
                rig.server.faults.stuck_working_distance = True
        self._is_refused = event.trouble is Trouble.REFUSED

    async def _refocus_under(self, event: Event) -> None:
        """Have an operator ask for a refocus, and let the fault come into the middle of it."""
        supervisor = self.rig.supervisor
        self._stood_mm = None
        try:
            refocus_id = (await supervisor.start_refocus()).refocus_id
        except ServiceError as error:
            self.log.broken.append(f"day {self._day:.3f}: an operator's refocus was refused: {error}")
            return
        async with asyncio.timeout(HANG_S):
            while (running := supervisor.status.current_refocus) is not None and len(
                running.scans
            ) < SCANS_BEFORE:
                await asyncio.sleep(_POLL_S)
            self._begin(event)
            record = await supervisor.wait_for_refocus(refocus_id)
        if record.result is RefocusResult.LINK_LOST:
            await self._until_lost()
        elif event.trouble.is_outage:
            # It had ended before: the next frame feels it.
            await self._take()

    async def _mend(self) -> None:
        """End what is wrong, and see how focusd comes back."""
        rig = self.rig
        if self._is_refused:
            rig.server.instrument.busy.release(SCAN)
            self._is_refused = False
        rig.proxy.fault = Fault()
        rig.server.faults.stuck_working_distance = False
        await self._until_connected()
        record = rig.supervisor.status.last_refocus
        is_undisturbed = record is None or record.refocus_id == self._seen_refocus
        lens_mm = rig.column.working_distance_mm
        allowed_mm = [*self._owed_mm, self._stood_mm] if self._stood_mm is not None else []
        is_there = any(abs(lens_mm - one) <= _ROUNDING_MM for one in allowed_mm)
        if allowed_mm and is_undisturbed and not is_there:
            self.log.astray += 1
            self.log.broken.append(
                f"day {self._day:.3f}: the lens stood at {self._stood_mm:.6f} mm before a fault, "
                f"and at {lens_mm:.6f} mm after it"
            )
        self._check()

    async def _until_lost(self) -> None:
        """Wait until focusd has noticed that the link is lost."""
        self.log.outages += 1
        await self._until(lambda link: link.reconnects > self._reconnects)
        self._reconnects = self.rig.supervisor.status.link.reconnects

    async def _until_connected(self) -> None:
        await self._until(lambda link: link.connected)
        self.log.survived = self.log.outages

    async def _until(self, condition: Callable[[LinkStatus], bool]) -> None:
        async with asyncio.timeout(HANG_S):
            while not condition(self.rig.supervisor.status.link):
                self._refuse_to_go_on_alone()
                await asyncio.sleep(_POLL_S)


async def soak(*, days: float, frames: int, fault_count: int, seed: int, folder: Path) -> SoakLog:
    """Run focusd for so long, and give what was noted."""
    random = np.random.default_rng(seed)
    duration_s = days * DAY_S
    changes = changes_of_specimen(duration_s, random)
    events = faults(duration_s, fault_count, random)
    async with soak_rig(folder, [texture for _, texture in changes], random) as rig:
        run = Soak(rig, days, frames, deque(events), deque(changes[1:]))
        await run.run()
    return run.log
