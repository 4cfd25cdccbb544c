"""What is too much goes bit by bit, while focusd has nothing better to do."""

from __future__ import annotations

import asyncio

import structlog

from focusd.errors import StoreError
from focusd.store.database import Store

_log = structlog.get_logger(__name__)

ROUND_S = 60.0
STEP_PAUSE_S = 0.1
"""Between two steps, so that others get their turn with the store, whose thread is little busy so."""


async def keep_house(store: Store, *, round_s: float = ROUND_S, step_pause_s: float = STEP_PAUSE_S) -> None:
    """Trim the store for ever; what fails is tried again in the next round."""
    has_failed = False
    while True:
        try:
            pause_s = step_pause_s if await store.frames.trim() else round_s
            has_failed = False
        except StoreError as error:
            if not has_failed:
                _log.warning("housekeeping_failed", error=str(error))
            has_failed, pause_s = True, round_s
        await asyncio.sleep(pause_s)
