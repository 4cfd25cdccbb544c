"""The chamber camera: whole pictures of a test pattern, in a rhythm of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import numpy as np

from focusd.protocol.sharksem import Message, encode_message
from focusd.protocol.sharksem_body import encode_body
from focusd.simulator.sharksem_scan import Spawn

_WIDTH, _HEIGHT = 320, 240
_FRAME_RATE_LIMITS_HZ = (0.1, 25.0)


class ChamberCamera:
    """The camera as one session sees it; runs in real time.

    Args:
        send: Takes each picture's message.
        spawn: Starts a task.
    """

    def __init__(self, send: Callable[[bytes], Awaitable[None]], spawn: Spawn) -> None:
        self._send = send
        self._spawn = spawn
        self._stopped: asyncio.Event | None = None
        self.channel = 0
        self.zoom = 1.0
        self.rate_hz = 0.0

    @property
    def enabled(self) -> bool:
        """Whether pictures are sent."""
        return self._stopped is not None

    def enable(self, channel: int, zoom: float, rate_hz: float) -> None:
        """Send pictures from now on."""
        self.disable()
        low, high = _FRAME_RATE_LIMITS_HZ
        self.channel, self.zoom, self.rate_hz = channel, zoom, min(max(rate_hz, low), high)
        self._stopped = asyncio.Event()
        self._spawn(self._stream(channel, 1.0 / self.rate_hz, self._stopped))

    def disable(self) -> None:
        """Send no more pictures."""
        if self._stopped is not None:
            self._stopped.set()
            self._stopped = None

    async def _stream(self, channel: int, period_s: float, stopped: asyncio.Event) -> None:
        count = 0
        while not stopped.is_set():
            body = encode_body((channel, 8, _WIDTH, _HEIGHT, _pattern(count)))
            await self._send(encode_message(Message("CameraData", body)))
            count += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(period_s):
                    await stopped.wait()


def _pattern(count: int) -> bytes:
    """A ramp that moves one column a picture."""
    row = np.arange(count, count + _WIDTH, dtype=np.uint32).astype(np.uint8)
    return np.tile(row, _HEIGHT).tobytes()
