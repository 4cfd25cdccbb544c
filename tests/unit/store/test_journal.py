"""The journal: what was written down is there after any death of the process."""

from __future__ import annotations

import asyncio
import math
import sys
from pathlib import Path

import pytest

from focusd.errors import StoreError
from focusd.records import RestorePoint
from focusd.store.database import Store, open_store
from focusd.store.journal import MAX_CLOSED_ENTRIES

# A refocus that never ends: each place is printed only after it was written down.
WRITER = """
import asyncio, sys
from pathlib import Path
from focusd.store.database import open_store
from tests.unit.store.records_made import verdict

async def main():
    async with open_store(Path(sys.argv[1]), max_frames=100_000) as store:
        entry = await store.journal.open(7, 9.0, 1_700_000_000.0)
        place = 0
        while True:
            place += 1
            await store.journal.command(entry.entry_id, 9.0 + place / 1024)
            await store.frames.append(verdict(await store.frames.next_id()))
            print(place, flush=True)

asyncio.run(main())
"""


async def test_a_restore_point_lives_until_it_is_closed(directory: Path) -> None:
    """An open entry is pending with all its places, also after a restart; a closed one is not."""
    async with open_store(directory, max_frames=100) as store:
        entry = await store.journal.open(7, 9.0, 1_700_000_000.0)
        await store.journal.command(entry.entry_id, 9.01)
        await store.journal.command(entry.entry_id, 9.02)
        await store.journal.best(entry.entry_id, 9.01)
    async with open_store(directory, max_frames=100) as store:
        pending = await store.journal.pending()
        await store.journal.close(entry.entry_id, "put_back")
    async with open_store(directory, max_frames=100) as store:
        left = await store.journal.pending()

    assert pending == [RestorePoint(entry.entry_id, 7, 9.0, 1_700_000_000.0, (9.01, 9.02), 9.01)]
    assert left == []


async def test_what_is_in_focus_ends_what_was_owed_before(store: Store) -> None:
    """Entries left open are not settled after a later one has ended well; those that came later stay."""
    entries = [await store.journal.open(number, 9.0, 1.0) for number in (1, 2, 3)]

    await store.journal.close(entries[1].entry_id, "refocused", supersedes=True)
    left = await store.journal.pending()
    await store.journal.supersede()

    assert left == [entries[2]]
    assert await store.journal.pending() == []


async def test_open_entries_are_given_oldest_first(store: Store) -> None:
    """Two entries left open are settled in the order in which they were made."""
    entries = [await store.journal.open(number, 9.0, 1.0) for number in (5, 4, 3)]
    await store.journal.close(entries[1].entry_id, "put_back")

    assert await store.journal.pending() == [entries[0], entries[2]]


async def test_no_move_without_an_open_entry(store: Store) -> None:
    """A closed or unknown entry takes no more places, so that nothing moves unrecorded."""
    entry = await store.journal.open(7, 9.0, 1.0)
    await store.journal.close(entry.entry_id, "refocused")

    for entry_id in (entry.entry_id, 99):
        with pytest.raises(StoreError, match=f"no open journal entry {entry_id}"):
            await store.journal.command(entry_id, 9.1)
        with pytest.raises(StoreError, match="no open journal entry"):
            await store.journal.close(entry_id, "refocused")


@pytest.mark.parametrize("place", [math.nan, math.inf])
async def test_a_place_that_is_no_number_is_refused(store: Store, place: float) -> None:
    """A working distance that is not finite is never written down, and so never commanded."""
    entry = await store.journal.open(7, 9.0, 1.0)

    with pytest.raises(StoreError, match="cannot be written down"):
        await store.journal.command(entry.entry_id, place)
    with pytest.raises(StoreError, match="cannot be written down"):
        await store.journal.open(8, place, 1.0)

    assert await store.journal.pending() == [entry]


async def test_old_closed_entries_go_and_open_ones_stay(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal does not grow for ever, but no open entry is ever dropped."""
    monkeypatch.setattr("focusd.store.journal.MAX_CLOSED_ENTRIES", 5)
    forgotten = await store.journal.open(0, 9.0, 1.0)
    for number in range(1, 20):
        entry = await store.journal.open(number, 9.0, 1.0)
        await store.journal.close(entry.entry_id, "refocused")

    count = await store._file.read(
        lambda connection: connection.execute("SELECT count(*) FROM journal").fetchone()
    )

    assert MAX_CLOSED_ENTRIES == 1000
    assert await store.journal.pending() == [forgotten]
    assert count == (6,)


@pytest.mark.parametrize("lines", [1, 7, 30])
async def test_kill_loses_nothing_that_was_told(directory: Path, lines: int) -> None:
    """After kill -9 the open entry holds every place that the writer was told is written down."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(directory), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    for _ in range(lines):
        assert await process.stdout.readline()
    process.kill()
    told = [lines, *(int(line) for line in (await process.stdout.read()).split(b"\n")[:-1])]
    await process.wait()

    async with open_store(directory, max_frames=100_000) as store:
        (entry,) = await store.journal.pending()
        frames = await store.frames.page(None, 100_000)
        problems = store.problems

    assert entry.original_working_distance_mm == 9.0
    assert set(entry.commanded_mm) >= {9.0 + place / 1024 for place in range(1, max(told) + 1)}
    assert len(entry.commanded_mm) <= max(told) + 1
    assert {one.frame_id for one in frames} >= set(range(1, max(told) + 1))
    assert problems == ()
