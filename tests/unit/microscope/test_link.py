"""One door for every exchange: numbered, in order, under a deadline, closed at the first doubt."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from focusd.errors import LinkError, LinkTimeoutError, LocalProtocolError, RemoteProtocolError
from focusd.microscope.connection import LinkState
from focusd.microscope.link import Link, call, open_link, optional
from focusd.protocol.sharksem import Message, encode_message
from focusd.protocol.sharksem_body import encode_body
from tests.unit.microscope.scripted_server import Misbehaviour, ScriptedServer, serving

SOON_S = 0.3


@asynccontextmanager
async def linked(server: ScriptedServer) -> AsyncIterator[Link]:
    """Serve and connect."""
    async with serving(server), open_link("127.0.0.1", server.port, timeout_s=2.0) as link:
        yield link


async def stay_silent(_server: ScriptedServer, _request: Message) -> None:
    """Give no answer."""


async def test_an_exchange_gives_the_answers_by_name() -> None:
    """Several calls go out together; each answer is found under its name."""
    async with linked(ScriptedServer()) as link:
        answers = await link.exchange(call("GetViewField"), call("GetWD"), timeout_s=SOON_S)

    assert answers["GetWD"].number() == 9.0
    assert answers["GetViewField"].number() == 0.064


async def test_the_calls_of_an_exchange_leave_in_one_segment() -> None:
    """Header and body, and all requests, are one write."""
    sizes: list[int] = []

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sizes.append(len(await reader.read(65_536)))
        writer.close()

    listener = await asyncio.start_server(count, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener, open_link("127.0.0.1", port, timeout_s=2.0) as link:
        with pytest.raises(LinkError):
            await link.exchange(optional("SetWD", 14.25), call("GetWD"), timeout_s=SOON_S)

    assert sizes == [32 + 12 + 32]


async def test_the_socket_finds_a_dead_peer() -> None:
    """Small messages are not held back; keepalive and user timeout are set."""
    async with linked(ScriptedServer()) as link:
        assert link._transport is not None
        sock: socket.socket = link._transport.get_extra_info("socket")
        options = {
            "TCP_NODELAY": 1,
            "TCP_KEEPIDLE": 5,
            "TCP_KEEPINTVL": 2,
            "TCP_KEEPCNT": 3,
            "TCP_USER_TIMEOUT": 10_000,
        }
        found = {name: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in options}

        assert found == options
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


@pytest.mark.parametrize("acknowledges", [True, False])
async def test_a_void_call_need_not_be_acknowledged(*, acknowledges: bool) -> None:
    """The answered call behind a void one proves it done, whether or not the server honours bit 0."""
    server = ScriptedServer(acknowledges=acknowledges)
    async with linked(server) as link:
        answers = await link.exchange(optional("SetWD", 9.5), call("GetWD"), timeout_s=SOON_S)
        assert answers["GetWD"].number() == 9.5
        assert ("SetWD" in answers) is acknowledges
        await link.exchange(call("GetWD"), timeout_s=SOON_S)

    assert server.moves == [9.5]


async def test_an_exchange_must_end_with_an_answered_call() -> None:
    """Otherwise nobody could tell when it is over; nothing is sent."""
    server = ScriptedServer()
    async with linked(server) as link:
        for calls in ((), (optional("SetWD", 9.5),)):
            with pytest.raises(LocalProtocolError, match="always answered"):
                await link.exchange(*calls, timeout_s=SOON_S)
        with pytest.raises(LocalProtocolError):
            await link.exchange(call("GetWD"), call("SetWD", float("nan")), timeout_s=SOON_S)
        await link.exchange(call("GetWD"), timeout_s=SOON_S)

    assert server.names == ["GetWD"]


async def test_exchanges_of_several_tasks_take_turns() -> None:
    """Nobody gets another's answer, and one exchange is over before the next begins."""
    server = ScriptedServer()
    async with linked(server) as link, asyncio.TaskGroup() as group:
        wd = [group.create_task(link.exchange(call("GetWD"), timeout_s=SOON_S)) for _ in range(20)]
        hv = [group.create_task(link.exchange(call("HVGetVoltage"), timeout_s=SOON_S)) for _ in range(20)]

    assert {task.result()["GetWD"].number() for task in wd} == {9.0}
    assert {task.result()["HVGetVoltage"].number() for task in hv} == {5000.0}


async def test_a_cancelled_callers_answer_is_dropped() -> None:
    """The next exchange gets its own answer and goes out without waiting for the abandoned one's."""
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def answer_late(server: ScriptedServer, request: Message) -> None:
        asked.set()
        await may_answer.wait()
        await server.answer(request)

    async with linked(ScriptedServer(misbehave={"HVGetVoltage": answer_late})) as link:
        abandoned = asyncio.ensure_future(link.exchange(call("HVGetVoltage"), timeout_s=SOON_S))
        await asked.wait()
        abandoned.cancel()
        await asyncio.wait([abandoned])
        following = asyncio.ensure_future(link.exchange(call("GetWD"), timeout_s=SOON_S))
        await asyncio.sleep(0)
        may_answer.set()

        assert (await following)["GetWD"].number() == 9.0
        assert link.state is LinkState.CONNECTED
        assert abandoned.cancelled()


