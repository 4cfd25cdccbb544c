"""The daemon's life with a microscope: first focus, loss, refocus, reconnect, pause, verbs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from focusd.config import Config
from focusd.errors import (
    BusyError,
    LinkError,
    NotConnectedError,
    NotFoundError,
    PausedError,
    WorkingDistanceLimitError,
)
from focusd.records import RefocusResult, RefocusTrigger, Verdict
from focusd.service.heartbeat import Heartbeat
from focusd.service.status import DaemonState
from focusd.service.supervisor import Supervisor
from focusd.store.database import Store, open_store
from tests.fake_microscope import DEPTH_OF_FIELD_UM, FakeMicroscope


class Bench:
    """A supervisor with its microscope, which can be unplugged."""

    def __init__(self, store: Store, microscope: FakeMicroscope, **sections: Any) -> None:
        settings: dict[str, Any] = {
            "microscope": {"limits": {"working_distance_mm": microscope.limits_mm}},
            "scan": {"width": 192, "height": 192, "trigger": "request"},
            "refocus": {"depth_of_field_um": DEPTH_OF_FIELD_UM, "probe_suspicion": False},
            "drift": {"frames_below": 2, "frames_window": 3},
        }
        for section, keys in sections.items():
            settings[section] = settings.get(section, {}) | keys
        self.microscope = microscope
        self.connections = 0
        self.refused = 0
        self.supervisor = Supervisor(Config(**settings), store, connect=self._connect, heartbeat=Heartbeat())

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[FakeMicroscope]:
        if self.refused:
            self.refused -= 1
            raise LinkError("connection refused")
        self.connections += 1
        yield self.microscope

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the status says so."""
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)

    @property
    def state(self) -> DaemonState:
        """The daemon's state."""
        return self.supervisor.status.state


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    """Run the supervisor for the length of a ``with`` block."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bench.supervisor.run())
        try:
            await bench.until(lambda: bench.supervisor.status.link.connected or task.done())
            yield bench
        finally:
            task.cancel()


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Give an empty store."""
    async with open_store(tmp_path, max_frames=1000) as store:
        yield store


async def test_first_frame_is_focused_and_becomes_the_baseline(store: Store) -> None:
    """Under policy autofocus the first frame leads to a refocus whose verified picture is the baseline."""
    bench = Bench(store, FakeMicroscope(working_distance_mm=9.012))
    async with running(bench):
        answer = await bench.supervisor.scan()
        again = await bench.supervisor.scan()

    assert answer.verdict.verdict is Verdict.LEARNING
    assert answer.refocus is not None
    assert answer.refocus.trigger is RefocusTrigger.FIRST_FRAME
    assert answer.refocus.result is RefocusResult.REFOCUSED
    assert again.verdict.verdict is Verdict.IN_FOCUS
    assert abs(bench.microscope.working_distance_mm - 9.0) * 1000 < DEPTH_OF_FIELD_UM


async def test_lost_focus_is_found_again(store: Store) -> None:
    """When the specimen's height changes, the second blurred frame leads to a refocus that follows it."""
    bench = Bench(store, FakeMicroscope())
    async with running(bench):
        await bench.supervisor.scan()
        bench.microscope.best_focus_mm = 9.014
        suspect = await bench.supervisor.scan()
        lost = await bench.supervisor.scan()
        after = await bench.supervisor.scan()

    assert suspect.verdict.verdict is Verdict.SUSPECT
    assert lost.verdict.verdict is Verdict.OUT_OF_FOCUS
    assert lost.verdict.reacquire_from == suspect.verdict.frame_id
    assert lost.refocus is not None
    assert lost.refocus.trigger is RefocusTrigger.DRIFT
    assert after.verdict.verdict is Verdict.IN_FOCUS
    assert abs(bench.microscope.working_distance_mm - 9.014) * 1000 < DEPTH_OF_FIELD_UM


async def test_frames_are_taken_at_their_interval(store: Store) -> None:
    """With trigger interval nobody has to ask."""
    bench = Bench(store, FakeMicroscope(), scan={"trigger": "interval", "interval_s": 0.0})
    async with running(bench):
        await bench.until(lambda: bench.supervisor.status.counters.frames_judged >= 4)


