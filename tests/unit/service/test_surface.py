"""The focus surface in the service: which points count together, and when those before are forgotten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from focusd.config import Config
from focusd.frame import StagePosition
from focusd.microscope.interface import MicroscopeState
from focusd.records import RefocusResult
from focusd.service.surface import MAX_AGE_S, Place, Surfaces
from focusd.store.database import Store, open_store
from tests.unit.service.surfaces_made import (
    CONDITIONS,
    NEXT_MM,
    PLACES_MM,
    focus_mm,
    refocused,
    teach,
)

STATE = MicroscopeState(
    working_distance_mm=9.0,
    field_of_view_um=1.92,
    detector="SE",
    stage_position=StagePosition(0.0, 0.0, z_mm=5.0, tilt_deg=0.0, rotation_deg=0.0),
)
LEVEL = StagePosition(z_mm=5.0, tilt_deg=0.0, rotation_deg=0.0)


class Clock:
    """Seconds since 1970, a minute more at each look."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


class StoppedClock(Clock):
    """The same second at each look."""

    def __call__(self) -> float:
        return self.now


def make_surfaces(store: Store, clock: Clock | None = None, **sections: Any) -> Surfaces:
    """Build the surfaces of a daemon."""
    settings = {"microscope": {"limits": {"working_distance_mm": [4.0, 30.0]}}, "scan": {"width": 192}}
    return Surfaces(Config.model_validate(settings | sections), store, wall_clock=clock or Clock())


async def test_focus_is_predicted_from_what_refocuses_found(store: Store) -> None:
    """Between points of a tilted specimen, within what is said of it."""
    surfaces = make_surfaces(store)
    await teach(surfaces, at=LEVEL)
    surface = await surfaces.now(STATE)

    assert surface is not None
    [told] = await surfaces.predict(surface, [Place(*NEXT_MM)])
    error_um = (told.working_distance_mm - focus_mm(NEXT_MM[0])) * 1000
    assert abs(error_um) < told.standard_deviation_um < 2.0
    assert surface.fit.points == len(PLACES_MM)
    assert surface.condition == CONDITIONS.key
    assert not surface.is_doubted


async def test_points_are_there_after_a_restart(tmp_path: Path) -> None:
    """The next daemon predicts the same."""
    clock = Clock()
    async with open_store(tmp_path, max_frames=100) as store:
        await teach(make_surfaces(store, clock))
    async with open_store(tmp_path, max_frames=100) as store:
        surface = await make_surfaces(store, clock).now(STATE)

    assert surface is not None
    assert [(point.x_mm, point.y_mm) for point in surface.points] == list(PLACES_MM)


async def test_where_focus_was_confirmed_the_search_knows_it_better_than_the_lens(store: Store) -> None:
    """The lens stays where it is near enough; the point is where the search says that focus is."""
    surfaces = make_surfaces(store)
    stayed = refocused(9.0, RefocusResult.CONFIRMED_IN_FOCUS, focus_mm=9.0006)
    await surfaces.learn(stayed, CONDITIONS, StagePosition(0.0, 0.0))
    await surfaces.learn(refocused(9.0, focus_mm=9.0006), CONDITIONS, StagePosition(0.0, 0.0))

    assert [point.working_distance_mm for point in await store.focus_points.list()] == [9.0006, 9.0]


@pytest.mark.parametrize(
    "stage",
    [
        None,
        StagePosition(),
        StagePosition(x_mm=1.0),
        StagePosition(y_mm=1.0, z_mm=2.0),
        StagePosition(x_mm=1e200, y_mm=1.0),
    ],
)
async def test_a_refocus_at_an_unknown_place_tells_nothing(store: Store, stage: StagePosition | None) -> None:
    """An instrument whose stage is not told has no surface."""
    surfaces = make_surfaces(store)
    await surfaces.learn(refocused(9.0), CONDITIONS, stage)

    assert await surfaces.now(STATE) is None
    assert await surfaces.all() == []


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"stage_position": StagePosition(3.0, 3.0, 5.0005, 0.05, 0.01)}, True),
        ({"stage_position": None, "detector": None, "field_of_view_um": None}, True),
        ({"field_of_view_um": 1.93}, True),
        ({"stage_position": StagePosition(z_mm=5.002)}, False),
        ({"stage_position": StagePosition(tilt_deg=0.5)}, False),
        ({"stage_position": StagePosition(rotation_deg=90.0)}, False),
        ({"accelerating_voltage_kv": 3.0}, False),
        ({"detector": "BSE"}, False),
        ({"field_of_view_um": 3.84}, False),
    ],
)
async def test_points_are_void_where_focus_is_another(
    store: Store, changes: dict[str, Any], counts: bool
) -> None:
    """Height, tilt, rotation, voltage, detector or field of view; what is not told contradicts nothing."""
    surfaces = make_surfaces(store)
    await teach(surfaces, conditions=replace(CONDITIONS, accelerating_voltage_kv=5.0), at=LEVEL)

    surface = await surfaces.now(replace(STATE, **({"accelerating_voltage_kv": 5.0} | changes)))

    assert (surface is not None) is counts


