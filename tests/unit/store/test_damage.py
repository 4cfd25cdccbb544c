"""Damaged files and rows: never used, always reported, and the store still opens."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from focusd.store.database import Store, open_store
from tests.unit.store.records_made import baseline, refocus, verdict

DAMAGES = int(os.environ.get("DAMAGES", "25"))
"""Of each kind; 2,000 by hand."""
BASELINES = [baseline(detector=f"detector {letter}", created_at=ord(letter)) for letter in "abcdefgh"]


async def filled(directory: Path) -> bytes:
    """Fill a store with a little of everything, an open restore point at 13 mm too; give the file's bytes."""
    async with open_store(directory, max_frames=1000) as store:
        for number in range(1, 21):
            await store.frames.append(verdict(number))
        for one in BASELINES:
            await store.baselines.put(one)
        await store.refocuses.insert(refocus(1))
        closed = await store.journal.open(1, 9.0, 1.0)
        await store.journal.close(closed.entry_id, "refocused")
        await store.journal.open(2, 13.0, 1.0)
        await store.settings.put("paused", "the operator wants it")
    return (directory / "focusd.db").read_bytes()


async def check_that_nothing_wrong_is_used(store: Store) -> None:
    """Whatever is read is what was once written, and writing goes on."""
    assert all(one in BASELINES for one in await store.baselines.list())
    assert all(one == verdict(one.frame_id) for one in await store.frames.page(None, 1000))
    assert all(one.original_working_distance_mm == 13.0 for one in await store.journal.pending())
    assert all(one == refocus(1) for one in await store.refocuses.page(None, 10))
    assert await store.settings.get("paused") in (None, "the operator wants it")
    await store.frames.append(verdict(await store.frames.next_id()))
    await store.baselines.put(BASELINES[0])
    entry = await store.journal.open(3, 13.0, 1.0)
    await store.journal.command(entry.entry_id, 13.1)


async def check_damaged(directory: Path, data: bytes) -> set[str]:
    """Open a file of ``data``, check it, and give the codes of the problems."""
    directory.mkdir()
    (directory / "focusd.db").write_bytes(data)
    async with open_store(directory, max_frames=1000) as store:
        await check_that_nothing_wrong_is_used(store)
        lost = (
            len(await store.baselines.list()) < len(BASELINES)
            or len(await store.frames.page(None, 1000)) < 21
        )
        codes = {problem.code for problem in store.problems}
    shutil.rmtree(directory)
    assert codes or not lost
    return codes


async def test_a_flipped_bit_in_a_baseline_is_seen(directory: Path) -> None:
    """A digit of a stored sharpness changes by one bit: the baseline is left out, reported, and put by."""
    data = bytearray(await filled(directory))
    place = data.index(b'"detector b"')
    place = data.index(b'"band_ratio":0.82', place) + len(b'"band_ratio":0.')
    data[place] ^= 1
    (directory / "focusd.db").write_bytes(data)

    with capture_logs() as events:
        async with open_store(directory, max_frames=1000) as store:
            listed = await store.baselines.list()
            missing = await store.baselines.get(BASELINES[1].condition)
            problems = store.problems
    async with open_store(directory, max_frames=1000) as store:
        problems_later = (await store.baselines.list(), store.problems)[1]

    assert {one.condition for one in listed} == {one.condition for one in BASELINES} - {
        BASELINES[1].condition
    }
    assert missing is None
    assert [(problem.code, problem.source) for problem in problems] == [("row_damaged", "baselines")]
    assert BASELINES[1].condition in problems[0].message
    assert [event["event"] for event in events] == ["row_damaged"]
    assert problems_later == ()
    with closing(sqlite3.connect(directory / "focusd.db")) as connection:
        kept = connection.execute("SELECT source, key, record FROM damaged").fetchall()
    assert [row[:2] for row in kept] == [("baselines", BASELINES[1].condition)]
    assert '"band_ratio":0.92' in kept[0][2]


async def test_a_damaged_restore_point_is_not_used(directory: Path) -> None:
    """A restore point whose place changed by one bit would send the lens somewhere else."""
    data = bytearray(await filled(directory))
    data[data.index(b'"original_working_distance_mm":13.0') + len(b'"original_working_distance_mm":1')] ^= 1
    (directory / "focusd.db").write_bytes(data)

    async with open_store(directory, max_frames=1000) as store:
        pending = await store.journal.pending()
        problems = store.problems

    assert pending == []
    assert [(problem.code, problem.source) for problem in problems] == [("row_damaged", "journal")]


async def test_a_row_that_is_damaged_and_cannot_be_put_by_is_reported_once(directory: Path) -> None:
    """Asking for baselines at each frame does not repeat the report."""
    data = await filled(directory)
    # The record is damaged beyond its checksum and its key is no text that a query could name.
    (directory / "focusd.db").write_bytes(data.replace(b"detector_c", b"\xff\xfe\xfdector_c"))

    async with open_store(directory, max_frames=1000) as store:
        for _ in range(3):
            await store.baselines.list()
        codes = [problem.code for problem in store.problems]

    assert codes == ["row_damaged"]


