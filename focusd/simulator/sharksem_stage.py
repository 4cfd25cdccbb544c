"""The stage's drive: a move takes time, and its position is read off twice a second meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from focusd.frame import StagePosition
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.pace import Pace
from focusd.simulator.sharksem_busy import STAGE, BusyConditions
from focusd.simulator.sharksem_scan import Spawn

AXES = 5
"""x, y, z in millimetres, then rotation and tilt in degrees."""

_SPEEDS = (2.0, 2.0, 0.5, 10.0, 3.0)
_START_STOP_S = 0.2
_UPDATE_S = 0.5


class StageDrive:
    """Moves the column's stage."""

    def __init__(self, column: SimulatedColumn, busy: BusyConditions, pace: Pace, spawn: Spawn) -> None:
        self._column = column
        self._busy = busy
        self._pace = pace
        self._spawn = spawn
        self._stopped: asyncio.Event | None = None

    @property
    def moving(self) -> bool:
        """Whether a move is under way."""
        return self._stopped is not None

    @property
    def position(self) -> tuple[float, ...]:
        """Where the stage stands, all axes."""
        return _axes(self._column.stage_position)

    @property
    def limits(self) -> tuple[tuple[float, float], ...]:
        """Lowest and highest position of every axis."""
        travel = self._column.options.stage_limits_mm
        return (travel, travel, travel, (-360.0, 360.0), (-60.0, 60.0))

    def move_to(self, *targets: float) -> None:
        """Start a move; axes left out stay, the travel is limited silently, a move under way goes on."""
        if self.moving:
            return
        start = self.position
        wanted = targets[:AXES] + start[len(targets[:AXES]) :]
        ends = tuple(min(max(end, low), high) for end, (low, high) in zip(wanted, self.limits, strict=True))
        self._stopped = asyncio.Event()
        self._busy.hold(STAGE)
        self._spawn(self._travel(start, ends, self._stopped))

    def stop(self) -> None:
        """End the move where it is."""
        if self._stopped is not None:
            self._stopped.set()

    async def _travel(
        self, start: tuple[float, ...], ends: tuple[float, ...], stopped: asyncio.Event
    ) -> None:
        travels = zip(start, ends, _SPEEDS, strict=True)
        duration_s = _START_STOP_S + max(abs(end - begin) / speed for begin, end, speed in travels)
        passed_s = 0.0
        try:
            while passed_s < duration_s and not stopped.is_set():
                step_s = min(_UPDATE_S, duration_s - passed_s)
                await self._pause(self._pace.real_s(step_s), stopped)
                if stopped.is_set():
                    break
                passed_s += step_s
                share = min(passed_s / duration_s, 1.0)
                self._column.move_stage(
                    *(begin + share * (end - begin) for begin, end in zip(start, ends, strict=True))
                )
        finally:
            self._stopped = None
            self._busy.release(STAGE)

    async def _pause(self, seconds: float, stopped: asyncio.Event) -> None:
        if seconds <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stopped.wait()


def _axes(position: StagePosition) -> tuple[float, ...]:
    values = (position.x_mm, position.y_mm, position.z_mm, position.rotation_deg, position.tilt_deg)
    return tuple(value or 0.0 for value in values)
