"""The watchdog is fed on proof of progress only: read from a real datagram socket, with real threads."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from focusd.errors import StoreError
from focusd.notify import Notifier
from focusd.service.watchdog import feed
from focusd.store.file import DatabaseFile

WATCHDOG_S = 0.15
Signs = Mapping[str, Callable[[], Awaitable[object]]]


class Systemd:
    """Stands in for systemd: counts what it is fed."""

    def __init__(self, receiver: socket.socket) -> None:
        self._receiver = receiver
        self.notifier = Notifier(receiver.getsockname())

    async def next_meal(self, within_s: float = 5.0) -> None:
        """Wait for the next ``WATCHDOG=1``."""
        async with asyncio.timeout(within_s):
            assert await asyncio.get_running_loop().sock_recv(self._receiver, 64) == b"WATCHDOG=1"

    async def starves(self) -> bool:
        """Whether nothing comes for three periods, after what is already there."""
        while self._waiting():
            await self.next_meal()
        try:
            await self.next_meal(3 * WATCHDOG_S)
        except TimeoutError:
            return True
        return False

    def _waiting(self) -> bool:
        try:
            self._receiver.recv(64, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """A datagram socket in the test's directory."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        yield Systemd(receiver)


@asynccontextmanager
async def feeding(
    systemd: Systemd, overdue: Callable[[], tuple[str, ...]] = tuple, signs: Signs | None = None
) -> AsyncIterator[None]:
    """Feed for the length of an ``async with`` block."""
    task = asyncio.create_task(feed(systemd.notifier, overdue, signs or {}, watchdog_s=WATCHDOG_S))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_it_is_fed_several_times_in_its_period(systemd: Systemd) -> None:
    """While all is well, meals come."""
    async with feeding(systemd):
        for _ in range(4):
            await systemd.next_meal()


async def test_a_broken_promise_starves_it_until_it_is_kept_again(systemd: Systemd) -> None:
    """What is overdue is named in the log; a daemon that has recovered is not ended."""
    stuck: tuple[str, ...] = ("the owner of the microscope",)
    with capture_logs() as events:
        async with feeding(systemd, lambda: stuck):
            assert await systemd.starves()
            stuck = ()
            await systemd.next_meal()

    assert events[0] == {
        "event": "no_progress",
        "log_level": "error",
        "stuck": ["the owner of the microscope"],
    }


async def test_a_database_that_hangs_starves_it(systemd: Systemd, tmp_path: Path) -> None:
    """The store's one thread waits inside a statement, as on a disk that does not answer: no meal comes."""
    file = DatabaseFile(tmp_path / "state")
    await file.open()
    gate = threading.Event()
    try:
        async with feeding(systemd, signs={"the store": lambda: file.read(lambda _: None)}):
            await systemd.next_meal()
            hung = asyncio.create_task(file.read(lambda _: gate.wait(30)))
            with capture_logs() as events:
                assert await systemd.starves()
            gate.set()
            assert await hung
            await systemd.next_meal()
    finally:
        gate.set()
        await file.close()

    assert events[0]["stuck"] == ["the store"]


async def test_threads_that_all_hang_starve_it(systemd: Systemd) -> None:
    """With no thread left for a frame the daemon is no use."""
    gate = threading.Event()
    async with feeding(systemd, signs={"the threads": lambda: asyncio.to_thread(gate.wait, 30)}):
        assert await systemd.starves()
        gate.set()
        await systemd.next_meal()


async def test_a_refusal_is_a_sign_of_life(systemd: Systemd) -> None:
    """A full disk makes the store refuse; that is reported elsewhere, and a restart would mend nothing."""

    async def refuses() -> None:
        raise StoreError("the disk is full")

    async with feeding(systemd, signs={"the store": refuses}):
        await systemd.next_meal()
        await systemd.next_meal()
