"""The owner of a simulated microscope with a bridge: takes tile after tile, and knows nothing of focusd."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from focusd.frame import ScanRequest
from focusd.simulator.bridge_instrument import RefusedError
from focusd.simulator.bridge_server import BridgeServer

_log = structlog.get_logger()

BUSY_PAUSE_S = 0.05
"""Before the owner tries again to take a tile while the instrument works for a client, in real seconds."""


@dataclass(frozen=True, slots=True)
class OwnersHabits:
    """What the owner does.

    ``interval_s`` is real time from the beginning of one tile to that of the next, ``step_mm`` the way of the
    stage along x between them.
    """

    request: ScanRequest
    interval_s: float
    step_mm: float = 0.0


async def acquire_tiles(server: BridgeServer, habits: OwnersHabits, tiles: int | None = None) -> None:
    """Take so many tiles, or for ever; clients that subscribed are told of each.

    A tile that the instrument refuses, because it works for a client or the beam is off, is tried again.
    """
    loop = asyncio.get_running_loop()
    taken, is_refused = 0, False
    while tiles is None or taken < tiles:
        due_at = loop.time() + habits.interval_s
        try:
            await server.acquire(habits.request)
        except RefusedError as error:
            if not is_refused:
                _log.info("owner_waits", reason=error.message)
            is_refused = True
            await asyncio.sleep(BUSY_PAUSE_S)
            continue
        taken, is_refused = taken + 1, False
        await asyncio.sleep(due_at - loop.time())
        _step(server, habits.step_mm)


def _step(server: BridgeServer, step_mm: float) -> None:
    """Go on to the next tile; at the end of the way the row begins again."""
    if not step_mm:
        return
    low_mm, high_mm = server.column.options.stage_limits_mm
    x_mm = (server.column.stage_position.x_mm or 0.0) + step_mm
    server.column.move_stage(x_mm=x_mm if low_mm <= x_mm <= high_mm else low_mm)
