"""The scan generator: one scan at a time, sent piece by piece as the beam goes.

Rules kept here, because published clients rely on them:

1. A piece covers at most 50 ms of beam time and, except at the end of a frame, a multiple of 4 bytes.
2. Nothing is sent twice, no piece crosses the end of a frame, and every channel of a frame is sent before
   any of the next one. A continual scan starts again at index 0 with the same frame id.
3. After a stop at most the piece under way is finished.

Images are rendered in a worker thread. A stop does not cancel the scan's task, which may be in the middle
of a message: the task looks at its own stop event after every wait.

Source: TESCAN, SharkSEM Remote Control manual 2.0.25, chapter on image transfer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from focusd.protocol.sharksem_image import ScanPiece
from focusd.simulator.faults import Faults
from focusd.simulator.pace import Pace
from focusd.simulator.sharksem_busy import SCAN, BusyConditions

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]

PIECE_S = 0.05

_MAX_PIECE_PX = 1 << 20
_PIECE_PX_MULTIPLE = 4
_EMPTY_FRAME_S = 0.01


@dataclass(frozen=True, slots=True)
class ScanChannel:
    """A channel that a scan sends."""

    number: int
    bits_per_pixel: int
    expose: Callable[[], Callable[[], bytes]]
    """Begins a frame, in the loop; what it gives back renders the pixels as they travel, in a thread."""


@dataclass(frozen=True, slots=True)
class ScanOrder:
    """A scan that was asked for; ``frames`` 0 goes on until it is stopped."""

    owner: object
    frame_id: int
    pixels: int
    dwell_s: float
    frames: int
    channels: tuple[ScanChannel, ...]
    send: Callable[[bytes], Awaitable[None]]

    @property
    def piece_px(self) -> int:
        """Pixels of one piece."""
        most = min(int(PIECE_S / self.dwell_s), _MAX_PIECE_PX)
        return max(most // _PIECE_PX_MULTIPLE, 1) * _PIECE_PX_MULTIPLE


@dataclass(eq=False, slots=True)
class _Run:
    order: ScanOrder
    stopped: asyncio.Event = field(default_factory=asyncio.Event)


class ScanEngine:
    """Runs scans.

    Args:
        busy: Where condition A is raised while the beam scans.
        pace: How fast time runs.
        faults: Which pieces get lost.
        worker: Renders.
        spawn: Starts a task.
    """

    def __init__(
        self, busy: BusyConditions, pace: Pace, faults: Faults, worker: Executor, spawn: Spawn
    ) -> None:
        self._busy = busy
        self._pace = pace
        self._faults = faults
        self._worker = worker
        self._spawn = spawn
        self._current: _Run | None = None

    @property
    def active(self) -> bool:
        """Whether a scan runs."""
        return self._current is not None

    def active_for(self, owner: object) -> bool:
        """Whether the scan that runs is this owner's."""
        return self._current is not None and self._current.order.owner is owner

    def start(self, order: ScanOrder) -> bool:
        """Start a scan; ``False`` when one runs."""
        if self.active:
            return False
        run = _Run(order)
        self._current = run
        self._busy.hold(SCAN)
        self._spawn(self._scan(run))
        return True

    def stop(self, owner: object | None = None) -> None:
        """Stop the scan, or only that of ``owner``; the scan generator is free at once."""
        run = self._current
        if run is not None and owner in (None, run.order.owner):
            self._finish(run)

    def _finish(self, run: _Run) -> None:
        run.stopped.set()
        if self._current is run:
            self._current = None
            self._busy.release(SCAN)

    async def _scan(self, run: _Run) -> None:
        order = run.order
        frame_s = self._pace.real_s(order.pixels * order.dwell_s)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        done = 0
        try:
            while not run.stopped.is_set() and (order.frames == 0 or done < order.frames):
                await self._frame(run, begin)
                done += 1
                # A client that lets the scan wait does not get the time back in a burst of frames.
                begin = max(begin + frame_s, loop.time() - frame_s)
        finally:
            self._finish(run)

    async def _frame(self, run: _Run, begin: float) -> None:
        order = run.order
        images = await self._rendered(order)
        for start in range(0, order.pixels, order.piece_px):
            end = min(start + order.piece_px, order.pixels)
            await self._wait_until(begin + self._pace.real_s(end * order.dwell_s), run)
            for channel, pixels in images:
                if run.stopped.is_set():
                    return
                await self._send(
                    order,
                    channel,
                    start,
                    pixels[start * channel.bits_per_pixel // 8 : end * channel.bits_per_pixel // 8],
                )
        if not images:
            await asyncio.sleep(_EMPTY_FRAME_S)

    async def _rendered(self, order: ScanOrder) -> list[tuple[ScanChannel, bytes]]:
        loop = asyncio.get_running_loop()
        jobs = [(channel, channel.expose()) for channel in order.channels]
        return [(channel, await loop.run_in_executor(self._worker, render)) for channel, render in jobs]

    async def _send(self, order: ScanOrder, channel: ScanChannel, index: int, pixels: bytes) -> None:
        if self._faults.lost_pieces > 0:
            self._faults.lost_pieces -= 1
            return
        piece = ScanPiece(order.frame_id, channel.number, index, channel.bits_per_pixel, pixels)
        await order.send(piece.encode())

    async def _wait_until(self, due: float, run: _Run) -> None:
        delay_s = due - asyncio.get_running_loop().time()
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await run.stopped.wait()