async def test_a_timeout_closes_the_link_for_everybody() -> None:
    """One named error; every later exchange fails at once with it as the cause, and sends nothing."""
    server = ScriptedServer(misbehave={"GetWD": stay_silent})
    async with linked(server) as link:
        first = asyncio.ensure_future(link.exchange(call("GetWD"), timeout_s=SOON_S))
        second = asyncio.ensure_future(link.exchange(call("HVGetVoltage"), timeout_s=SOON_S))
        await asyncio.wait([first, second])

        with pytest.raises(LinkTimeoutError, match=r"no answer to GetWD within 0\.3 s"):
            first.result()
        with pytest.raises(LinkError, match="lost: no answer to GetWD") as caught:
            second.result()
        assert isinstance(caught.value.__cause__, LinkTimeoutError)
        assert link.state is LinkState.DISCONNECTED

    assert server.names == ["GetWD"]


async def test_closing_does_not_wait_for_an_exchange() -> None:
    """A silent microscope cannot hold up the shutdown; the waiting exchange ends with it."""
    asked = asyncio.Event()

    async def hang(_server: ScriptedServer, _request: Message) -> None:
        asked.set()

    async with linked(ScriptedServer(misbehave={"GetWD": hang})) as link:
        waiting = asyncio.ensure_future(link.exchange(call("GetWD"), timeout_s=60))
        await asked.wait()
        started = time.monotonic()
        link.close()
        with pytest.raises(LinkError, match="was closed"):
            await waiting
        with pytest.raises(LinkError, match="is closed"):
            await link.exchange(call("GetWD"), timeout_s=60)

        assert time.monotonic() - started < 0.2
        assert link.state is LinkState.STOPPED


async def test_the_microscope_closing_is_noticed_at_once() -> None:
    """An idle link knows that it is lost before the next exchange is tried."""
    server = ScriptedServer()
    async with linked(server) as link:
        await link.exchange(call("GetWD"), timeout_s=SOON_S)
        assert server.control is not None
        server.control.close()
        await asyncio.wait_for(link.wait_closed(), 1.0)

        assert link.state is LinkState.DISCONNECTED
        with pytest.raises(LinkError, match="the microscope closed the connection"):
            await link.exchange(call("GetWD"), timeout_s=SOON_S)


async def test_numbers_do_not_run_out() -> None:
    """After the last 32-bit number comes 1, never 0."""
    async with linked(ScriptedServer()) as link:
        link._identification = 2**32 - 2
        await link.exchange(call("GetWD"), call("GetWD"), call("GetWD"), timeout_s=SOON_S)

        assert link._identification == 2


async def send_twice(server: ScriptedServer, request: Message) -> None:
    """Answer, and again."""
    await server.answer(request)
    await server.answer(request)


async def send_unasked(server: ScriptedServer, request: Message) -> None:
    """Put an answer to nothing behind the right one."""
    await server.answer(request)
    await server.write(encode_message(Message("HVGetVoltage", encode_body([1.0]), 1)))


@pytest.mark.parametrize("misbehaviour", [send_twice, send_unasked])
async def test_a_superfluous_answer_closes_the_link(misbehaviour: Misbehaviour) -> None:
    """It cannot become the answer to the next call."""
    async with linked(ScriptedServer(misbehave={"GetWD": misbehaviour})) as link:
        assert (await link.exchange(call("GetWD"), timeout_s=SOON_S))["GetWD"].number() == 9.0
        await asyncio.wait_for(link.wait_closed(), 1.0)
        with pytest.raises(LinkError) as caught:
            await link.exchange(call("GetWD"), timeout_s=SOON_S)

    assert isinstance(caught.value.__cause__, RemoteProtocolError)


async def test_no_server_is_a_named_error() -> None:
    """A refused connection says where it was tried."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(LinkError, match=f"no connection to 127.0.0.1:{port}"):
        async with open_link("127.0.0.1", port, timeout_s=2.0):
            pytest.fail("connected to nobody")


async def test_a_host_without_address_is_a_named_error() -> None:
    """A name that cannot be one is a link error, not a bug."""
    with pytest.raises(LinkError, match=r"no connection to sem\.\.lab:8300"):
        async with open_link("sem..lab", 8300, timeout_s=2.0):
            pytest.fail("connected to nobody")


async def test_a_server_that_never_accepts_is_a_timeout() -> None:
    """A full backlog does not hold the daemon for minutes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for sock in waiting:
                sock.setblocking(False)
                sock.connect_ex(address)
            with pytest.raises(LinkTimeoutError, match=r"within 0\.3 s"):
                async with open_link(*address, timeout_s=SOON_S):
                    pytest.fail("connected to nobody")
        finally:
            for sock in waiting:
                sock.close()


async def test_each_answer_renews_the_deadline() -> None:
    """Several slow answers may take longer together than one may alone."""

    async def take_a_while(server: ScriptedServer, request: Message) -> None:
        await asyncio.sleep(0.15)
        await server.answer(request)

    async with linked(ScriptedServer(misbehave={"GetWD": take_a_while})) as link:
        started = time.monotonic()
        await link.exchange(*[call("GetWD")] * 4, timeout_s=SOON_S)

        assert time.monotonic() - started > SOON_S


async def test_whoever_asked_is_told_of_a_lost_link() -> None:
    """A failure is told once, also to those who ask after it; a close is not."""
    told: list[str] = []
    async with linked(ScriptedServer()) as link:
        link.on_lost(lambda: told.append("early"))
        link.fail(LinkError("one"))
        link.fail(LinkError("two"))
        link.on_lost(lambda: told.append("late"))
    async with linked(ScriptedServer()) as closed:
        closed.on_lost(lambda: told.append("closed"))

    assert told == ["early", "late"]
