"""Accepting connections."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from structlog.testing import capture_logs

from focusd.sources.relay.accepting import Acceptor, Start


class Listener(socket.socket):
    """A listening socket that fails as often as it is told to."""

    def __init__(self, *failures: int) -> None:
        super().__init__()
        self.failures = list(failures)
        self.setblocking(False)
        self.bind(("127.0.0.1", 0))
        self.listen()

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept, or fail."""
        if self.failures:
            raise OSError(self.failures.pop(0), "as told")
        return super().accept()


@contextmanager
def accepting(listener: Listener, start: Start) -> Iterator[int]:
    """Accept for the length of a block; give the port."""
    with closing(Acceptor(listener, start)) as acceptor:
        yield acceptor.port


async def taken(*failures: int) -> list[tuple[str, int]]:
    """Connect once to a listener that fails first, and give where the accepted connection is from."""
    came = asyncio.Event()
    addresses: list[tuple[str, int]] = []

    def start(connection: socket.socket, address: tuple[str, int]) -> None:
        assert not connection.getblocking()
        connection.close()
        addresses.append(address)
        came.set()

    with (
        accepting(Listener(*failures), start) as port,
        socket.create_connection(("127.0.0.1", port)) as client,
    ):
        await asyncio.wait_for(came.wait(), 5)
        assert addresses == [client.getsockname()]
    return addresses


async def test_a_connection_is_handed_over() -> None:
    """With the address it comes from."""
    assert len(await taken()) == 1


async def test_one_that_has_gone_again_is_nothing() -> None:
    """The next one is taken at once."""
    with capture_logs() as events:
        await taken(errno.ECONNABORTED, errno.EAGAIN)

    assert events == []


async def test_without_sockets_it_waits_a_moment() -> None:
    """It is logged, not tried in a loop, and goes on by itself."""
    with capture_logs() as events:
        await taken(errno.EMFILE)

    assert [event["event"] for event in events] == ["relay_connection_not_accepted"]


async def test_what_cannot_be_taken_is_closed() -> None:
    """The client sees the end of its connection."""

    def start(_connection: socket.socket, _address: tuple[str, int]) -> None:
        raise OSError(errno.ENOTCONN, "gone")

    with (
        accepting(Listener(), start) as port,
        socket.create_connection(("127.0.0.1", port), timeout=5) as client,
    ):
        assert await asyncio.to_thread(client.recv, 1) == b""


async def test_after_the_end_nobody_is_let_in() -> None:
    """Neither after a pause that had begun."""
    listener = Listener(errno.EMFILE)

    def start(_connection: socket.socket, _address: tuple[str, int]) -> None:
        pytest.fail("nobody is to be let in")

    with accepting(listener, start) as port, socket.create_connection(("127.0.0.1", port), timeout=5):
        while listener.failures:
            await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
