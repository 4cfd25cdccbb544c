"""The pool of threads knows when one of them hangs."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from focusd.service.workers import LEFT_BEHIND, LONGEST_WORK_S, NICENESS, Workers


def test_a_thread_that_hangs_is_told_of() -> None:
    """Work that goes on longer than any takes is overdue, until it ends."""
    now = 0.0
    begun, gate = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        gate.wait(30)

    with Workers(lambda: now) as workers:
        assert workers.submit(sum, (1, 2)).result(5) == 3
        hung = workers.submit(hang)
        assert begun.wait(5)
        now = LONGEST_WORK_S
        assert not workers.overdue
        now += 1.0
        assert workers.overdue == ("a thread",)
        gate.set()
        hung.result(5)
        assert not workers.overdue


def test_work_that_fails_has_ended() -> None:
    """Its error goes to whoever waits, and no thread counts as hanging."""
    now = 0.0
    with Workers(lambda: now) as workers:
        with pytest.raises(ZeroDivisionError):
            workers.submit(divmod, 1, 0).result(5)
        now = 10 * LONGEST_WORK_S

        assert not workers.overdue


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all threads of a process have one priority")
def test_the_threads_step_behind_the_event_loop() -> None:
    """A worker has a lower priority than the thread that made it, whose own stays as it is."""

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness()
    with Workers() as workers:
        assert workers.submit(niceness).result(5) == min(before + NICENESS, 19)
        assert niceness() == before


def test_a_thread_that_hangs_is_left_behind() -> None:
    """The end of the pool waits a moment, not for ever, and marks the thread for whoever ends the process."""
    gate = threading.Event()
    workers = Workers()
    hung = workers.submit(gate.wait, 30)
    try:
        workers.shutdown()

        assert [thread for thread in threading.enumerate() if thread.name.startswith(LEFT_BEHIND)]
    finally:
        gate.set()
    assert hung.result(5)


def test_idle_threads_are_not_left_behind() -> None:
    """Threads without work end with the pool."""
    workers = Workers()
    workers.submit(int).result(5)

    workers.shutdown()

    assert not [thread for thread in threading.enumerate() if thread.name.startswith(LEFT_BEHIND)]
