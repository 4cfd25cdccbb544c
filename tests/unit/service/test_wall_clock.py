"""The wall clock is set while the daemon runs: nothing is missed or done twice, and no time is negative."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from focusd.records import RefocusRecord, RefocusResult
from focusd.service.status import DaemonState
from focusd.store.database import Store
from tests.fake_microscope import FakeMicroscope
from tests.unit.service.test_supervisor import Bench, running

DAY_S = 86_400.0
YEAR_2038_S = 2.0**31
JUMPS: dict[str, Callable[[float], float]] = {
    "30 days on": lambda now: now + 30 * DAY_S,
    "30 days back": lambda now: now - 30 * DAY_S,
    "an hour on": lambda now: now + 3600.0,
    "an hour back": lambda now: now - 3600.0,
    "to 2038": lambda _: YEAR_2038_S + 1.0,
    "to 1970": lambda _: 1.0,
}
START_MM = 9.012


@dataclass
class WallClock:
    """A wall clock that can be set, in place of the computer's."""

    ahead_s: float = 0.0

    def __post_init__(self) -> None:
        self._true = time.time

    def __call__(self) -> float:
        return self._true() + self.ahead_s

    def set(self, jump: Callable[[float], float]) -> None:
        """Set it."""
        self.ahead_s += jump(self()) - self()


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """Put a clock that can be set in place of the computer's."""
    clock = WallClock()
    monkeypatch.setattr(time, "time", clock)
    return clock


STATES = ("learning", "scanning", "moving", "monitoring", "suspect", "lost", "paused", "degraded")


async def life(store: Store, wall: WallClock, jump: Callable[[float], float], at: str) -> list[RefocusRecord]:
    """Live through every state, with a jump of the clock in one of them; give all refocuses."""

    def pass_through(state: str) -> None:
        if state == at:
            wall.set(jump)

    microscope = FakeMicroscope(
        working_distance_mm=START_MM,
        before_scan=lambda number: pass_through("scanning") if number == 3 else None,
        before_move=lambda number: pass_through("moving") if number == 2 else None,
    )
    bench = Bench(store, microscope, refocus={"attempts": 2, "probe_suspicion": False})
    verbs = bench.supervisor
    records = []

    async def scan() -> None:
        answer = await verbs.scan()
        if answer.refocus is not None:
            records.append(answer.refocus)

    async with running(bench):
        pass_through("learning")
        await scan()
        pass_through("monitoring")
        await scan()
        microscope.best_focus_mm += 0.014
        await scan()
        pass_through("suspect")
        await scan()
        pass_through("lost")
        await scan()
        await verbs.pause("for a while")
        pass_through("paused")
        await verbs.resume()
        await scan()
        # A lens that does not move is left alone after two failures, until the cool-down ends.
        microscope.best_focus_mm += 0.014
        microscope.stuck = True
        for _ in range(6):
            await scan()
        assert bench.state is DaemonState.DEGRADED
        pass_through("degraded")
        for _ in range(3):
            await scan()
        assert bench.state is DaemonState.DEGRADED
        status = verbs.status
    assert status.link.reconnects == 0
    return records


@pytest.mark.parametrize("state", STATES)
async def test_the_clock_may_be_set_in_any_state(store: Store, wall: WallClock, state: str) -> None:
    """The same refocuses with the same results as on a clock that goes on, and each took some time."""
    jump = list(JUMPS.values())[STATES.index(state) % len(JUMPS)]
    records = await life(store, wall, jump, state)

    failed = [record for record in records if record.result and record.result.is_failure]
    assert [record.result for record in records[:2]] == [RefocusResult.REFOCUSED] * 2
    assert len(failed) == 2 == len(records) - 2
    assert len({record.refocus_id for record in records}) == len(records)
    for record in records:
        assert record.duration_s is not None
        assert 0.0 <= record.duration_s < 30.0
    stored = [await store.refocuses.get(record.refocus_id) for record in records]
    assert stored == records


@pytest.mark.parametrize("jump", JUMPS)
async def test_leases_and_frames_fall_due_by_a_clock_that_is_not_set(
    store: Store, wall: WallClock, jump: str
) -> None:
    """A scan lease neither ends early nor holds for ever, and frames are taken as before."""
    bench = Bench(store, FakeMicroscope(), scan={"trigger": "interval", "interval_s": 0.0})
    turns = bench.supervisor.turns
    async with running(bench):
        await bench.until(lambda: bench.supervisor.status.counters.frames_judged >= 2)
        lease = await turns.take_lease("a test", 60.0, wait_s=10.0)
        wall.set(JUMPS[jump])
        (held,) = bench.supervisor.status.scan_leases
        assert 0.0 < held.expires_in_s <= 60.0
        judged = bench.supervisor.status.counters.frames_judged
        turns.end_lease(lease.lease_id)
        await bench.until(lambda: bench.supervisor.status.counters.frames_judged >= judged + 2)
        assert bench.supervisor.is_alive
        assert not bench.supervisor.status.counters.refocuses_failed
