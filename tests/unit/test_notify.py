"""Messages to systemd, read from a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from focusd.notify import Notifier, watchdog_interval_s


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Stand in for systemd: a datagram socket at ``notify`` in the test's directory."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


@pytest.fixture
def notifier(systemd: socket.socket) -> Notifier:
    """A notifier that talks to the stand-in."""
    return Notifier(systemd.getsockname())


def test_each_message_is_one_assignment(systemd: socket.socket, notifier: Notifier) -> None:
    """Every call sends the assignment that sd_notify(3) names."""
    sent = [
        notifier.ready(),
        notifier.watchdog(),
        notifier.stopping(),
        notifier.extend_timeout_usec(30_000_000),
    ]

    received = [systemd.recv(4096) for _ in sent]

    assert all(sent)
    assert received == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1", b"EXTEND_TIMEOUT_USEC=30000000"]


def test_status_is_utf8(systemd: socket.socket, notifier: Notifier) -> None:
    """The micro sign of a unit arrives as UTF-8."""
    assert notifier.status("monitoring: 0.4 µm off")

    assert systemd.recv(4096).decode() == "STATUS=monitoring: 0.4 µm off"


def test_a_status_cannot_smuggle_in_another_message(systemd: socket.socket, notifier: Notifier) -> None:
    """A line break in foreign text does not begin a second assignment."""
    notifier.status("link lost\nREADY=1\r\n\0STOPPING=1 \ud800")

    assert systemd.recv(4096) == b"STATUS=link lost READY=1 STOPPING=1 ?"


def test_a_long_status_is_cut_between_characters(systemd: socket.socket, notifier: Notifier) -> None:
    """A status longer than systemd reads is cut and still UTF-8."""
    notifier.status("x" + "µ" * 10_000)

    received = systemd.recv(65_536)

    assert len(received) <= 4096
    assert received.decode().endswith("µ")


def test_abstract_address() -> None:
    """An address that begins with @ is in the abstract namespace."""
    name = f"focusd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name)
        receiver.settimeout(5)

        assert Notifier("@" + name).ready()

        assert receiver.recv(64) == b"READY=1"


def test_without_systemd_there_is_nobody_to_tell() -> None:
    """No address means no message and no failure."""
    assert Notifier(None).ready()
    assert Notifier("").status("x")


@pytest.mark.parametrize("address", ["/nonexistent/notify", "x" * 500, "vsock:2:1234", "a\0b"])
def test_failures_are_given_back_and_never_raised(address: str) -> None:
    """A socket that is not there, or an address that cannot be one, gives False."""
    assert not Notifier(address).ready()


def test_a_supervisor_that_does_not_read_does_not_hold_the_daemon(systemd: socket.socket) -> None:
    """When the receiver's queue is full the call gives up instead of blocking the event loop."""
    notifier = Notifier(systemd.getsockname())

    outcomes = [
        notifier.watchdog() for _ in range(int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 2)
    ]

    assert not outcomes[-1]


@pytest.mark.parametrize(
    ("watchdog_usec", "watchdog_pid", "expected"),
    [
        ("30000000", None, 30.0),
        ("30000000", "42", 30.0),
        ("30000000", "43", None),
        (None, "42", None),
        ("", "42", None),
        ("0", "42", None),
        ("-5", "42", None),
        ("soon", "42", None),
    ],
)
def test_watchdog_interval(
    watchdog_usec: str | None, watchdog_pid: str | None, expected: float | None
) -> None:
    """Only a positive number meant for this process makes a watchdog."""
    assert watchdog_interval_s(watchdog_usec, watchdog_pid, 42) == expected
