"""What a refocus left open is settled at the next connect, without fighting anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from focusd.service.recovery import settle_open_entries
from focusd.store.database import open_store
from tests.fake_microscope import FakeMicroscope


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
