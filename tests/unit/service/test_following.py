"""The lens goes to the focus predicted for the next tile, where it may, as safely as in a refocus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from focusd.config import Config
from focusd.errors import BusyError, LeasedError, LinkError, NotConnectedError
from focusd.frame import StagePosition
from focusd.records import RefocusResult
from focusd.service.following import LEFT_SETTING, Follower
from focusd.service.heartbeat import Heartbeat
from focusd.service.supervisor import Supervisor
from focusd.service.surface import Place
from focusd.service.turns import Checkpoint
from focusd.store.database import Store
from tests.fake_microscope import DEPTH_OF_FIELD_UM, REQUEST, FakeMicroscope
from tests.unit.service.surfaces_made import NEXT_MM, PLACES_MM, focus_mm, refocused, teach

NEXT = Place(*NEXT_MM)
START_MM = 9.0


class Bench:
    """A supervisor that has found focus here and there, and its microscope."""

    def __init__(self, store: Store, microscope: FakeMicroscope, **sections: Any) -> None:
        settings: dict[str, Any] = {
            "microscope": {"limits": {"working_distance_mm": microscope.limits_mm}},
            "scan": {"width": 192, "height": 192, "trigger": "request"},
            "refocus": {"depth_of_field_um": DEPTH_OF_FIELD_UM},
            "baseline": {"policy": "manual"},
        }
        for section, keys in sections.items():
            settings[section] = settings.get(section, {}) | keys
        self.store = store
        self.microscope = microscope
        self.config = Config.model_validate(settings)
        self.supervisor = Supervisor(self.config, store, connect=self._connect, heartbeat=Heartbeat())

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[FakeMicroscope]:
        yield self.microscope

    async def checkpoint(self, place: Place = NEXT, *, timeout_s: float = 10.0) -> Checkpoint:
        """Come to a checkpoint before a tile."""
        done = await self.supervisor.turns.checkpoint(place, timeout_s=timeout_s)
        assert done is not None
        return done

    async def refused(self) -> str:
        """Come to a checkpoint at which the lens must not move; give the reason."""
        done = await self.checkpoint()
        assert (done.action, done.working_distance_mm) == ("none", None)
        assert done.prediction is not None
        assert not done.prediction.applied
        assert self.microscope.visited_mm == []
        return done.prediction.reason


@asynccontextmanager
async def following(
    store: Store, microscope: FakeMicroscope | None = None, **sections: Any
) -> AsyncIterator[Bench]:
    """Run a daemon that knows a tilted specimen, its lens where a refocus has left it."""
    bench = Bench(store, microscope or FakeMicroscope(working_distance_mm=START_MM), **sections)
    await teach(bench.supervisor.surfaces)
    await Follower(bench.config, store, bench.supervisor.surfaces).note_refocus(refocused(START_MM))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bench.supervisor.run())
        try:
            async with asyncio.timeout(20):
                while not bench.supervisor.status.link.connected:
                    await asyncio.sleep(0)
            yield bench
        finally:
            task.cancel()


async def test_the_lens_goes_where_focus_is_predicted(store: Store) -> None:
    """Within its standard deviation of true focus; written down before, closed after, and told."""
    open_entries = []

    async def note(_: int) -> None:
        open_entries.extend(await store.journal.pending())

    async with following(store) as bench:
        bench.microscope.before_move = note
        done = await bench.checkpoint()
        again = await bench.checkpoint()
        status = bench.supervisor.status

    assert done.action == "moved"
    assert done.refocus is None
    assert done.prediction is not None
    assert done.prediction.applied
    assert done.working_distance_mm == done.prediction.readback_mm == bench.microscope.working_distance_mm
    error_um = abs(bench.microscope.working_distance_mm - focus_mm(NEXT_MM[0])) * 1000
    assert error_um < done.prediction.standard_deviation_um < DEPTH_OF_FIELD_UM
    [entry] = open_entries
    assert (entry.refocus_id, entry.original_working_distance_mm) == (None, START_MM)
    assert entry.commanded_mm == (bench.microscope.working_distance_mm,)
    assert await store.journal.pending() == []
    assert again.prediction is not None
    assert (again.action, again.prediction.reason) == ("none", "the lens is there already")
    assert status.counters.predicted_moves == 1
    assert status.working_distance_setpoint_mm == done.prediction.working_distance_mm


async def test_a_move_downwards_comes_from_below_as_every_move_does(store: Store) -> None:
    """The hysteresis of the lens is then that of a refocus."""
    microscope = FakeMicroscope(working_distance_mm=9.012)
    async with following(store, microscope) as bench:
        await store.settings.put(LEFT_SETTING, 9.012)
        done = await bench.checkpoint()

    below_mm, there_mm = microscope.visited_mm
    assert below_mm == pytest.approx(there_mm - 3 * DEPTH_OF_FIELD_UM / 1000)
    assert there_mm == done.working_distance_mm


async def test_without_a_position_nothing_moves(store: Store) -> None:
    """A checkpoint is what it was."""
    async with following(store) as bench:
        done = await bench.supervisor.turns.checkpoint(timeout_s=10.0)

    assert done == Checkpoint("none", None, None, None, None)
    assert bench.microscope.visited_mm == []


async def test_where_nothing_is_known_nothing_is_predicted(store: Store) -> None:
    """No refocus has told anything yet."""
    async with following(store) as bench:
        await bench.supervisor.surfaces.clear()
        done = await bench.checkpoint()

    assert (done.action, done.prediction) == ("none", None)


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"surface": {"move": False}}, "the configuration says so"),
        ({"refocus": {"mode": "advise"}}, "the configuration says so"),
        ({"surface": {"min_points": 8}}, "it rests on less than 8 points"),
        ({"surface": {"max_sd_depths": 0.1}}, "it is not known within 0.2 um"),
        ({"surface": {"max_step_um": 2.0}}, "it is farther away than 2 um"),
    ],
)
async def test_bounds_of_the_configuration_are_kept(
    store: Store, sections: dict[str, Any], reason: str
) -> None:
    """What is predicted is told all the same."""
    async with following(store, **sections) as bench:
        assert await bench.refused() == reason


async def test_the_limits_of_the_microscope_are_kept(store: Store) -> None:
    """No command goes past them."""
    microscope = FakeMicroscope(working_distance_mm=START_MM, limits_mm=(4.0, 9.003))
    async with following(store, microscope) as bench:
        assert await bench.refused() == "it lies outside the limits"


async def test_a_lens_that_somebody_has_moved_stays_there(store: Store) -> None:
    """By hand, or by the interface: it holds until the next refocus."""
    async with following(store) as bench:
        bench.microscope.working_distance_mm = 9.002
        by_hand = await bench.refused()
        bench.microscope.working_distance_mm = START_MM
        await bench.supervisor.set_working_distance(9.003)
        bench.microscope.visited_mm.clear()
        by_word = await bench.refused()

    assert by_hand == by_word == "the lens does not stand where a refocus has left it"


async def test_nothing_follows_while_focus_is_lost(store: Store) -> None:
    """After a refocus that failed the lens waits for one that succeeds; a probe changes nothing."""
    async with following(store) as bench:
        follower = Follower(bench.config, store, bench.supervisor.surfaces)
        await follower.note_refocus(refocused(START_MM, RefocusResult.NO_PEAK))
        reason = await bench.refused()
        await follower.note_refocus(refocused(START_MM))
        await follower.note_refocus(refocused(START_MM, RefocusResult.NOT_FOCUS_RELATED))
        done = await bench.checkpoint()

    assert reason == "the lens does not stand where a refocus has left it"
    assert done.action == "moved"


async def test_a_focus_that_contradicts_the_surface_stops_it(store: Store) -> None:
    """Until another point has settled which of them is right."""
    async with following(store) as bench:
        await teach(bench.supervisor.surfaces, ((0.05, 0.02),), lift_mm=0.03)

        assert await bench.refused() == "the focus found last contradicts the surface"


async def test_a_paused_daemon_keeps_its_hands_off(store: Store) -> None:
    """The prediction is told, the lens stays; so it does for others who scan."""
    async with following(store) as bench:
        await bench.supervisor.pause("lunch")
        assert await bench.refused() == "focusd is paused"
        await bench.supervisor.resume()
        await bench.supervisor.turns.take_lease("montage", 60.0, wait_s=1.0)
        with pytest.raises(LeasedError):
            await bench.checkpoint()

    assert bench.microscope.visited_mm == []


async def test_a_refocus_comes_first(store: Store) -> None:
    """Focus that is lost is looked for; tiles to be taken again are not left for the next one."""
    microscope = FakeMicroscope(working_distance_mm=START_MM, best_focus_mm=START_MM)
    async with following(store, microscope, baseline={"policy": "autofocus"}) as bench:
        await bench.supervisor.scan()
        bench.microscope.best_focus_mm = 9.014
        frame = await bench.microscope.scan(REQUEST)
        verdict, due = await bench.supervisor.judge(frame, is_awaited=True)
        done = await bench.checkpoint()
        next_one = await bench.checkpoint()

    assert due is not None
    assert done.action == "refocused"
    assert done.reacquire_from == verdict.frame_id
    assert done.prediction is None
    assert next_one.reacquire_from is None
    assert next_one.prediction is not None


async def test_a_lens_that_does_not_move_is_no_disaster(store: Store) -> None:
    """The checkpoint answers with the reason, the restore point is settled, and nothing follows any more."""
    microscope = FakeMicroscope(working_distance_mm=START_MM, stuck=True)
    async with following(store, microscope) as bench:
        done = await bench.checkpoint()
        after = await bench.checkpoint()

    assert done.action == "none"
    assert done.prediction is not None
    assert "the microscope is at 9.000000 mm" in done.prediction.reason
    assert microscope.working_distance_mm == START_MM
    assert await store.journal.pending() == []
    assert after.prediction is not None
    assert after.prediction.reason == "the lens does not stand where a refocus has left it"


async def test_a_link_lost_on_the_way_puts_the_lens_back_when_it_is_there_again(store: Store) -> None:
    """The restore point that was left open is settled before anything else is done."""
    moves = 0

    def lose(number: int) -> None:
        nonlocal moves
        moves = number
        if number == 1:
            bench.microscope.working_distance_mm = bench.microscope.visited_mm[0]
            raise LinkError("the cable was pulled")

    async with following(store) as bench:
        bench.microscope.before_move = lose
        with pytest.raises((LinkError, NotConnectedError)):
            await bench.checkpoint()
        [entry] = await store.journal.pending()
        async with asyncio.timeout(20):
            while await store.journal.pending():
                await asyncio.sleep(0.01)

    assert entry.original_working_distance_mm == START_MM
    assert bench.microscope.working_distance_mm == START_MM
    assert moves == 2


async def test_whoever_wants_to_scan_waits_for_the_move(store: Store) -> None:
    """Also when the one at the checkpoint has left: a move that has begun ends before a lease is given."""
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def wait(_: int) -> None:
        begun.set()
        await goes_on.wait()

    async with following(store) as bench:
        bench.microscope.before_move = wait
        leaving = asyncio.create_task(bench.checkpoint())
        await begun.wait()
        leaving.cancel()
        await asyncio.wait([leaving])
        assert bench.supervisor.turns.is_following
        with pytest.raises(BusyError, match="on its way"):
            await bench.supervisor.turns.take_lease("montage", 60.0, wait_s=0.01)
        lease = asyncio.create_task(bench.supervisor.turns.take_lease("montage", 60.0, wait_s=10.0))
        await asyncio.sleep(0)
        assert not lease.done()
        goes_on.set()
        await lease
        assert not bench.supervisor.turns.is_following

    assert bench.microscope.working_distance_mm == bench.microscope.visited_mm[-1] != START_MM


async def test_a_move_that_has_not_begun_is_not_made_behind_acquisitions_back(store: Store) -> None:
    """Whoever left before the owner of the microscope came to it scans by now."""
    scanning, goes_on = asyncio.Event(), asyncio.Event()

    async def wait(_: int) -> None:
        scanning.set()
        await goes_on.wait()

    async with following(store) as bench:
        bench.microscope.before_scan = wait
        scan = asyncio.create_task(bench.supervisor.scan())
        await scanning.wait()
        assert await bench.supervisor.turns.checkpoint(NEXT, timeout_s=0.05) is None
        goes_on.set()
        await scan
        await bench.supervisor.turns.take_lease("montage", 60.0, wait_s=10.0)

    assert bench.microscope.visited_mm == []


async def test_what_a_refocus_finds_is_the_next_point(store: Store) -> None:
    """Where the stage stands, with what the search says of its answer; the lens follows from there."""
    microscope = FakeMicroscope(working_distance_mm=9.02, best_focus_mm=focus_mm(0.07))
    microscope.stage = StagePosition(0.07, 0.0)
    async with following(store, microscope) as bench:
        record = await bench.supervisor.start_refocus()
        record = await bench.supervisor.wait_for_refocus(record.refocus_id)
        point = (await store.focus_points.list())[-1]
        left_mm = await store.settings.get(LEFT_SETTING)

    assert record.result is not None
    assert record.result.is_success
    assert (point.x_mm, point.y_mm, point.refocus_id) == (0.07, 0.0, record.refocus_id)
    assert point.point_id == len(PLACES_MM) + 1
    assert point.working_distance_mm == record.final_working_distance_mm == left_mm
    assert point.standard_deviation_um == record.focus_sd_um
    assert point.surprise is not None
    assert abs(point.surprise) < 4.0


async def test_where_the_stage_is_not_told_the_frame_says_where_it_was(store: Store) -> None:
    """An instrument without a stage of its own: acquisition knows where it has moved the specimen."""
    microscope = FakeMicroscope(working_distance_mm=START_MM, stage=None)
    async with following(store, microscope, baseline={"policy": "autofocus"}) as bench:
        await bench.supervisor.scan()
        before = len(await store.focus_points.list())
        microscope.best_focus_mm = 9.014
        frame = await microscope.scan(REQUEST)
        await bench.supervisor.judge(
            replace(frame, stage_position=StagePosition(0.14, 0.02)), is_awaited=True
        )
        done = await bench.checkpoint()
        points = (await store.focus_points.list())[before:]

    assert before == len(PLACES_MM)
    assert done.action == "refocused"
    assert [(point.x_mm, point.y_mm) for point in points] == [(0.14, 0.02)]
