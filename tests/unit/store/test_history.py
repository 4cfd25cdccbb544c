"""A long history: what goes when, in what steps, and that nothing has to look through all of it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from focusd.errors import StoreError
from focusd.frame import FrameFile
from focusd.records import RefocusResult
from focusd.store.database import Store, open_store
from focusd.store.file import DatabaseFile
from focusd.store.frames import TRIM_ROWS, Frames
from focusd.store.housekeeping import keep_house
from tests.unit.store.records_made import notes_under, refocus, spectra, verdict

DAY_S = 86_400.0
GROWING = ("frames", "refocuses", "files")
"""Tables without a bound that is always small."""


@asynccontextmanager
async def frames_kept(directory: Path, now: list[float], **limits: int) -> AsyncIterator[Frames]:
    """Open the table of verdicts with a clock that stands at ``now[0]``."""
    file = DatabaseFile(directory)
    await file.open()
    try:
        yield await Frames.load(file, clock=lambda: now[0], **limits)
    finally:
        await file.close()


async def append(frames: Frames, count: int) -> None:
    """Keep so many verdicts more."""
    for _ in range(count):
        await frames.append(verdict(await frames.next_id()))


def fill(directory: Path, count: int, kept_at: float | None = None) -> None:
    """Make a history at once; an earlier focusd has left it without times."""
    rows = ((number, kept_at) for number in range(1, count + 1))
    with closing(sqlite3.connect(directory / "focusd.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO frames (frame_id, record, crc, kept_at) VALUES (?, 'x', 0, ?)", rows
        )


async def test_what_is_too_old_goes(directory: Path) -> None:
    """Verdicts are kept so many days by this computer's clock, whatever time their frames claim."""
    now = [0.0]
    async with frames_kept(directory, now, max_frames=1000, keep_days=2) as frames:
        await append(frames, 3)
        now[0] = 1.5 * DAY_S
        await append(frames, 2)
        await frames.trim()
        all_kept = len(await frames.page(None, 10))
        now[0] = 2.5 * DAY_S
        await append(frames, 1)
        await frames.trim()
        left = [one.frame_id for one in await frames.page(None, 10)]

    assert all_kept == 5
    assert left == [6, 5, 4]


async def test_the_newest_stays_however_old(directory: Path) -> None:
    """Ids go on from it, also after a year without a frame."""
    now = [0.0]
    async with frames_kept(directory, now, max_frames=1000, keep_days=1) as frames:
        await append(frames, 5)
    now[0] = 400 * DAY_S
    async with frames_kept(directory, now, max_frames=1000, keep_days=1) as frames:
        await frames.trim()
        left = [one.frame_id for one in await frames.page(None, 10)]
        next_id = await frames.next_id()

    assert (left, next_id) == ([5], 6)


async def test_a_clock_that_was_wrong_takes_only_its_own_rows(directory: Path) -> None:
    """A computer that began in 1970 and then learnt the time loses no verdict of before."""
    now = [50 * 365 * DAY_S]
    async with frames_kept(directory, now, max_frames=1000, keep_days=30) as frames:
        await append(frames, 2)
        now[0] = 100.0
        await append(frames, 2)
        now[0] = 50 * 365 * DAY_S + 60
        await append(frames, 1)
        await frames.trim()
        left = [one.frame_id for one in await frames.page(None, 10)]

    assert left == [5, 2, 1]


async def test_what_is_too_old_goes_slowly(directory: Path) -> None:
    """A clock that jumps ahead for a while does not cost the history."""
    now = [0.0]
    async with open_store(directory, max_frames=100):
        pass
    fill(directory, 2 * TRIM_ROWS, kept_at=0.0)
    async with frames_kept(directory, now, max_frames=10 * TRIM_ROWS, keep_days=30) as frames:
        now[0] = 4000 * DAY_S
        await append(frames, 100)
        goes_on = await frames.trim()
        now[0] = 0.0
        await frames.trim()
        kept = [one for one in range(1, 2 * TRIM_ROWS + 1) if await exists(frames, one)]

    assert not goes_on
    assert kept == list(range(TRIM_ROWS + 1, 2 * TRIM_ROWS + 1))


async def exists(frames: Frames, frame_id: int) -> bool:
    """Tell whether a row is there, readable or not."""
    return await frames._file.read(
        lambda c: c.execute("SELECT 1 FROM frames WHERE frame_id = ?", (frame_id,)).fetchone() is not None
    )


