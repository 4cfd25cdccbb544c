"""Attempts, inbox and status board: each does its one thing."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from focusd.config import Config, Limits, MicroscopeSettings
from focusd.errors import LinkError, NotConnectedError, ScanRefusedError
from focusd.records import FrameVerdict, RefocusResult, Verdict
from focusd.service.attempts import ELSEWHERE, Attempts
from focusd.service.jobs import Inbox
from focusd.service.status import DaemonState, LinkStatus, Status
from focusd.service.supervisor import initial_board
from tests.fake_microscope import FakeMicroscope
from tests.unit.store.records_made import refocus


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_attempts_are_exhausted_until_the_cool_down_has_passed() -> None:
    """After the allowed failures there is a pause, then one try at a time."""
    clock = Clock()
    attempts = Attempts(2, 60.0, clock)

    attempts.failed()
    assert not attempts.exhausted
    attempts.failed()
    assert attempts.exhausted
    clock.now += 61
    assert not attempts.exhausted
    attempts.failed()
    assert attempts.exhausted
    attempts.reset()
    assert not attempts.exhausted


def test_failures_at_other_places_each_are_borne_longer() -> None:
    """One place with nothing to focus on must not stop a scan of many; many of them in a row must."""
    attempts = Attempts(2, 60.0, Clock())

    for _ in range(2 * ELSEWHERE - 1):
        attempts.failed(elsewhere=True)
        assert not attempts.exhausted

    attempts.failed(elsewhere=True)
    assert attempts.exhausted


def test_a_second_failure_at_the_last_place_counts() -> None:
    """Failures elsewhere before it change nothing."""
    attempts = Attempts(2, 60.0, Clock())

    attempts.failed(elsewhere=True)
    attempts.failed(elsewhere=True)
    assert not attempts.exhausted
    attempts.failed()
    assert attempts.exhausted


async def test_inbox_hands_over_answers() -> None:
    """Who left a job gets what its action returned."""
    inbox = Inbox()
    inbox.open()
    microscope = FakeMicroscope(working_distance_mm=8.5)
    answer = inbox.put("reading", lambda m: m.get_working_distance())

    job = await inbox.get(1.0)
    assert job is not None
    await job.carry_out(microscope)

    assert await answer == 8.5


async def test_inbox_keeps_a_callers_error_from_the_owner() -> None:
    """An error of one job goes to its caller; the owner goes on."""
    inbox = Inbox()
    inbox.open()

    async def refuse(_: object) -> None:
        raise ScanRefusedError("no")

    answer = inbox.put("a scan", refuse)
    job = await inbox.get(1.0)
    assert job is not None
    await job.carry_out(FakeMicroscope())

    with pytest.raises(ScanRefusedError):
        await answer


async def test_inbox_tells_the_owner_of_a_lost_link() -> None:
    """A lost link concerns the caller and the owner."""
    inbox = Inbox()
    inbox.open()

    async def lose(_: object) -> None:
        raise LinkError("gone")

    answer = inbox.put("a scan", lose)
    job = await inbox.get(1.0)
    assert job is not None
    with pytest.raises(LinkError):
        await job.carry_out(FakeMicroscope())
    with pytest.raises(LinkError):
        await answer


async def test_closing_the_inbox_refuses_what_waits_and_what_comes() -> None:
    """Nobody waits for an answer that cannot come."""
    inbox = Inbox()
    inbox.open()
    answer = inbox.put("a scan", lambda m: m.get_working_distance())

    inbox.close("connection reset")

    with pytest.raises(NotConnectedError, match="a scan was not done: connection reset"):
        await answer
    with pytest.raises(NotConnectedError, match="connection reset"):
        inbox.put("a scan", lambda m: m.get_working_distance())


async def test_inbox_gives_nothing_after_its_timeout() -> None:
    """An owner with nothing asked of it gets its turn back."""
    assert await Inbox().get(0.0) is None


async def test_a_waking_owner_looks_round_at_once() -> None:
    """A wake-up ends a long wait without a job."""
    inbox = Inbox()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(inbox.get(60.0))
        inbox.wake()

    assert waiting.result() is None


def verdict(verdict: Verdict) -> FrameVerdict:
    """Make a verdict with nothing else in it."""
    return FrameVerdict(1, 0.0, verdict, "c", None, "m", None, None, None, None, None, None, None, None, None)


def test_board_says_in_one_word_what_is_so() -> None:
    """The state follows from link, pause, failures and the last verdict, the strongest first."""
    board = initial_board(
        Config(microscope=MicroscopeSettings(limits=Limits(working_distance_mm=(4.0, 30.0))))
    )
    states: list[tuple[DaemonState, str]] = []

    def look() -> None:
        states.append((board.current.state, board.current.reason))

    look()
    board.update(link=LinkStatus(connected=True, address="a:1", since=0.0))
    look()
    board.update(last_verdict=verdict(Verdict.SUSPECT))
    look()
    board.update(last_verdict=verdict(Verdict.OUT_OF_FOCUS))
    look()
    board.set_degraded("two refocuses failed")
    look()
    board.set_paused("maintenance")
    look()
    board.set_paused(None)
    board.set_degraded(None)
    board.update(link=LinkStatus(connected=False, address="a:1", since=0.0, error="gone"))
    look()

    assert states == [
        (DaemonState.DISCONNECTED, "not connected yet"),
        (DaemonState.LEARNING, ""),
        (DaemonState.SUSPECT, ""),
        (DaemonState.PENDING, ""),
        (DaemonState.DEGRADED, "two refocuses failed"),
        (DaemonState.PAUSED, "maintenance"),
        (DaemonState.DISCONNECTED, "gone"),
    ]


@pytest.mark.parametrize(
    ("result", "frame_id", "state"),
    [
        (RefocusResult.REFOCUSED, 1, DaemonState.LEARNING),
        (RefocusResult.NOT_FOCUS_RELATED, 1, DaemonState.LEARNING),
        (RefocusResult.BLIND, 1, DaemonState.LEARNING),
        (RefocusResult.REFOCUSED, 0, DaemonState.PENDING),
        (RefocusResult.NO_PEAK, 1, DaemonState.PENDING),
        (RefocusResult.CANCELLED, 1, DaemonState.PENDING),
    ],
)
def test_an_alarm_that_was_dealt_with_is_not_pending(
    result: RefocusResult, frame_id: int, state: DaemonState
) -> None:
    """Once a refocus has answered the alarm of a frame, acquisition need not wait for the next one."""
    board = initial_board(
        Config(microscope=MicroscopeSettings(limits=Limits(working_distance_mm=(4.0, 30.0))))
    )
    board.update(
        link=LinkStatus(connected=True, address="a:1", since=0.0), last_verdict=verdict(Verdict.OUT_OF_FOCUS)
    )
    assert board.current.state is DaemonState.PENDING

    board.update(last_refocus=replace(refocus(1), frame_id=frame_id, result=result))

    assert board.current.state is state


def test_board_tells_of_changes_of_state_or_reason_only() -> None:
    """Listeners hear of a new state and of why it is, not of each new snapshot."""
    board = initial_board(
        Config(microscope=MicroscopeSettings(limits=Limits(working_distance_mm=(4.0, 30.0))))
    )
    heard: list[Status] = []
    board.listen(heard.append)

    board.update(link=LinkStatus(connected=False, address="a:1", since=0.0, error="refused"))
    board.update(link=LinkStatus(connected=True, address="a:1", since=0.0))
    board.update(working_distance_setpoint_mm=9.0)

    assert [(status.state, status.reason) for status in heard] == [
        (DaemonState.DISCONNECTED, "refused"),
        (DaemonState.LEARNING, ""),
    ]