async def test_a_place_where_focus_was_not_the_matter_is_left_alone(store: Store) -> None:
    """A change of specimen is probed once at its place, no failure, and not probed there again."""
    bench = Bench(store, FakeMicroscope())
    async with running(bench):
        await bench.supervisor.scan()
        baseline = bench.supervisor.status.baseline
        assert baseline is not None
        # What was fine at the reference is not to be had any more, though the lens stands in focus.
        demanding = {name: value * 3 for name, value in baseline.sharpness.items()}
        await bench.supervisor.put_baseline(replace(baseline, sharpness=demanding))
        answers = [await bench.supervisor.scan() for _ in range(9)]
        status = bench.supervisor.status

    refocuses = [answer.refocus for answer in answers if answer.refocus]
    assert [record.result for record in refocuses] == [RefocusResult.NOT_FOCUS_RELATED]
    assert bench.microscope.working_distance_mm == 9.0
    assert status.counters.refocuses_failed == 0
    assert status.state is not DaemonState.DEGRADED


async def test_a_frame_that_the_probe_vouches_for_teaches_the_reference(store: Store) -> None:
    """After the look the reference has come down to what the specimen is like now; the baseline has not."""
    bench = Bench(store, FakeMicroscope(), refocus={"place_cool_down_s": 0})
    async with running(bench):
        await bench.supervisor.scan()
        baseline = bench.supervisor.status.baseline
        assert baseline is not None
        demanding = replace(baseline, sharpness={name: v * 1.5 for name, v in baseline.sharpness.items()})
        await bench.supervisor.put_baseline(demanding)
        answers = [await bench.supervisor.scan() for _ in range(9)]
        status = bench.supervisor.status

    looks = [answer.refocus.result for answer in answers if answer.refocus]
    assert looks == [RefocusResult.NOT_FOCUS_RELATED]
    assert answers[-1].verdict.verdict is Verdict.IN_FOCUS
    assert status.baseline == demanding


async def test_whoever_waits_for_a_verdict_has_the_first_suspicion_probed(store: Store) -> None:
    """On request one blurred frame is enough for the probe, and focus is found again before the answer."""
    bench = Bench(store, FakeMicroscope(), refocus={"probe_suspicion": True})
    async with running(bench):
        await bench.supervisor.scan()
        bench.microscope.best_focus_mm += 6 * DEPTH_OF_FIELD_UM / 1000
        answer = await bench.supervisor.scan()
        again = await bench.supervisor.scan()

    assert answer.verdict.verdict is Verdict.SUSPECT
    assert answer.refocus is not None
    assert answer.refocus.result is RefocusResult.REFOCUSED
    assert again.verdict.verdict is Verdict.IN_FOCUS


@pytest.mark.parametrize(
    "sections",
    [
        {"refocus": {"probe_suspicion": True, "probe": False}},
        {
            "refocus": {"probe_suspicion": True, "mode": "advise"},
            "baseline": {"policy": "learn", "learn_frames": 1},
        },
    ],
)
async def test_without_a_probe_one_suspicion_moves_nothing(store: Store, sections: dict[str, Any]) -> None:
    """A single frame is no alarm where nothing looks into it."""
    bench = Bench(store, FakeMicroscope(), **sections)
    async with running(bench):
        await bench.supervisor.scan()
        bench.microscope.best_focus_mm += 6 * DEPTH_OF_FIELD_UM / 1000
        answer = await bench.supervisor.scan()

    assert answer.verdict.verdict is Verdict.SUSPECT
    assert answer.refocus is None


async def test_a_place_left_alone_is_looked_at_again_when_focus_is_lost_there(store: Store) -> None:
    """That the specimen has changed explains the frame as it was then, not a blurred one."""
    bench = Bench(store, FakeMicroscope())
    async with running(bench):
        await bench.supervisor.scan()
        baseline = bench.supervisor.status.baseline
        assert baseline is not None
        demanding = {name: value * 1.6 for name, value in baseline.sharpness.items()}
        await bench.supervisor.put_baseline(replace(baseline, sharpness=demanding))
        before = [await bench.supervisor.scan() for _ in range(6)]
        bench.microscope.best_focus_mm += 6 * DEPTH_OF_FIELD_UM / 1000
        after = [await bench.supervisor.scan() for _ in range(3)]

    results = [[a.refocus.result for a in answers if a.refocus] for answers in (before, after)]
    assert results[0] == [RefocusResult.NOT_FOCUS_RELATED]
    assert RefocusResult.REFOCUSED in results[1]


