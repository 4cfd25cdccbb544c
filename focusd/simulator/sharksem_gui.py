"""The live window of the microscope's own program, which shares the scan generator with the clients."""

from __future__ import annotations

import asyncio

from focusd.simulator.pace import Pace
from focusd.simulator.sharksem_busy import SCAN, BusyConditions
from focusd.simulator.sharksem_scan import ScanEngine, Spawn

OFF, CONTINUAL, SINGLE = 0, 1, 2

_STOP_S = 0.3
_FRAME_S = 1.0


class LiveWindow:
    """Scans while no client does; ending takes a moment, and a client's scan waits for that."""

    def __init__(self, engine: ScanEngine, busy: BusyConditions, pace: Pace, spawn: Spawn) -> None:
        self._engine = engine
        self._busy = busy
        self._pace = pace
        self._spawn = spawn
        self._ended: asyncio.Event | None = None
        self._stopping = False

    @property
    def scanning(self) -> bool:
        """Whether it scans and has not been told to stop."""
        return self._ended is not None and not self._stopping

    def set(self, mode: int) -> None:
        """Start or stop; a start is ignored while a client scans."""
        if mode == OFF:
            self._stop()
        elif self._ended is None and not self._engine.active:
            self._ended = asyncio.Event()
            self._busy.hold(SCAN)
            if mode == SINGLE:
                self._spawn(self._end_after(_FRAME_S, self._ended))

    async def stopped(self) -> None:
        """Wait for the end of a scan that was told to stop."""
        while self._stopping and self._ended is not None:
            await self._ended.wait()

    def _stop(self) -> None:
        if self._ended is not None and not self._stopping:
            self._stopping = True
            self._spawn(self._end_after(_STOP_S, self._ended))

    async def _end_after(self, simulated_s: float, ended: asyncio.Event) -> None:
        await asyncio.sleep(self._pace.real_s(simulated_s))
        if ended.is_set():
            return
        ended.set()
        self._ended = None
        self._stopping = False
        self._busy.release(SCAN)
