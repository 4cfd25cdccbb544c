"""References: one spectrum in focus for each imaging condition, found by condition, forgotten together."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from focusd.frame import ImagingConditions
from focusd.records import Reference
from focusd.store.database import Store, open_store
from tests.unit.store.records_made import any_record, spectra

CONDITIONS = ImagingConditions(256, 256, 8, dwell_time_us=1.0, pixel_size_nm=10.0, detector="SE")


def reference(conditions: ImagingConditions = CONDITIONS, created_at: float = 1.0) -> Reference:
    """Make a reference."""
    return Reference(conditions, spectra(1).spectra[0], created_at)


@settings(deadline=None, max_examples=15)
@given(made=any_record(Reference))
async def test_a_reference_comes_back(made: Reference) -> None:
    """Any reference is found after a restart exactly as it was put."""
    with tempfile.TemporaryDirectory() as directory:
        async with open_store(Path(directory), max_frames=100) as store:
            await store.references.put(made)
        async with open_store(Path(directory), max_frames=100) as store:
            assert await store.references.find(made.conditions) == made


async def test_the_newest_that_may_be_compared_is_found(store: Store) -> None:
    """A pixel size within two percent may; another dwell time or shape may not."""
    newest = reference(replace(CONDITIONS, pixel_size_nm=10.1), created_at=2.0)
    await store.references.put(newest)
    await store.references.put(reference())

    assert await store.references.find(CONDITIONS) == newest
    assert await store.references.find(replace(CONDITIONS, dwell_time_us=2.0)) is None
    assert await store.references.find(replace(CONDITIONS, rows=128)) is None


async def test_there_is_one_for_a_condition(store: Store) -> None:
    """A new one takes the place of the old one."""
    await store.references.put(reference(created_at=2.0))
    await store.references.put(reference(created_at=1.0))

    assert await store.references.find(CONDITIONS) == reference(created_at=1.0)


async def test_the_oldest_goes_when_there_are_too_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many conditions there are, the table does not grow without end."""
    monkeypatch.setattr("focusd.store.references.MAX_REFERENCES", 2)
    labelled = [replace(CONDITIONS, label=label) for label in ("a", "b", "c")]
    for age, conditions in zip((3.0, 1.0, 2.0), labelled, strict=True):
        await store.references.put(reference(conditions, created_at=age))

    found = [await store.references.find(conditions) for conditions in labelled]

    assert [one is not None for one in found] == [True, False, True]


async def test_all_that_look_alike_are_forgotten_together(store: Store) -> None:
    """Those of the same detector, voltage, pixel size and label, whatever part of the frame they show."""
    whole = replace(CONDITIONS, rows=1024, columns=1024, dwell_time_us=3.0)
    other = replace(CONDITIONS, detector="BSE")
    for conditions in (CONDITIONS, whole, other):
        await store.references.put(reference(conditions))

    await store.references.delete_like(replace(CONDITIONS, rows=512, columns=512))

    found = [await store.references.find(conditions) for conditions in (CONDITIONS, whole, other)]
    assert found == [None, None, reference(other)]


@pytest.mark.parametrize("table", ["focus_references", "spectra"])
async def test_a_damaged_spectrum_is_put_by_and_reported(directory: Path, table: str) -> None:
    """A changed figure is noticed: the row is not used, but kept for whoever looks into it."""
    async with open_store(directory, max_frames=100) as store:
        await store.references.put(reference())
        await store.spectra.put(spectra(1))
    with closing(sqlite3.connect(directory / "focusd.db")) as connection, connection:
        connection.execute(f"UPDATE {table} SET record = replace(record, '12.5', '13.5')")  # noqa: S608 - its own

    async with open_store(directory, max_frames=100) as store:
        found = [await store.references.find(CONDITIONS), await store.spectra.get(1)]
        problems = [(problem.code, problem.source) for problem in store.problems]

    assert [one is None for one in found] == [table == "focus_references", table == "spectra"]
    assert problems == [("row_damaged", table)]
    with closing(sqlite3.connect(directory / "focusd.db")) as connection:
        assert connection.execute("SELECT source FROM damaged").fetchall() == [(table,)]