@pytest.mark.timeout(60 + DAMAGES)
@pytest.mark.parametrize("damage", ["flip", "header", "zero", "noise", "cut"])
async def test_no_damage_is_used_or_stops_the_start(tmp_path: Path, damage: str) -> None:
    """Wherever the file is damaged, focusd starts, uses no wrong row, and tells when something is gone."""
    data = await filled(tmp_path / "good")
    source = random.Random(damage)
    seen = set[str]()
    for number in range(DAMAGES):
        damaged = bytearray(data)
        place = source.randrange(len(data))
        length = source.choice([16, 512, 4096])
        if damage == "flip":
            damaged[place] ^= 1 << source.randrange(8)
        elif damage == "header":
            damaged[source.randrange(100)] ^= 1 << source.randrange(8)
        elif damage == "zero":
            damaged[place : place + length] = bytes(len(damaged[place : place + length]))
        elif damage == "noise":
            damaged[place : place + length] = source.randbytes(len(damaged[place : place + length]))
        else:
            del damaged[place:]
        seen |= await check_damaged(tmp_path / f"{number}", bytes(damaged))

    assert seen <= {"row_damaged", "database_moved_aside"}
    assert seen


async def killed(directory: Path) -> tuple[bytes, bytes]:
    """Give the database and its log as a process leaves them that is killed after a checkpoint and more."""
    await filled(directory)
    async with open_store(directory, max_frames=1000) as store:
        await store.frames.append(verdict(21))
        await store._file.read(lambda connection: connection.execute("PRAGMA wal_checkpoint").fetchone())
        await store.journal.close(2, "refocused")
        await store.journal.open(3, 13.0, 1.0)
        return (directory / "focusd.db").read_bytes(), (directory / "focusd.db-wal").read_bytes()


@pytest.mark.timeout(60 + DAMAGES)
@pytest.mark.parametrize("damage", ["flip", "zero", "cut"])
async def test_no_damage_of_the_log_is_used_or_stops_the_start(tmp_path: Path, damage: str) -> None:
    """SQLite drops a log from its first bad frame on: what is left was true once, each row of it."""
    data, log = await killed(tmp_path / "good")
    source = random.Random(f"log {damage}")
    for number in range(DAMAGES):
        damaged = bytearray(log)
        place = source.randrange(len(log))
        if damage == "flip":
            damaged[place] ^= 1 << source.randrange(8)
        elif damage == "zero":
            damaged[place : place + 512] = bytes(len(damaged[place : place + 512]))
        else:
            del damaged[place:]
        directory = tmp_path / f"{number}"
        directory.mkdir()
        (directory / "focusd.db").write_bytes(data)
        (directory / "focusd.db-wal").write_bytes(damaged)
        async with open_store(directory, max_frames=1000) as store:
            await check_that_nothing_wrong_is_used(store)
        shutil.rmtree(directory)


async def test_a_file_that_is_no_database_is_moved_aside(directory: Path) -> None:
    """The file and what lies beside it keep their bytes under a new name; a new file is started."""
    directory.mkdir()
    (directory / "focusd.db").write_bytes(b"not a database" * 1000)
    (directory / "focusd.db-wal").write_bytes(b"its log")

    with capture_logs() as events:
        async with open_store(directory, max_frames=100) as store:
            await store.frames.append(verdict(1))
            problems = store.problems

    (aside,) = directory.glob("focusd.db.corrupt-????????T??????Z")
    assert aside.read_bytes() == b"not a database" * 1000
    assert aside.with_name(aside.name + "-wal").read_bytes() == b"its log"
    assert [problem.code for problem in problems] == ["database_moved_aside"]
    assert str(aside) in problems[0].message
    assert [(event["event"], event["log_level"]) for event in events] == [("database_moved_aside", "warning")]


async def test_two_damaged_files_do_not_overwrite_each_other(directory: Path) -> None:
    """Both are kept, also when they are met within one second."""
    directory.mkdir()
    for content in (b"first" * 1000, b"second" * 1000):
        (directory / "focusd.db").write_bytes(content)
        async with open_store(directory, max_frames=100):
            pass

    kept = {path.read_bytes()[:5] for path in directory.glob("focusd.db.corrupt-*")}
    assert kept == {b"first", b"secon"}


async def test_a_missing_table_counts_as_damage(directory: Path) -> None:
    """A database that SQLite finds sound but that lacks a table would fail at every frame."""
    await filled(directory)
    with closing(sqlite3.connect(directory / "focusd.db")) as connection:
        connection.execute("ALTER TABLE baselines RENAME TO baselinet")

    async with open_store(directory, max_frames=1000) as store:
        codes = [problem.code for problem in store.problems]

    assert codes == ["database_moved_aside"]


async def test_what_an_operator_adds_is_no_damage(directory: Path) -> None:
    """A table of somebody's own beside ours does not cost the history."""
    await filled(directory)
    with closing(sqlite3.connect(directory / "focusd.db")) as connection:
        connection.execute("CREATE TABLE notes (text)")

    async with open_store(directory, max_frames=1000) as store:
        assert store.problems == ()
        assert len(await store.baselines.list()) == len(BASELINES)
