"""A link tells an answer that is overdue from a connection that is lost, whatever is spoken over it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from focusd.errors import LinkError, RemoteProtocolError
from focusd.frame import ScanRequest
from focusd.microscope.bridge import connect_bridge
from focusd.microscope.bridge_link import BridgeLink, open_bridge_link
from focusd.microscope.connection import LinkState
from focusd.microscope.interface import TellsOverdue
from focusd.microscope.link import Link, call, open_link
from focusd.microscope.sharksem import connect_sharksem
from focusd.protocol.sharksem import Message, encode_message
from tests.unit.microscope import scripted_bridge, scripted_server
from tests.unit.microscope.scripted_bridge import Json, ScriptedBridge
from tests.unit.microscope.scripted_server import ScriptedServer

LONG_S = 0.8
"""A deadline of which the half is long, and not too long for a test."""


class Bench:
    """A link of either kind, a server behind it that can be made to wait, and what the link has told."""

    def __init__(self, link: Link | BridgeLink, may_answer: asyncio.Event) -> None:
        self.link = link
        self.may_answer = may_answer
        self.told: list[bool] = []
        self.is_told = asyncio.Event()
        link.on_overdue(self._note)

    def _note(self, is_overdue: bool) -> None:
        self.told.append(is_overdue)
        self.is_told.set()

    async def ask(self, timeout_s: float = LONG_S) -> None:
        """Ask for the column."""
        if isinstance(self.link, Link):
            await self.link.exchange(call("GetViewField"), call("GetWD"), timeout_s=timeout_s)
        else:
            await self.link.exchange("get_state", timeout_s=timeout_s)


@asynccontextmanager
async def bench(driver: str) -> AsyncIterator[Bench]:
    """Connect to a server that answers as soon as it may."""
    may_answer = asyncio.Event()

    async def wait(server: Any, request: Any) -> None:
        await may_answer.wait()
        await server.answer(request)

    if driver == "sharksem":
        server = ScriptedServer(misbehave={"GetViewField": wait})
        async with (
            scripted_server.serving(server),
            open_link("127.0.0.1", server.port, timeout_s=2.0) as link,
        ):
            yield Bench(link, may_answer)
    else:
        bridge = ScriptedBridge(misbehave={"get_state": wait})
        async with (
            scripted_bridge.serving(bridge),
            open_bridge_link("127.0.0.1", bridge.port, timeout_s=2.0, max_payload_bytes=1 << 20) as other,
        ):
            yield Bench(other, may_answer)


DRIVERS = pytest.mark.parametrize("driver", ["sharksem", "bridge"])


@DRIVERS
async def test_an_answer_that_comes_soon_is_not_told_of(driver: str) -> None:
    """Nothing is overdue, and after the answer nothing is waited for."""
    async with bench(driver) as made:
        made.may_answer.set()
        await made.ask()
        await made.ask(timeout_s=LONG_S / 4)
        await asyncio.sleep(LONG_S / 4)

        assert made.told == []
        assert made.link.state is LinkState.CONNECTED


@DRIVERS
async def test_an_answer_is_overdue_before_it_is_given_up(driver: str) -> None:
    """The link is unresponsive and still stands; when the answer comes all is well again."""
    async with bench(driver) as made:
        asking = asyncio.create_task(made.ask())
        await made.is_told.wait()
        assert (made.link.state, made.link.is_up) == (LinkState.UNRESPONSIVE, True)
        assert not asking.done()
        made.may_answer.set()
        await asking

        assert made.told == [True, False]
        assert made.link.state is LinkState.CONNECTED


@DRIVERS
async def test_one_that_never_comes_ends_the_link(driver: str) -> None:
    """Past the deadline the link is disconnected, and nobody is told that it has become well."""
    async with bench(driver) as made:
        with pytest.raises(LinkError, match="within"):
            await made.ask(timeout_s=0.1)

        assert made.told == [True]
        assert made.link.state is LinkState.DISCONNECTED


@DRIVERS
async def test_an_answer_nobody_waits_for_any_more_is_overdue_too(driver: str) -> None:
    """Who asked has gone; the microscope hangs all the same."""
    async with bench(driver) as made:
        asking = asyncio.create_task(made.ask())
        await asyncio.sleep(0.05)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        await made.is_told.wait()
        assert made.link.state is LinkState.UNRESPONSIVE
        made.may_answer.set()
        await made.ask()

        assert made.told == [True, False]


@DRIVERS
async def test_whoever_listens_late_is_told_at_once(driver: str) -> None:
    """The state is told of, not only its changes."""
    async with bench(driver) as made:
        asking = asyncio.create_task(made.ask())
        await made.is_told.wait()
        told: list[bool] = []
        made.link.on_overdue(told.append)
        made.may_answer.set()
        await asking

        assert told == [True, False]


async def test_closing_is_no_loss() -> None:
    """A link that focusd has closed is stopped, not disconnected."""
    async with bench("sharksem") as made:
        link = made.link
    assert link.state is LinkState.STOPPED


async def test_both_drivers_tell() -> None:
    """Also for the length of an image, whose pixels may take their time."""
    may_send = asyncio.Event()

    async def slowly(bridge: ScriptedBridge, request: Json) -> None:
        data = bridge.healthy(request)
        await bridge.write(data[:-100])
        await may_send.wait()
        await bridge.write(data[-100:])

    server, bridge = ScriptedServer(), ScriptedBridge(misbehave={"scan": slowly})
    told: list[bool] = []
    async with (
        scripted_server.serving(server),
        scripted_bridge.serving(bridge),
        connect_sharksem(server.settings()) as sharksem,
        connect_bridge(bridge.settings()) as microscope,
    ):
        assert isinstance(sharksem, TellsOverdue)
        assert isinstance(microscope, TellsOverdue)
        microscope.on_overdue(told.append)
        scan = asyncio.create_task(microscope.scan(ScanRequest(64, 64, dwell_time_us=1.0)))
        await asyncio.sleep(0.1)
        may_send.set()
        await scan

    assert told == []


# --- answers of another connection ---


async def test_an_answer_of_the_connection_before_is_not_taken_for_one_of_this() -> None:
    """A server that mixes its clients up repeats what it told the last one, byte for byte: it is refused."""
    told: list[bytes] = []

    async def remember(server: ScriptedServer, request: Message) -> None:
        told.append(encode_message(request.answer(server.body_for(request) or b"")))
        await server.write(told[-1])

    async def repeat(server: ScriptedServer, _request: Message) -> None:
        await server.write(told.pop(0))

    server = ScriptedServer(misbehave={"GetWD": remember})
    async with scripted_server.serving(server):
        async with open_link("127.0.0.1", server.port, timeout_s=2.0) as link:
            await link.exchange(call("GetWD"), timeout_s=LONG_S)
        server.misbehave["GetWD"] = repeat
        async with open_link("127.0.0.1", server.port, timeout_s=2.0) as link:
            with pytest.raises(RemoteProtocolError, match="expected the answer to GetWD"):
                await link.exchange(call("GetWD"), timeout_s=LONG_S)


async def test_the_same_of_a_bridge() -> None:
    """Its numbers do not come again either."""
    told: list[bytes] = []

    async def remember(bridge: ScriptedBridge, request: Json) -> None:
        told.append(bridge.healthy(request))
        await bridge.write(told[-1])

    async def repeat(bridge: ScriptedBridge, _request: Json) -> None:
        await bridge.write(told.pop(0))

    bridge = ScriptedBridge(misbehave={"get_state": remember})
    async with scripted_bridge.serving(bridge):
        async with open_bridge_link(
            "127.0.0.1", bridge.port, timeout_s=2.0, max_payload_bytes=1 << 20
        ) as link:
            await link.exchange("get_state", timeout_s=LONG_S)
        bridge.misbehave["get_state"] = repeat
        async with open_bridge_link(
            "127.0.0.1", bridge.port, timeout_s=2.0, max_payload_bytes=1 << 20
        ) as link:
            with pytest.raises(RemoteProtocolError, match="got an answer with id"):
                await link.exchange("get_state", timeout_s=LONG_S)
