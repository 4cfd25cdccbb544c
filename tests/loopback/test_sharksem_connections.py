"""The simulated SharkSEM server over real TCP: who is let in, who belongs together, how it ends."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from focusd.simulator.faults import Faults
from focusd.simulator.sharksem_server import SharkSEMServer
from tests.loopback.plain_client import HEADER, A, PlainClient, encoded, is_closed, wait_for
from tests.loopback.sharksem_rig import play, server


async def test_a_second_port_follows_the_first() -> None:
    """The data port is the control port plus one, also when any free port will do."""
    async with server() as rig:
        for port in (rig.port, rig.port + 1):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert isinstance(reader, asyncio.StreamReader)
            writer.close()
            await writer.wait_closed()


async def test_a_taken_port_is_an_error() -> None:
    """A port that was asked for and is taken raises before anything is served."""
    async with server() as rig:
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            await SharkSEMServer(rig.column, port=rig.port).__aenter__()


async def test_settings_are_shared_but_channels_and_tables_are_not() -> None:
    """A second client sees the lens the first one moved, and has its own channels and look-up tables."""

    def scene(client: PlainClient) -> None:
        with PlainClient(client.port) as other:
            client.send("DtSelect", 0, 4)
            client.send("DtEnable", 0, 1, 16)
            client.send("ScLUTSrcSet", 2)
            client.send("SetWD", 8.5)
            assert client.number("GetWD") == 8.5
            assert other.number("GetWD") == 8.5
            assert client.ask("DtGetEnabled", "ii", 0) == [1, 16]
            assert other.ask("DtGetEnabled", "ii", 0) == [0, 8]
            assert (client.whole("DtGetSelected", 0), other.whole("DtGetSelected", 0)) == (4, 0)
            assert (client.whole("ScLUTSrcGet"), other.whole("ScLUTSrcGet")) == (2, 1)

    await play(server(), scene)


async def test_the_note_on_the_screen_goes_with_its_client() -> None:
    """The last caller's note shows until it hides it or disconnects."""
    rig = server()

    def scene(client: PlainClient) -> None:
        client.send("ProgressShow", "focus", "working", 0, 0, 0, 100)
        client.send("ProgressPerc", 40)
        client.number("GetWD")
        note = rig.instrument.progress
        assert note is not None
        assert (note.title, note.text, note.percent) == ("focus", "working", 40)
        client.close()
        wait_for(lambda: rig.instrument.progress is None)

    await play(rig, scene)


async def test_a_data_connection_of_an_unknown_port_joins_the_only_session_without_one() -> None:
    """A network that rewrites ports still works for one client."""
    rig = server()

    def scene() -> None:
        with PlainClient(rig.port, data=False) as client:
            client.data = client.data_socket()
            client.data.connect(("127.0.0.1", rig.port + 1))
            wait_for(lambda: any(session.data for session in rig.sessions))
            client.send("DtEnable", 0, 1)
            assert client.scan(1, 64, 64) == 0
            client.fetch([0], 64 * 64)

    async with rig:
        await asyncio.to_thread(scene)


async def test_a_stranger_on_the_data_port_is_turned_away() -> None:
    """With no session waiting, or with several, a data connection from an unknown port is closed."""
    rig = server()

    def scene() -> None:
        address = ("127.0.0.1", rig.port + 1)
        with socket.create_connection(address, timeout=5) as stranger:
            assert is_closed(stranger)
        with PlainClient(rig.port, data=False) as one, PlainClient(rig.port, data=False) as two:
            one.number("GetWD")
            two.number("GetWD")
            with socket.create_connection(address, timeout=5) as stranger:
                assert is_closed(stranger)
            own = two.data_socket()
            assert two.whole("TcpRegDataPort", own.getsockname()[1]) == 0
            own.connect(address)
            wait_for(lambda: rig.sessions[1].data is not None)
            assert rig.sessions[0].data is None
            own.close()

    async with rig:
        await asyncio.to_thread(scene)


async def test_single_client_mode_refuses_the_second() -> None:
    """The newcomer is closed, and the first client does not notice."""
    rig = server(faults=Faults(single_client=True))

    def scene(client: PlainClient) -> None:
        with socket.create_connection(("127.0.0.1", client.port), timeout=5) as second:
            assert is_closed(second)
        assert client.number("GetWD") == 9.0

    await play(rig, scene)


async def test_segments_may_be_cut_and_merged_anywhere() -> None:
    """Single bytes, and many commands in one segment, give the same answers."""

    def scene(client: PlainClient) -> None:
        client.control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = encoded(9.25)
        move = HEADER.pack(b"SetWD", len(body), 0, 0, 0, 0) + body
        question = HEADER.pack(b"GetWD", 0, 0, 0, 0, 0)
        for byte in move + question:
            client.control.sendall(bytes([byte]))
        assert client.answer("f") == [9.25]
        client.control.sendall((move + question) * 500)
        assert [client.answer("f") for _ in range(500)] == [[9.25]] * 500

    await play(server(), scene)


async def test_leaving_with_clients_attached_is_quick() -> None:
    """The server stops in well under a second while clients scan, wait and sleep."""
    rig = server(time_scale=1.0)

    def scene() -> list[PlainClient]:
        clients = [PlainClient(rig.port) for _ in range(3)]
        clients[0].send("DtEnable", 0, 1)
        assert clients[0].scan(1, 512, 512, frames=0) == 0
        clients[1].send("HVSetVoltage", 20_000.0)
        clients[1].send("CameraEnable", 0, 1.0, 25.0, 0)
        clients[2].wait_conditions = A
        clients[2].send("GetWD")
        clients[2].send("StgMoveTo", 50.0)
        return clients

    async with rig:
        clients = await asyncio.to_thread(scene)
        begin = time.monotonic()
    assert time.monotonic() - begin < 1.0
    for client in clients:
        assert client.data is not None
        assert await asyncio.to_thread(is_closed, client.control)
        client.close()


async def test_a_fault_of_the_simulator_itself_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug ends the server with its error; it does not look like a command that was dropped."""
    rig = server()

    def broken(_working_distance_mm: float) -> float:
        raise RuntimeError("the lens fell off")

    monkeypatch.setattr(rig.column, "set_working_distance", broken)

    def scene(client: PlainClient) -> None:
        client.send("SetWD", 9.5)
        assert is_closed(client.control)

    with pytest.raises(ExceptionGroup) as caught:
        await play(rig, scene)

    assert caught.value.subgroup(RuntimeError) is not None
