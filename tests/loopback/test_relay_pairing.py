"""Image connections of the relay's clients: announced, found, closed and opened again, over real TCP."""

from __future__ import annotations

import asyncio
import socket

import pytest

from focusd.simulator.faults import Faults
from tests.loopback.plain_client import PlainClient, is_closed, wait_for
from tests.loopback.relay_rig import relayed_rig
from tests.loopback.sharksem_rig import server
from tests.loopback.test_relay import images, through

SIDE = 64


async def test_an_unannounced_image_connection_joins_the_only_session_without_one() -> None:
    """The firewall-friendly mode works through the relay as it does without it."""

    def scene(port: int) -> None:
        with PlainClient(port, data=False) as client:
            client.number("GetWD")
            client.data = client.data_socket()
            client.data.connect(("127.0.0.1", port + 1))
            wait_for(lambda: any(session.data for session in rig.sessions))
            client.send("DtEnable", 0, 1)
            assert client.scan(1, SIDE, SIDE) == 0
            client.fetch([0], SIDE * SIDE)

    rig = server()
    async with relayed_rig(rig) as relayed:
        await asyncio.to_thread(scene, relayed.relay.port)
        assert len(relayed.frames) == 1


async def test_an_image_connection_whose_port_was_rewritten_finds_its_session() -> None:
    """A client that announced another port than its data comes from is paired all the same when alone."""

    def scene(port: int) -> None:
        with PlainClient(port, data=False) as client:
            assert client.whole("TcpRegDataPort", 1) == 0
            client.data = client.data_socket()
            client.data.connect(("127.0.0.1", port + 1))
            client.send("DtEnable", 0, 1)
            assert client.scan(1, SIDE, SIDE) == 0
            client.fetch([0], SIDE * SIDE)

    async with relayed_rig(server()) as relayed:
        await asyncio.to_thread(scene, relayed.relay.port)


async def test_a_microscope_for_one_client_serves_the_relay_s_one() -> None:
    """A server in its firewall-friendly mode ignores announced ports; a second client is closed."""

    def scene(client: PlainClient) -> None:
        images(client)
        with socket.create_connection(("127.0.0.1", client.port), timeout=5) as second:
            assert is_closed(second)

    async with relayed_rig(server(faults=Faults(single_client=True))) as relayed:
        await through(scene, relayed.relay.port)


async def test_the_last_of_two_announcements_counts() -> None:
    """The image connection of the first one is given up, here and at the microscope."""

    def scene(port: int) -> None:
        with PlainClient(port, data=False) as client:
            client.data = client.data_socket()
            assert client.whole("TcpRegDataPort", 1) == 0
            assert client.whole("TcpRegDataPort", client.data.getsockname()[1]) == 0
            client.data.connect(("127.0.0.1", port + 1))
            wait_for(lambda: client.whole("ScGetSpeed") > 0 and rig.sessions[0].data is not None)
            client.send("DtEnable", 0, 1)
            assert client.scan(1, SIDE, SIDE) == 0
            client.fetch([0], SIDE * SIDE)

    rig = server()
    async with relayed_rig(rig) as relayed:
        await asyncio.to_thread(scene, relayed.relay.port)


async def test_a_stranger_on_the_data_port_is_turned_away() -> None:
    """With no session waiting, or with several, a data connection from an unknown port is closed."""

    def scene(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port + 1), timeout=5) as stranger:
            assert is_closed(stranger)
        with PlainClient(port, data=False) as one, PlainClient(port, data=False) as two:
            one.number("GetWD")
            two.number("GetWD")
            with socket.create_connection(("127.0.0.1", port + 1), timeout=5) as stranger:
                assert is_closed(stranger)

    async with relayed_rig(server()) as relayed:
        await asyncio.to_thread(scene, relayed.relay.port)


async def test_image_connections_may_be_closed_and_opened_again() -> None:
    """A second announcement in one session gives a second image connection."""

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        for frame_id in range(1, 4):
            assert client.scan(frame_id, SIDE, SIDE) == 0
            client.fetch([0], SIDE * SIDE)
            client.send("ScStopScan")
            assert client.data is not None
            client.data.close()
            wait_for(lambda: rig.sessions[0].data is None)
            client.data = client.data_socket()
            assert client.whole("TcpRegDataPort", client.data.getsockname()[1]) == 0
            client.data.connect(("127.0.0.1", client.port + 1))
            wait_for(lambda: rig.sessions[0].data is not None)

    rig = server()
    async with relayed_rig(rig) as relayed:
        await through(scene, relayed.relay.port)
        assert [frame.order.frame_id for frame in relayed.frames] == [1, 2, 3]


@pytest.mark.parametrize("side", [SIDE, 700])
async def test_a_scan_right_after_pairing_loses_nothing(side: int) -> None:
    """The announcement is answered when focusd's own image connection stands."""

    def scene(port: int) -> None:
        for _ in range(5):
            with PlainClient(port, data=False) as client:
                client.data = client.data_socket()
                assert client.whole("TcpRegDataPort", client.data.getsockname()[1]) == 0
                client.data.connect(("127.0.0.1", port + 1))
                client.send("DtEnable", 0, 1)
                assert client.scan(1, side, side) == 0
                client.fetch([0], side * side)
                client.send("ScStopScan")
                client.number("GetWD")

    async with relayed_rig(server()) as relayed:
        await asyncio.to_thread(scene, relayed.relay.port)
