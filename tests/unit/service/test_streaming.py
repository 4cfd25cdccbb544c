"""A stream's frames are judged as they come, whatever becomes of a single one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from focusd.config import Config
from focusd.errors import LinkError, StoreError
from focusd.frame import Frame
from focusd.microscope.observed import FrameListener, ObservedFrame
from focusd.records import FrameVerdict
from focusd.service.heartbeat import Heartbeat
from focusd.service.pending import Due
from focusd.service.streaming import stream_of, subscribing, taking_stream
from focusd.service.supervisor import Supervisor
from focusd.sources.stream import FrameStream
from focusd.store.database import Store
from tests.fake_microscope import REQUEST, FakeMicroscope

CONFIG = Config.model_validate(
    {
        "microscope": {"driver": "bridge", "limits": {"working_distance_mm": [4.0, 30.0]}},
        "frames": {"source": "stream"},
    }
)


class TellingMicroscope(FakeMicroscope):
    """Tells of frames that its owner takes."""

    listener: FrameListener | None = None

    async def subscribe(self, listener: FrameListener, *, most_bytes: int) -> None:
        assert most_bytes == CONFIG.stream.memory_mib << 20
        self.listener = listener

    async def acquire(self, name: str) -> None:
        """Take a frame as the owner does."""
        assert self.listener is not None
        frame = await FakeMicroscope.scan(self, REQUEST)
        self.listener.frame_observed(ObservedFrame(frame, name, lambda: False))


class ForgetfulSupervisor(Supervisor):
    """Whose store fails at the first verdict."""

    is_full = True

    async def judge(self, frame: Frame, *, is_awaited: bool = False) -> tuple[FrameVerdict, Due | None]:
        if self.is_full:
            self.is_full = False
            raise StoreError("disk full")
        return await super().judge(frame, is_awaited=is_awaited)


@asynccontextmanager
async def connect(microscope: FakeMicroscope) -> AsyncIterator[FakeMicroscope]:
    """Connect to a microscope without a wire."""
    yield microscope


def given_stream() -> FrameStream:
    """Give the stream of the configuration."""
    stream = stream_of(CONFIG)
    assert stream is not None
    return stream


def test_there_is_a_stream_where_it_is_asked_for() -> None:
    """And nowhere else; then connecting is as it was."""
    microscope: dict[str, Any] = {"limits": {"working_distance_mm": [4.0, 30.0]}}

    def plainly() -> Any:
        return connect(FakeMicroscope())

    assert stream_of(Config.model_validate({"microscope": microscope})) is None
    assert subscribing(plainly, None) is plainly


async def test_a_driver_that_cannot_tell_of_frames_is_no_connection() -> None:
    """The error says what is missing and which setting asks for it."""
    stream = given_stream()

    with pytest.raises(LinkError, match=r'others take, as frames\.source = "stream" needs'):
        async with subscribing(lambda: connect(FakeMicroscope()), stream)():
            pass
    assert stream.status.is_subscribed is False


async def test_the_stream_is_subscribed_to_as_long_as_the_connection_lasts() -> None:
    """Each connection anew."""
    stream, microscope = given_stream(), TellingMicroscope()
    for _ in range(2):
        async with subscribing(lambda: connect(microscope), stream)():
            assert microscope.listener is stream
            assert stream.status.is_subscribed
        assert not stream.status.is_subscribed


async def test_a_store_that_fails_costs_the_frame_and_not_the_next(store: Store) -> None:
    """It is told while it lasts, and the frames that come are judged again by themselves."""
    stream, microscope = given_stream(), TellingMicroscope()
    connecting = subscribing(lambda: connect(microscope), stream)
    supervisor = ForgetfulSupervisor(CONFIG, store, connect=connecting, heartbeat=Heartbeat())
    seen: list[str] = []
    async with connecting(), taking_stream(stream, supervisor):
        with capture_logs() as logs:
            for name in ("1", "2"):
                await microscope.acquire(name)
                async with asyncio.timeout(10):
                    while stream.status.last_frame != name and not (
                        name == "1" and stream.status.store_error
                    ):
                        await asyncio.sleep(0.005)
                seen.append(stream.status.store_error)
        shown = supervisor.status.stream

    assert seen == ["disk full", ""]
    assert shown is not None
    assert (shown.frames, shown.last_frame) == (2, "2")
    assert supervisor.status.counters.frames_judged == 1
    events = [each["event"] for each in logs if each["event"].startswith("observed")]
    assert events == ["observed_frames_not_judged", "observed_frames_judged_again"]