async def test_each_height_and_label_has_a_surface_of_its_own(store: Store) -> None:
    """That of the newest point comes first, and none knows of the others."""
    surfaces, labelled = make_surfaces(store), replace(CONDITIONS, label="wafer")
    await teach(surfaces, PLACES_MM[:3], at=StagePosition(z_mm=5.0))
    await teach(surfaces, PLACES_MM[:2], at=StagePosition(z_mm=4.0), lift_mm=1.0)
    await teach(surfaces, PLACES_MM[:1], at=StagePosition(z_mm=4.0), conditions=labelled)

    found = await surfaces.all()

    assert [len(one.points) for one in found] == [1, 2, 3]
    assert [one.points[0].stage_position.z_mm for one in found] == [4.0, 4.0, 5.0]
    assert all(point.surprise is None or abs(point.surprise) < 4 for one in found for point in one.points)


async def test_points_grow_old(store: Store) -> None:
    """After two days focus has wandered by more than they can tell."""
    clock = Clock()
    surfaces = make_surfaces(store, clock)
    await teach(surfaces)
    clock.now += MAX_AGE_S

    assert await surfaces.now(STATE) is None


async def test_one_contradiction_is_doubted_and_the_next_point_settles_it(store: Store) -> None:
    """A refocus gone wrong costs nothing but a pause of predictions."""
    surfaces = make_surfaces(store)
    await teach(surfaces)
    await teach(surfaces, ((0.05, 0.02),), lift_mm=0.03)
    doubted = await surfaces.now(STATE)
    await teach(surfaces, ((0.05, 0.0),))
    settled = await surfaces.now(STATE)

    assert doubted is not None
    assert doubted.is_doubted
    assert settled is not None
    assert not settled.is_doubted
    assert settled.fit.left_out == (len(PLACES_MM),)
    [told] = await surfaces.predict(settled, [Place(*NEXT_MM)])
    assert abs(told.working_distance_mm - focus_mm(NEXT_MM[0])) * 1000 < 1.0


async def test_two_contradictions_in_a_row_begin_a_new_surface(store: Store) -> None:
    """The specimen is another, or has a step: what was before would mislead."""
    surfaces = make_surfaces(store)
    await teach(surfaces)
    with capture_logs() as events:
        await teach(surfaces, ((0.05, 0.02), (0.06, 0.0)), lift_mm=0.03)
    afresh = await surfaces.now(STATE)

    assert afresh is not None
    assert [(point.x_mm, point.y_mm) for point in afresh.points] == [(0.05, 0.02), (0.06, 0.0)]
    assert not afresh.is_doubted
    begun = [event for event in events if event["event"] == "focus_surface_started_afresh"]
    assert [event["points_forgotten"] for event in begun] == [len(PLACES_MM)]


async def test_an_operator_forgets_them_all(store: Store) -> None:
    """For another specimen."""
    surfaces = make_surfaces(store)
    await teach(surfaces)

    assert await surfaces.clear() == len(PLACES_MM)
    assert await surfaces.now(STATE) is None


async def test_numbers_beyond_arithmetic_give_no_surface_and_no_harm(store: Store) -> None:
    """Points surer than a computer can tell apart: a refocus goes on, and nothing is predicted."""
    surfaces = make_surfaces(store, StoppedClock(), refocus={"depth_of_field_um": 1e-12})
    places = [(73.1 * number % 400.0, 31.7 * number % 300.0) for number in range(8)]
    with capture_logs() as events:
        for x_mm, y_mm in places:
            record = refocused(9.0, focus_sd_um=1e-12)
            await surfaces.learn(record, CONDITIONS, StagePosition(x_mm, y_mm))
        surface = await surfaces.now(STATE)

    assert surface is None
    assert len(await store.focus_points.list()) == len(places)
    assert any(event["event"] == "focus_surface_not_fitted" for event in events)