async def test_advise_never_moves(store: Store) -> None:
    """In mode advise focusd says once that it would refocus, and keeps its hands off."""
    bench = Bench(store, FakeMicroscope(), refocus={"mode": "advise"}, baseline={"policy": "manual"})
    with capture_logs() as events:
        async with running(bench):
            await bench.supervisor.scan()
            await bench.supervisor.capture_baseline()
            bench.microscope.best_focus_mm = 9.02
            for _ in range(4):
                await bench.supervisor.scan()
            assert bench.state is DaemonState.PENDING

    assert bench.microscope.visited_mm == []
    assert [event["event"] for event in events].count("refocus_advised") == 1


async def test_gives_up_after_some_failures_and_goes_on_judging(store: Store) -> None:
    """Failed refocuses in a row end as degraded; frames are still judged, the lens stays."""
    bench = Bench(
        store,
        FakeMicroscope(),
        refocus={"attempts": 2, "max_change_um": 6.0},
        baseline={"policy": "autofocus"},
    )
    async with running(bench):
        await bench.supervisor.scan()
        start_mm = bench.microscope.working_distance_mm
        bench.microscope.best_focus_mm = 9.02
        answers = [await bench.supervisor.scan() for _ in range(5)]

        assert bench.state is DaemonState.DEGRADED
        assert "refocus failed" in bench.supervisor.status.reason
        assert len([a for a in answers if a.refocus]) == 2
        assert bench.microscope.working_distance_mm == start_mm

        bench.microscope.best_focus_mm = start_mm
        record = await bench.supervisor.start_refocus()
        record = await bench.supervisor.wait_for_refocus(record.refocus_id)
        assert record.result is RefocusResult.CONFIRMED_IN_FOCUS
        await bench.until(lambda: bench.state is not DaemonState.REFOCUSING)
        assert bench.state is not DaemonState.DEGRADED


async def test_only_one_refocus_at_a_time(store: Store) -> None:
    """Of many that ask at once one is admitted; the others are told its id."""
    bench = Bench(store, FakeMicroscope(working_distance_mm=9.01))
    async with running(bench):
        results = await asyncio.gather(
            *[bench.supervisor.start_refocus() for _ in range(20)], return_exceptions=True
        )
        admitted = [r for r in results if not isinstance(r, BaseException)]
        refused = [r for r in results if isinstance(r, BusyError)]
        assert (len(admitted), len(refused)) == (1, 19)
        record = await bench.supervisor.wait_for_refocus(admitted[0].refocus_id)

    assert record.result is RefocusResult.REFOCUSED
    assert await store.refocuses.get(record.refocus_id) == record


async def test_cancel_puts_back(store: Store) -> None:
    """A cancelled refocus is over within one scan, and the lens stands where it stood."""
    scanning = asyncio.Event()

    async def hang() -> None:
        scanning.set()
        await asyncio.Event().wait()

    microscope = FakeMicroscope(working_distance_mm=9.02, before_scan=lambda n: hang() if n == 3 else None)
    bench = Bench(store, microscope)
    async with running(bench):
        record = await bench.supervisor.start_refocus()
        await scanning.wait()
        assert bench.state is DaemonState.REFOCUSING
        with pytest.raises(NotFoundError):
            bench.supervisor.cancel_refocus(record.refocus_id + 1)
        bench.supervisor.cancel_refocus(record.refocus_id)
        record = await bench.supervisor.wait_for_refocus(record.refocus_id)

    assert record.result is RefocusResult.CANCELLED
    assert microscope.working_distance_mm == 9.02


async def test_stopping_in_the_middle_of_a_refocus_puts_back(store: Store) -> None:
    """The daemon does not leave the lens on the way."""
    scanning = asyncio.Event()

    async def hang() -> None:
        scanning.set()
        await asyncio.Event().wait()

    microscope = FakeMicroscope(working_distance_mm=9.02, before_scan=lambda n: hang() if n == 3 else None)
    bench = Bench(store, microscope)
    async with running(bench):
        record = await bench.supervisor.start_refocus()
        await scanning.wait()

    assert microscope.working_distance_mm == 9.02
    stored = await store.refocuses.get(record.refocus_id)
    assert stored is not None
    assert stored.result is RefocusResult.CANCELLED


