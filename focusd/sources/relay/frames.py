"""Clients' frames on their way to whoever judges them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from focusd.frame import Frame
from focusd.protocol.sharksem_fold import FoldedFrame, ScanFolder
from focusd.protocol.sharksem_image import ScanDataStream
from focusd.protocol.sharksem_orders import ScanOrder
from focusd.sources.relay.column import ColumnKnowledge
from focusd.sources.relay.data import BUFFER_BYTES
from focusd.sources.relay.guard import Guard
from focusd.sources.relay.watch import SessionWatch

AT_ONCE_BYTES = BUFFER_BYTES
"""Frames that come in one piece are all taken, however small they are."""


@dataclass(frozen=True, slots=True, eq=False)
class RelayedFrame:
    """A frame that a client took.

    Its working distance and conditions are what could be overheard, ``None`` where nothing was. It is
    dated by its last piece.
    """

    frame: Frame
    session: int
    channel: int
    order: ScanOrder


class FrameQueue:
    """Frames waiting to be judged; only when they are far too many the oldest goes.

    Args:
        depth: With so many it is full, and should be given no more; of small frames, which come several at
            once, it takes those that came all the same.
    """

    def __init__(self, depth: int = 4) -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self._depth = depth
        self._frames: deque[RelayedFrame] = deque()
        self._arrived = asyncio.Event()
        self.dropped = 0
        """Frames that were never judged because newer ones came."""

    def __len__(self) -> int:
        """How many wait."""
        return len(self._frames)

    @property
    def is_full(self) -> bool:
        """Whether it should be given no more for now."""
        return len(self._frames) >= self._depth

    def put(self, frame: RelayedFrame) -> None:
        """Add a frame; what ``Relay`` is given as ``on_frame``."""
        self._frames.append(frame)
        room = self._depth + AT_ONCE_BYTES // frame.frame.pixels.nbytes
        while len(self._frames) > room:
            self._frames.popleft()
            self.dropped += 1
        self._arrived.set()

    async def get(self) -> RelayedFrame:
        """Wait for the oldest frame and take it."""
        while not self._frames:
            self._arrived.clear()
            await self._arrived.wait()
        return self._frames.popleft()


class FrameTap:
    """Shown the bytes of one image connection, hands over the frames in them.

    Args:
        session: The client's number.
        folder: The session's scans.
        watch: Knows the detectors.
        column: Knows the conditions.
        on_frame: Takes the frames.
        is_behind: Whether it could not take another one.
    """

    def __init__(
        self,
        session: int,
        folder: ScanFolder,
        watch: SessionWatch,
        column: ColumnKnowledge,
        on_frame: Callable[[RelayedFrame], None],
        is_behind: Callable[[], bool],
    ) -> None:
        self._session = session
        self._folder = folder
        self._watch = watch
        self._column = column
        self._on_frame = on_frame
        self._is_behind = is_behind
        self._stream = ScanDataStream()
        self._stream.assembler = folder
        self._folding = Guard("folding", once_only=True, session=session)

    def observe(self, data: memoryview) -> bool:
        """Take bytes that have passed; tell whether more should wait; never raises."""
        self._folding.run(self._fold, data)
        return self._folding.failures == 0 and self._is_behind()

    def _fold(self, data: memoryview) -> None:
        self._stream.receive_data(data)
        for folded in self._folder.take_frames():
            if folded.order.is_image:
                self._on_frame(self._relayed(folded))
        self._watch.tell_ended_scans()

    def _relayed(self, folded: FoldedFrame) -> RelayedFrame:
        column = self._column
        frame = Frame(
            folded.pixels,
            column.conditions(folded, self._watch.detector(folded.channel)),
            column.working_distance_mm,
            time.time(),
            column.stage_position,
        )
        return RelayedFrame(frame, self._session, folded.channel, folded.order)
