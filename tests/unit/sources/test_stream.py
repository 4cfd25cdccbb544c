"""Frames that come by themselves wait to be judged: bounded, once each, and none that was disturbed."""

from __future__ import annotations

import asyncio

import numpy as np
from structlog.testing import capture_logs

from focusd.config import StreamSettings
from focusd.errors import LinkError
from focusd.frame import Frame, ImagingConditions
from focusd.microscope.observed import ObservedFrame
from focusd.sources.stream import FrameStream
from focusd.sources.stream_status import StreamStatus

SIDE_PX = 1024


def observed(name: str, *, is_disturbed: bool = False, side_px: int = 64) -> ObservedFrame:
    """Make a frame."""
    pixels = np.zeros((side_px, side_px), np.uint8)
    frame = Frame(pixels, ImagingConditions(side_px, side_px, 8), working_distance_mm=9.0, acquired_at=0.0)
    return ObservedFrame(frame, name, lambda: is_disturbed)


def stream_of(*names: str, side_px: int = 64, **settings: object) -> FrameStream:
    """Give a stream that has been told of some frames."""
    stream = FrameStream(StreamSettings.model_validate(settings))
    stream.subscribed()
    for name in names:
        stream.frame_observed(observed(name, side_px=side_px))
    return stream


async def names_of(stream: FrameStream) -> list[str]:
    """Take what waits."""
    return [(await stream.get()).name for _ in range(stream.status.frames_waiting)]


async def test_the_oldest_makes_room() -> None:
    """Counted, and told once when it begins and once when it is over."""
    with capture_logs() as logs:
        stream = stream_of("1", "2", "3", "4", "5", waiting_frames=2)
        full = stream.status
        first = await names_of(stream)
        for name in ("6", "7", "8"):
            stream.frame_observed(observed(name))
        second = await names_of(stream)

    assert (full.frames, full.frames_waiting, full.frames_dropped) == (5, 2, 3)
    assert (first, second) == (["4", "5"], ["7", "8"])
    assert stream.status.frames_dropped == 4
    assert [(each["event"], each.get("dropped")) for each in logs] == [
        ("observed_frames_dropped", None),
        ("observed_frames_kept_up_with", 3),
        ("observed_frames_dropped", None),
        ("observed_frames_kept_up_with", 1),
    ]


async def test_memory_is_bounded_too() -> None:
    """Large frames are fewer; one that fits may always wait."""
    stream = stream_of("1", "2", "3", "4", side_px=SIDE_PX, waiting_frames=10, memory_mib=2)

    assert stream.most_bytes == 2 << 20
    assert stream.status.frames_waiting == 2
    assert await names_of(stream) == ["3", "4"]


async def test_disturbed_and_repeated_frames_are_not_judged() -> None:
    """They are counted apart, and those that are disturbed are named: their owner may want them again."""
    stream = stream_of("1", "1", "2")
    with capture_logs() as logs:
        stream.frame_observed(observed("3", is_disturbed=True))
        stream.frame_observed(observed("5"))
        names = await names_of(stream)

    assert names == ["1", "2", "5"]
    assert [each["frames"] for each in logs if each["event"] == "observed_frames_set_aside"] == [("3",)]
    status = stream.status
    assert (status.frames, status.frames_set_aside, status.frames_repeated) == (5, 1, 1)
    assert status.frames_missing == 1


async def test_a_frame_that_is_disturbed_while_it_waits_is_not_judged() -> None:
    """A refocus has come between it and its judgement."""
    was_mended = False
    stream = stream_of()
    before = observed("1")
    stream.frame_observed(ObservedFrame(before.frame, "1", lambda: was_mended))
    was_mended = True
    stream.frame_observed(observed("2"))

    async with asyncio.timeout(5):
        assert (await stream.get()).name == "2"
    assert (stream.status.frames_set_aside, stream.status.frames_waiting) == (1, 0)


async def test_get_waits_for_the_next_frame() -> None:
    """And gives it with the label of the configuration."""
    stream = stream_of(label="brain")
    waiting = asyncio.create_task(stream.get())
    await asyncio.sleep(0)
    stream.frame_observed(observed("1"))

    async with asyncio.timeout(5):
        assert (await waiting).frame.conditions.label == "brain"


async def test_caught_up_means_that_the_last_frame_has_been_judged() -> None:
    """Also one that came while the microscope was asked; a link that fails meanwhile is no matter."""

    async def ask() -> None:
        stream.frame_observed(observed("2"))
        raise LinkError("lost")

    stream = stream_of("1")
    stream.subscribed(ask)
    catching_up = asyncio.create_task(stream.caught_up())
    for name in ("1", "2"):
        await asyncio.sleep(0)
        assert (await stream.get()).name == name
        assert not catching_up.done()
    waiting = asyncio.create_task(stream.get())

    async with asyncio.timeout(5):
        await catching_up
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_what_goes_wrong_is_told_once() -> None:
    """Refused and missing frames once a connection, a store that fails until it works."""
    with capture_logs() as logs:
        stream = stream_of("1", "3", "5")
        stream.frame_refused("no pixels")
        stream.frame_refused("too large")
        for _ in range(2):
            stream.store_failed("disk full")
        failed = stream.status
        stream.judged(await stream.get())
        stream.unsubscribed()
        stream.subscribed()
        stream.frame_refused("no pixels")

    assert [each["event"] for each in logs] == [
        "observed_frames_missing",
        "observed_frame_refused",
        "observed_frames_not_judged",
        "observed_frames_judged_again",
        "observed_frame_refused",
    ]
    assert (failed.frames_refused, failed.last_refused, failed.store_error) == (2, "too large", "disk full")
    assert (stream.status.last_frame, stream.status.store_error) == ("1", "")


async def test_each_change_is_published() -> None:
    """Whoever shows the status is told of every one."""
    told: list[StreamStatus] = []
    stream = FrameStream(StreamSettings(), told.append)
    stream.subscribed()
    stream.frame_observed(observed("1"))
    stream.judged(await stream.get())
    stream.unsubscribed()

    assert [each.is_subscribed for each in told][:: len(told) - 1] == [True, False]
    assert told[-1] == stream.status
    assert (told[-1].frames, told[-1].frames_waiting, told[-1].last_frame) == (1, 0, "1")
