"""Focus points: kept in order over restarts, bounded, and forgotten at an operator's word."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.frame import ImagingConditions, StagePosition
from focusd.records import FocusPoint
from focusd.store.database import Store, open_store
from tests.unit.store.records_made import any_record

POINT = FocusPoint(
    point_id=0,
    refocus_id=1,
    found_at=1_800_000_000.0,
    x_mm=1.5,
    y_mm=-2.0,
    stage_position=StagePosition(x_mm=1.5, y_mm=-2.0, z_mm=12.25, tilt_deg=0.0),
    working_distance_mm=9.0,
    standard_deviation_um=0.4,
    conditions=ImagingConditions(256, 256, 8, dwell_time_us=1.0, pixel_size_nm=10.0, detector="SE"),
)


@settings(deadline=None, max_examples=15)
@given(made=st.lists(any_record(FocusPoint), max_size=4))
async def test_points_come_back_in_their_order(made: list[FocusPoint]) -> None:
    """Any points are read after a restart as they were appended, numbered from 1."""
    with tempfile.TemporaryDirectory() as directory:
        async with open_store(Path(directory), max_frames=100) as store:
            kept = [await store.focus_points.append(one) for one in made]
        async with open_store(Path(directory), max_frames=100) as store:
            assert await store.focus_points.list() == kept

    assert kept == [replace(one, point_id=number) for number, one in enumerate(made, 1)]


async def test_the_oldest_goes_when_there_are_too_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the daemon runs, the table does not grow without end."""
    monkeypatch.setattr("focusd.store.focus_points.MAX_POINTS", 3)
    for _ in range(5):
        await store.focus_points.append(POINT)

    assert [one.point_id for one in await store.focus_points.list()] == [3, 4, 5]


async def test_some_or_all_are_forgotten(store: Store) -> None:
    """The rest stays, and how many went is told."""
    kept = [await store.focus_points.append(POINT) for _ in range(4)]
    await store.focus_points.delete(kept[:1])
    left = await store.focus_points.list()
    told = await store.focus_points.clear()

    assert left == kept[1:]
    assert told == 3
    assert await store.focus_points.list() == []
    assert await store.focus_points.clear() == 0


async def test_a_damaged_point_is_put_by_and_reported(directory: Path) -> None:
    """A changed figure is noticed, and the point is not used."""
    async with open_store(directory, max_frames=100) as store:
        kept = [await store.focus_points.append(POINT) for _ in range(2)]
    with closing(sqlite3.connect(directory / "focusd.db")) as connection, connection:
        connection.execute(
            "UPDATE focus_points SET record = replace(record, '12.25', '12.26') WHERE point_id = 1"
        )

    async with open_store(directory, max_frames=100) as store:
        assert await store.focus_points.list() == kept[1:]
        assert [(problem.code, problem.source) for problem in store.problems] == [
            ("row_damaged", "focus_points")
        ]
