"""A daemon that hangs is ended and started again by a real systemd; a microscope that hangs is no reason."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.system.machine import Machine, until
from tests.system.rig import MICROSCOPE, clear, is_connected, start

UNIT = "focusd.service"
WATCHDOG_S = 4.0

QUICK = f"""
[Service]
WatchdogSec={WATCHDOG_S:g}s
RestartSec=100ms
Environment=PYTHONPATH=/opt/hanging
"""
"""As shipped, only sooner."""

HANGING = '''
"""Lets a test hang the event loop (SIGUSR1) or every statement of SQLite (SIGUSR2)."""
import functools, signal, sqlite3, threading, time

may_work = threading.Event()
may_work.set()

def hang_the_loop(number, frame):
    time.sleep(3600)

def hang_sqlite(number, frame):
    may_work.clear()

class Connection(sqlite3.Connection):
    def execute(self, *arguments):
        may_work.wait()
        return super().execute(*arguments)

sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)
signal.signal(signal.SIGUSR1, hang_the_loop)
signal.signal(signal.SIGUSR2, hang_sqlite)
'''


@pytest.fixture
def watched(guest: Machine) -> Iterator[Machine]:
    """The guest with a daemon that is connected, and watched closely."""
    guest.write("/opt/hanging/sitecustomize.py", HANGING)
    guest.drop_in(UNIT, QUICK)
    start(guest, with_fresh_microscope=False)
    yield guest
    clear(guest)


def is_back(guest: Machine) -> bool:
    """Whether systemd has started the daemon once more and it is connected."""
    return guest.show(UNIT, "NRestarts") == "1" and is_connected(guest)


def test_a_process_that_stands_still_is_started_again(watched: Machine) -> None:
    """SIGSTOP stops every thread: the watchdog runs out, and the daemon is replaced."""
    hung = watched.main_pid(UNIT)

    watched.kill(UNIT, signal.SIGSTOP)

    until(lambda: is_back(watched))
    assert watched.main_pid(UNIT) != hung
    assert "Watchdog timeout (limit 4s)!" in watched.journal(UNIT)


def test_a_hung_event_loop_is_started_again_and_its_line_is_in_the_journal(watched: Machine) -> None:
    """The stacks of all threads are written down before the process ends."""
    begun = watched.cursor()

    watched.kill(UNIT, signal.SIGUSR1)

    until(lambda: is_back(watched))
    said = watched.run("journalctl", "--unit", UNIT, "--output=cat", f"--after-cursor={begun}")
    assert "Fatal Python error: Aborted" in said
    assert 'sitecustomize.py", line 8 in hang_the_loop' in said


def test_a_hung_database_is_started_again(watched: Machine) -> None:
    """The event loop runs on, and still the watchdog starves: nothing could be kept any more."""
    begun = watched.cursor()

    watched.kill(UNIT, signal.SIGUSR2)

    until(lambda: watched.events(UNIT, "no_progress", since=begun))
    assert watched.events(UNIT, "no_progress", since=begun)[0]["stuck"] == ["the store"]
    until(lambda: is_back(watched))


def test_a_microscope_that_hangs_does_not_starve_it(watched: Machine) -> None:
    """It is told of as a lost link for longer than the watchdog waits, and the daemon runs on."""
    daemon = watched.main_pid(UNIT)
    begun = watched.cursor()

    watched.kill(MICROSCOPE, signal.SIGSTOP)

    until(lambda: watched.events(UNIT, "link_down", since=begun))
    limit = time.monotonic() + 2 * WATCHDOG_S
    until(lambda: time.monotonic() > limit)
    assert (watched.main_pid(UNIT), watched.show(UNIT, "NRestarts")) == (daemon, "0")
    watched.kill(MICROSCOPE, signal.SIGCONT)
    until(lambda: is_connected(watched))
