"""What a refocus left open is settled at the next connect, without fighting anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from focusd.records import RefocusResult
from focusd.service.recovery import settle_open_entries
from focusd.store.database import open_store
from tests.fake_microscope import DEPTH_OF_FIELD_UM, FakeMicroscope
from tests.unit.service.test_supervisor import Bench, running


@pytest.mark.parametrize(
    ("found_mm", "expected_mm", "moves"),
    [
        pytest.param(9.012, 9.02, 1, id="where the refocus left it: put back"),
        pytest.param(9.02, 9.02, 0, id="already there: nothing to do"),
        pytest.param(11.5, 11.5, 0, id="an operator moved it since: left to him"),
    ],
)
async def test_settles_an_open_entry(tmp_path: Path, found_mm: float, expected_mm: float, moves: int) -> None:
    """The lens is put back only when it stands where the refocus sent it; the entry is closed in any case."""
    async with open_store(tmp_path, max_frames=100) as store:
        entry = await store.journal.open(7, 9.02, 0.0)
        await store.journal.command(entry.entry_id, 9.008)
        await store.journal.command(entry.entry_id, 9.012)
    microscope = FakeMicroscope(working_distance_mm=found_mm)

    async with open_store(tmp_path, max_frames=100) as store:
        settled = await settle_open_entries(store, microscope, tolerance_mm=0.001)
        pending = await store.journal.pending()

    assert settled == 1
    assert pending == []
    assert microscope.working_distance_mm == expected_mm
    assert len(microscope.visited_mm) == moves


async def test_settles_what_began_where_another_had_left_the_lens(tmp_path: Path) -> None:
    """Two entries are settled from the last to the first, so that the lens comes back all the way."""
    async with open_store(tmp_path, max_frames=100) as store:
        stuck = await store.journal.open(7, 9.02, 0.0)
        await store.journal.command(stuck.entry_id, 9.012)
        cut_off = await store.journal.open(8, 9.012, 0.0)
        await store.journal.command(cut_off.entry_id, 9.03)
        microscope = FakeMicroscope(working_distance_mm=9.03)
        await settle_open_entries(store, microscope, tolerance_mm=0.001)

        assert await store.journal.pending() == []
    assert microscope.working_distance_mm == 9.02


@pytest.mark.parametrize("is_moved_by_operator", [False, True])
async def test_a_lens_that_once_stuck_is_not_put_back_later(
    tmp_path: Path, is_moved_by_operator: bool
) -> None:
    """What a stuck lens owes ends when focus has been proven since, or an operator has moved the lens."""
    microscope = FakeMicroscope(working_distance_mm=9.0 + 4 * DEPTH_OF_FIELD_UM / 1000)

    def stick(moves: int) -> None:
        microscope.stuck = moves >= 2

    microscope.before_move = stick
    async with open_store(tmp_path, max_frames=100) as store, running(Bench(store, microscope)) as bench:
        supervisor = bench.supervisor
        stuck = await supervisor.start_refocus()
        stuck = await supervisor.wait_for_refocus(stuck.refocus_id)
        owed = await store.journal.pending()
        microscope.before_move, microscope.stuck = lambda _: None, False
        if is_moved_by_operator:
            await supervisor.set_working_distance(9.0)
        else:
            mended = await supervisor.start_refocus()
            mended = await supervisor.wait_for_refocus(mended.refocus_id)
            assert mended.result is RefocusResult.REFOCUSED
        left = await store.journal.pending()

    assert stuck.result is RefocusResult.WD_NOT_SETTABLE
    assert len(owed) == 1
    assert left == []
