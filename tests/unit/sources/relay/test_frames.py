"""Frames waiting for their judge."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from focusd.frame import Frame, ImagingConditions, ScanRegion
from focusd.protocol.sharksem_orders import ScanOrder
from focusd.sources.relay.frames import FrameQueue, RelayedFrame


def relayed(number: int, side: int = 64) -> RelayedFrame:
    """Make a frame."""
    order = ScanOrder("ScScanXY", number, side, side, ScanRegion(0, 0, side, side), side * side, 1, 1.0)
    frame = Frame(np.zeros((side, side), np.uint8), ImagingConditions(side, side, 8), 9.0, 0.0)
    return RelayedFrame(frame, 1, 0, order)


async def test_frames_come_in_their_order() -> None:
    """Whoever waits gets the oldest."""
    queue = FrameQueue()
    taking = asyncio.create_task(queue.get())
    await asyncio.sleep(0)

    queue.put(relayed(1))
    queue.put(relayed(2))

    assert (await taking).order.frame_id == 1
    assert (await queue.get()).order.frame_id == 2
    assert queue.dropped == 0


async def test_the_oldest_goes_when_there_are_too_many() -> None:
    """What was dropped is counted."""
    queue = FrameQueue(3)

    for number in range(10):
        queue.put(relayed(number, side=1024))

    assert queue.is_full
    assert [(await queue.get()).order.frame_id for _ in range(3)] == [7, 8, 9]
    assert queue.dropped == 7


def test_small_frames_that_come_at_once_are_all_taken() -> None:
    """A reader that rests has read some beyond the one that filled the queue."""
    queue = FrameQueue(3)

    for number in range(20):
        queue.put(relayed(number))

    assert queue.is_full
    assert len(queue) == 20
    assert queue.dropped == 0


def test_a_queue_holds_something() -> None:
    """A depth of zero would drop everything."""
    with pytest.raises(ValueError, match="depth must be at least 1"):
        FrameQueue(0)
