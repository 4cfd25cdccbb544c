"""The attended microscope: a slow instrument breaks no promise, and no call outlasts the one it was given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from focusd.config import Timeouts
from focusd.errors import LinkError, LinkTimeoutError
from focusd.microscope.interface import Microscope, MicroscopeState
from focusd.service.attended import MOST_ANSWERS, REST_S, attended
from focusd.service.heartbeat import OWN_WORK_S, Heartbeat
from tests.fake_microscope import REQUEST, FakeMicroscope

TIMEOUTS = Timeouts(connect_s=0.02, request_s=0.01, settle_s=0.02)


class Promises(Heartbeat):
    """Remembers what the owner was given for its waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waits_s: list[float] = []

    def expect(self, waits_s: float = 0.0) -> None:
        self.waits_s.append(waits_s)
        super().expect(waits_s)


class Silent(FakeMicroscope):
    """Never answers a question for its state."""

    async def get_state(self) -> MicroscopeState:
        await asyncio.Event().wait()
        return await super().get_state()


@asynccontextmanager
async def connecting(microscope: FakeMicroscope, *, never: bool = False) -> AsyncIterator[Microscope]:
    """Stand in for a driver."""
    if never:
        await asyncio.Event().wait()
    yield microscope


async def test_every_call_promises_what_it_may_wait_and_then_no_more() -> None:
    """Connect, read, move, hold and scan each renew the promise, and what follows has only its own time."""
    heartbeat = Promises()
    fake = FakeMicroscope()

    async with attended(connecting(fake), heartbeat, TIMEOUTS) as microscope:
        assert heartbeat.waits_s == [pytest.approx(0.04 + MOST_ANSWERS * 0.01), 0.0]
        calls = 0
        for call in (
            microscope.get_state(),
            microscope.get_working_distance(),
            microscope.ping(),
            microscope.set_working_distance(9.5),
        ):
            await call
            calls += 1
        async with microscope.acquisition():
            frame = await microscope.scan(REQUEST)

    assert frame.pixels.shape == REQUEST.shape
    assert fake.visited_mm == [9.5]
    assert (microscope.identity, microscope.limits_mm) == (fake.identity, fake.limits_mm)
    waited = [wait_s for wait_s in heartbeat.waits_s if wait_s > 0.0]
    assert len(waited) == 1 + calls + 3 + 1
    assert max(waited) > REST_S
    assert heartbeat.waits_s[-1] == pytest.approx(MOST_ANSWERS * 0.01)


async def test_a_call_that_never_ends_is_a_lost_link() -> None:
    """A driver that waits for ever is broken off where its promise ends, so the daemon connects anew."""
    heartbeat = Promises()

    async with attended(connecting(Silent()), heartbeat, TIMEOUTS) as microscope:
        with pytest.raises(LinkTimeoutError, match=r"reading the column took longer than 0\.2 s"):
            await microscope.get_state()

    assert heartbeat.is_alive


async def test_a_connection_that_is_never_made_is_a_lost_link() -> None:
    """Connecting is bounded as a whole, too."""
    with pytest.raises(LinkTimeoutError, match="connecting took longer"):
        async with attended(connecting(FakeMicroscope(), never=True), Promises(), TIMEOUTS):
            pytest.fail("there was no connection")


async def test_errors_of_the_microscope_pass_as_they_are() -> None:
    """What a driver raises within its time is neither wrapped nor held back."""

    def lost(_number: int) -> None:
        raise LinkTimeoutError("no answer to SetWD within 5 s")

    async with attended(connecting(FakeMicroscope(before_move=lost)), Promises(), TIMEOUTS) as microscope:
        with pytest.raises(LinkError, match="no answer to SetWD"):
            await microscope.set_working_distance(9.5)


def test_the_time_for_own_work_is_no_part_of_a_slow_microscope() -> None:
    """A microscope that uses up every deadline of its own still leaves focusd its own time."""
    now = 0.0
    heartbeat = Heartbeat(lambda: now)
    heartbeat.expect(50.0)

    now = 50.0 + OWN_WORK_S - 0.1

    assert heartbeat.is_alive
