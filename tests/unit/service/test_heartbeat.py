"""Promises of progress: each stands for as long as it was given."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from focusd.service.heartbeat import OWN_WORK_S, OWNER, Heartbeat


@dataclass
class Clock:
    """Seconds that pass when told."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_owner_has_its_waits_and_its_own_work() -> None:
    """What it waits for others comes on top of the time for its own work; after both it counts as hanging."""
    clock = Clock()
    heartbeat = Heartbeat(clock)

    heartbeat.expect(5.0)
    clock.now += 5.0 + OWN_WORK_S
    assert heartbeat.is_alive
    clock.now += 0.1
    assert heartbeat.overdue == (OWNER,)


def test_each_step_takes_the_place_of_the_one_before() -> None:
    """After a long wait for the microscope the owner's own work has no more time than always."""
    clock = Clock()
    heartbeat = Heartbeat(clock)

    heartbeat.expect(1000.0)
    heartbeat.expect()
    clock.now += OWN_WORK_S + 0.1

    assert not heartbeat.is_alive


def test_work_beside_the_owner_has_promises_of_its_own() -> None:
    """A frame that hangs is overdue though the owner goes on; when it has ended nothing is."""
    clock = Clock()
    heartbeat = Heartbeat(clock)

    with heartbeat.promise("judging a frame"), heartbeat.promise("judging a frame"):
        clock.now += OWN_WORK_S + 0.1
        heartbeat.expect()
        assert heartbeat.overdue == ("judging a frame",)

    assert heartbeat.is_alive


def test_a_promise_ends_with_its_work_also_when_that_fails() -> None:
    """An error is no hang."""
    clock = Clock()
    heartbeat = Heartbeat(clock)

    with pytest.raises(ZeroDivisionError), heartbeat.promise("judging a frame"):
        divmod(1, 0)
    clock.now += 10 * OWN_WORK_S
    heartbeat.expect()

    assert heartbeat.is_alive


def test_a_queue_that_moves_breaks_no_promise() -> None:
    """Frames wait for those before them: as long as one is judged now and then, none is overdue."""
    clock = Clock()
    heartbeat = Heartbeat(clock)

    with heartbeat.promise("judging a frame"):
        for _ in range(10):
            with heartbeat.promise("judging a frame"):
                clock.now += OWN_WORK_S - 1.0
        heartbeat.expect()
        assert heartbeat.is_alive
        with heartbeat.promise("something else"):
            clock.now += OWN_WORK_S + 0.1
        assert "judging a frame" in heartbeat.overdue


def test_work_that_is_cancelled_moves_no_queue() -> None:
    """Clients that come and go while a thread hangs do not make the daemon look well."""
    clock = Clock()
    heartbeat = Heartbeat(clock)

    with heartbeat.promise("judging a frame"):
        clock.now += OWN_WORK_S - 1.0
        with pytest.raises(asyncio.CancelledError), heartbeat.promise("judging a frame"):
            raise asyncio.CancelledError
        clock.now += 1.1

        assert "judging a frame" in heartbeat.overdue
