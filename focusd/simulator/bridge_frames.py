"""The owner's images on their way to one client: one who reads too slowly misses the oldest."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from focusd.protocol.bridge_values import Json

FRAMES_KEPT = 2
"""Images that wait for one client."""


class PushedFrames:
    """Images that wait to be told.

    Attributes:
        dropped: Never told, because newer ones came.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._waiting: deque[tuple[Json, bytes]] = deque(maxlen=FRAMES_KEPT)
        self._arrived = asyncio.Event()

    def put(self, frame: Json, pixels: bytes) -> None:
        """Let an image wait, whoever is in its way."""
        self.dropped += len(self._waiting) == FRAMES_KEPT
        self._waiting.append((frame, pixels))
        self._arrived.set()

    async def push(self, tell: Callable[[Json, bytes], Awaitable[None]]) -> None:
        """Tell one after the other, for ever."""
        while True:
            await self._arrived.wait()
            while self._waiting:
                await tell(*self._waiting.popleft())
            self._arrived.clear()
