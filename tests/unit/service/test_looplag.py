"""The daemon knows how late its event loop is."""

from __future__ import annotations

import asyncio
import time

from structlog.testing import capture_logs

from focusd.service.looplag import BOUND_S, CALM, PERIOD_S, SUMMARY_TICKS, WINDOW, LagSummary, LoopLag


async def test_a_stall_shows() -> None:
    """Work in the event loop makes the ticker late by as much as it takes."""
    summaries: asyncio.Queue[LagSummary] = asyncio.Queue()
    watching = asyncio.create_task(LoopLag(summaries.put_nowait).watch())

    calm = await summaries.get()
    await asyncio.sleep(0)
    time.sleep(PERIOD_S + 0.1)  # noqa: ASYNC251 - the very thing that must not be done
    stalled = await summaries.get()
    watching.cancel()
    await asyncio.wait([watching])

    assert 0.0 <= calm.p50 <= calm.p99 <= calm.max
    assert stalled.max >= 90.0
    assert stalled.p50 < 90.0


def test_the_last_minute_is_told_once_a_second() -> None:
    """Of the ticks of a minute: the middle, 99 of 100, and the worst; what is older is forgotten."""
    summaries: list[LagSummary] = []
    lag = LoopLag(summaries.append)

    lag.note(0.2)
    for number in range(WINDOW - 1):
        lag.note(0.001 + 0.00001 * (number >= WINDOW - 10))
    assert len(summaries) == WINDOW // SUMMARY_TICKS
    assert summaries[-1] == LagSummary(p50=1.0, p99=1.01, max=200.0)
    for _ in range(SUMMARY_TICKS):
        lag.note(0.001)

    assert summaries[-1].max == 1.01


def test_a_late_loop_is_logged_once_an_episode() -> None:
    """Only after a minute without a long lag is the next one news."""
    lag = LoopLag()
    late, well = 2 * BOUND_S, BOUND_S

    with capture_logs() as events:
        for late_s in (well, late, well, late):
            lag.note(late_s)
        assert len(events) == 1
        for _ in range(CALM):
            lag.note(well)
        lag.note(late)

    assert [event["event"] for event in events] == ["event_loop_late"] * 2
    assert events[0]["lag_ms"] == 1000 * late
