"""Memory that held frames goes back to the system when no frames come any more."""

from __future__ import annotations

import asyncio

from focusd.framepool import FramePool

IDLE_S = 60.0


async def give_memory_back(pool: FramePool, *, idle_s: float = IDLE_S) -> None:
    """Let go of memory for ever that was not used for ``idle_s``, or at most twice as long."""
    while True:
        await asyncio.sleep(idle_s)
        # The system takes milliseconds to take it.
        await asyncio.to_thread(pool.let_go)