async def test_a_lower_bound_is_reached_in_steps(directory: Path) -> None:
    """When far too many are there, each step takes a few, so that others can write in between."""
    async with open_store(directory, max_frames=100):
        pass
    count = 2 * TRIM_ROWS + 150
    fill(directory, count)

    async with open_store(directory, max_frames=100) as store:
        steps = [await store.frames.trim() for _ in range(3)]
        left = await store._file.read(
            lambda c: c.execute("SELECT min(frame_id), count(*) FROM frames").fetchone()
        )

    assert steps == [True, True, False]
    assert left == (count - 99, 100)


async def test_the_house_is_kept_in_the_background(directory: Path) -> None:
    """The daemon's task goes on until all is done, and then rests."""
    async with open_store(directory, max_frames=100):
        pass
    fill(directory, 3 * TRIM_ROWS)

    async with open_store(directory, max_frames=100) as store:

        async def count() -> int:
            return int(
                await store._file.read(lambda c: c.execute("SELECT count(*) FROM frames").fetchone()[0])
            )

        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            house = group.create_task(keep_house(store, step_pause_s=0.0))
            while await count() > 100:
                await asyncio.sleep(0)
            house.cancel()

        assert await count() == 100


async def test_housekeeping_survives_a_store_that_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line is logged for any number of failures in a row, and it is tried again."""
    tries = 0
    enough = asyncio.Event()

    async def fail() -> bool:
        nonlocal tries
        tries += 1
        if tries == 3:
            enough.set()
        raise StoreError("the disk is full")

    monkeypatch.setattr(store.frames, "trim", fail)
    with capture_logs() as events:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            house = group.create_task(keep_house(store, round_s=0.0))
            await enough.wait()
            house.cancel()

    assert [event["event"] for event in events] == ["housekeeping_failed"]


async def test_no_statement_looks_through_a_whole_history(directory: Path) -> None:
    """What SQLite does for every statement on a table that grows is a search by an index, never a scan."""
    statements: list[str] = []
    async with open_store(directory, max_frames=100) as store:
        await store._file.read(lambda connection: connection.set_trace_callback(statements.append))
        await use(store)
        await store._file.read(lambda connection: connection.set_trace_callback(None))
        asked = [one for one in dict.fromkeys(statements) if one.startswith(("SELECT", "DELETE", "UPDATE"))]
        plans = {statement: await plan_of(store, statement) for statement in asked}

    assert len(plans) > 10
    assert all(any(f"FROM {table}" in one for one in plans) for table in GROWING)
    assert {one: plan for one, plan in plans.items() if any(is_costly(step) for step in plan)} == {}


def is_costly(step: str) -> bool:
    """Tell whether a step of a plan costs the more the longer the history is."""
    words = step.split()
    # The index holds none but those refocuses that have not ended.
    goes_through_all = words[0] == "SCAN" and words[1] in GROWING and words[-1] != "refocuses_running"
    return goes_through_all or "TEMP" in words


async def plan_of(store: Store, statement: str) -> list[str]:
    """Give what SQLite does for a statement."""

    def work(connection: sqlite3.Connection) -> list[str]:
        return [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]

    return await store._file.read(work)


async def use(store: Store) -> None:
    """Have every statement carried out that the daemon has in its ordinary life."""
    frames = await Frames.load(store._file, max_frames=100)
    for number in range(1, 21):
        await frames.append(verdict(number), FrameFile(f"/data/{number}.tif", 1, 1))
    await frames.trim()
    await frames.page(None, 10)
    await frames.page(10, 10)
    await frames.get(7)
    await notes_under(store.files, "/data")
    await store.files.forget(["/data/1.tif"])
    await store.files.reading(FrameFile("/data/99.tif", 1, 1), 1)
    await store.refocuses.insert(refocus(1))
    await store.refocuses.insert(refocus(100))
    await store.refocuses.update(replace(refocus(1), result=RefocusResult.NO_PEAK))
    await store.refocuses.page(50, 10)
    await store.refocuses.get(1)
    await store.refocuses.close_interrupted(RefocusResult.LINK_LOST, "")
    await store.spectra.put(spectra(1))
    await store.spectra.get(1)
    await store.baselines.list()
    await store.journal.close((await store.journal.open(1, 9.0, 1.0)).entry_id, "refocused")
    await store.journal.pending()


async def test_the_log_beside_the_database_stays_small(directory: Path) -> None:
    """SQLite folds its write-ahead log in as it goes: it never holds more than some 1,000 pages."""
    largest = 0
    async with open_store(directory, max_frames=1000) as store:
        for number in range(1, 2501):
            await store.frames.append(verdict(number))
            if number % 100 == 0:
                largest = max(largest, (directory / "focusd.db-wal").stat().st_size)

    assert 1 << 20 < largest < 6 << 20
