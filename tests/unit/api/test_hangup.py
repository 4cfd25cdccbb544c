"""Waits that end when nobody is there any more."""

from __future__ import annotations

import asyncio

import pytest

from focusd.api.hangup import Hangup, HungUpError
from focusd.errors import LinkTimeoutError


async def test_a_wait_gives_what_it_waited_for() -> None:
    """As long as nobody hangs up, it is as if the hang-up were not there."""
    hangup = Hangup()

    assert await hangup.hold(asyncio.sleep(0, "answer")) == "answer"
    hangup.hang_up()
    hangup.hang_up()


async def test_a_hang_up_ends_every_wait_now_and_later() -> None:
    """What is waited for is cancelled, and nothing is left behind."""
    hangup = Hangup()
    never = asyncio.get_running_loop().create_future()
    waits = [asyncio.ensure_future(hangup.hold(asyncio.shield(never))) for _ in range(3)]
    await asyncio.sleep(0)

    hangup.hang_up()

    for wait in waits:
        with pytest.raises(HungUpError):
            await wait
    with pytest.raises(HungUpError):
        await hangup.hold(asyncio.shield(never))
    assert not never.done()


async def test_an_error_of_the_work_is_not_taken_for_a_hang_up() -> None:
    """A timeout of the microscope's link is one of Python's timeouts too."""

    async def lose_the_link() -> None:
        raise LinkTimeoutError("no answer within 5 s")

    with pytest.raises(LinkTimeoutError):
        await Hangup().hold(lose_the_link())


async def test_a_cancel_from_outside_stays_a_cancel() -> None:
    """A server that is stopped in earnest is not talked out of it."""
    hangup = Hangup()
    wait = asyncio.ensure_future(hangup.hold(asyncio.sleep(60)))
    await asyncio.sleep(0)

    wait.cancel()

    with pytest.raises(asyncio.CancelledError):
        await wait