async def test_pause_keeps_the_hands_off_and_survives_a_restart(store: Store) -> None:
    """Paused, focusd neither scans nor refocuses; it stays so until resumed, also over a restart."""
    microscope = FakeMicroscope()
    bench = Bench(store, microscope, scan={"trigger": "interval", "interval_s": 0.0})
    async with running(bench):
        await bench.until(lambda: bench.supervisor.status.counters.frames_judged >= 2)
        await bench.supervisor.pause("changing the specimen")

    scans = microscope.scans
    bench = Bench(store, microscope, scan={"trigger": "interval", "interval_s": 0.0})
    async with running(bench):
        await bench.until(lambda: bench.state is DaemonState.PAUSED)
        assert bench.supervisor.status.reason == "changing the specimen"
        with pytest.raises(PausedError, match="changing the specimen"):
            await bench.supervisor.scan()
        with pytest.raises(PausedError):
            await bench.supervisor.start_refocus()
        assert microscope.scans == scans
        await bench.supervisor.resume()
        await bench.until(lambda: bench.supervisor.status.counters.frames_judged >= 1)


async def test_comes_back_after_a_lost_link_and_settles_what_was_open(store: Store) -> None:
    """A link lost in the middle of a refocus is made again, and the lens is put back first."""
    microscope = FakeMicroscope(working_distance_mm=9.02)

    def lose(number: int) -> None:
        if number == 3:
            bench.refused = 2
            raise LinkError("connection reset")

    microscope.before_scan = lose
    bench = Bench(store, microscope)
    with capture_logs() as events:
        async with running(bench):
            record = await bench.supervisor.start_refocus()
            record = await bench.supervisor.wait_for_refocus(record.refocus_id)
            assert record.result is RefocusResult.LINK_LOST
            await bench.until(lambda: bench.state is DaemonState.DISCONNECTED)
            with pytest.raises(NotConnectedError):
                await bench.supervisor.scan()
            await bench.until(lambda: bench.connections == 2 and bench.state is not DaemonState.DISCONNECTED)
            await bench.until(lambda: bench.microscope.working_distance_mm == 9.02)
            assert (await bench.supervisor.scan()).verdict.frame_id > 0

    names = [event["event"] for event in events]
    assert names.count("link_down") == 1
    assert names.count("link_up") == 2
    assert "restore_point_settled" in names


async def test_a_damaged_restore_point_keeps_the_hands_off(tmp_path: Path) -> None:
    """When nobody can tell where the lens stood, focusd moves nothing until an operator resumes it."""
    async with open_store(tmp_path, max_frames=100) as store:
        await store.journal.open(7, 9.02, 0.0)
    with sqlite3.connect(tmp_path / "focusd.db") as connection:
        connection.execute("UPDATE journal SET record = replace(record, '9.02', '9.03')")
    connection.close()

    async with open_store(tmp_path, max_frames=100) as store:
        bench = Bench(store, FakeMicroscope(working_distance_mm=9.012))
        async with running(bench):
            assert bench.state is DaemonState.DEGRADED
            assert "check the working distance by hand" in bench.supervisor.status.reason
            assert (await bench.supervisor.scan()).refocus is None
            assert bench.microscope.visited_mm == []
            await bench.supervisor.resume()
            assert (await bench.supervisor.scan()).refocus is not None


async def test_operator_moves_within_the_limits(store: Store) -> None:
    """A working distance set by hand is read back; one outside the limits never reaches the microscope."""
    bench = Bench(store, FakeMicroscope())
    async with running(bench):
        assert await bench.supervisor.set_working_distance(9.5) == 9.5
        with pytest.raises(WorkingDistanceLimitError, match="between 4 and 30 mm, got 31 mm"):
            await bench.supervisor.set_working_distance(31.0)

    assert bench.microscope.visited_mm == [9.5]


async def test_unknown_refocus_is_not_found(store: Store) -> None:
    """Asking for a refocus that never was is an error that says so."""
    bench = Bench(store, FakeMicroscope())
    async with running(bench):
        with pytest.raises(NotFoundError, match="no refocus 77"):
            await bench.supervisor.get_refocus(77)
