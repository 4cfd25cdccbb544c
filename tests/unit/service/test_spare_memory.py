"""Memory of frames goes back when it is not used."""

from __future__ import annotations

import asyncio

from focusd.framepool import SMALLEST_BYTES, FramePool
from focusd.service.spare_memory import give_memory_back


async def test_unused_memory_goes_back() -> None:
    """What nobody holds is let go after a while; what somebody holds stays known."""
    pool = FramePool()
    held = pool.take(SMALLEST_BYTES)
    pool.take(4 * SMALLEST_BYTES)
    giving = asyncio.create_task(give_memory_back(pool, idle_s=0.01))

    async with asyncio.timeout(10):
        while pool.kept_bytes > held.size:
            await asyncio.sleep(0.005)
    giving.cancel()
    await asyncio.wait([giving])

    assert pool.kept_bytes == held.size
