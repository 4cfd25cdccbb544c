"""A large file is opened at once, and damage to it is found all the same."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from focusd.errors import StoreError
from focusd.store import checking
from focusd.store.database import open_store
from tests.unit.store.records_made import baseline, verdict
from tests.unit.store.test_damage import check_that_nothing_wrong_is_used, filled

PAGE_BYTES = 4096


@pytest.fixture(autouse=True)
def _every_file_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "CHECKED_WHOLE_BYTES", 0)


async def test_a_large_file_is_not_read_from_end_to_end(directory: Path) -> None:
    """SQLite does little to open it, however many verdicts it holds."""
    async with open_store(directory, max_frames=100_000):
        pass
    with closing(sqlite3.connect(directory / "focusd.db")) as connection:
        with connection:
            connection.executemany(
                "INSERT INTO frames (frame_id, record, crc) VALUES (?, ?, 0)",
                ((number, "x" * 500) for number in range(1, 20_001)),
            )
        few, many = steps(connection, directory), whole_check_steps(connection)

    assert few < many / 20


def steps(connection: sqlite3.Connection, directory: Path) -> int:
    """Count, in hundreds, what SQLite's machine does for the check."""
    count = 0

    def one_more() -> None:
        nonlocal count
        count += 1

    connection.set_progress_handler(one_more, 100)
    checking.check_pages(connection, directory / "focusd.db")
    connection.set_progress_handler(None, 100)
    return count


def whole_check_steps(connection: sqlite3.Connection) -> int:
    """The same for SQLite's own check."""
    count = 0

    def one_more() -> None:
        nonlocal count
        count += 1

    connection.set_progress_handler(one_more, 100)
    connection.execute("PRAGMA quick_check").fetchall()
    connection.set_progress_handler(None, 100)
    return count


@pytest.mark.parametrize("table", ["baselines", "journal", "settings"])
async def test_damage_where_it_matters_is_found_at_once(directory: Path, table: str) -> None:
    """The tables that a lens is moved by are checked whole at each start."""
    await filled(directory)
    with closing(sqlite3.connect(directory / "focusd.db")) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    with (directory / "focusd.db").open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\x13" * 200)

    async with open_store(directory, max_frames=1000) as store:
        await check_that_nothing_wrong_is_used(store)
        codes = [problem.code for problem in store.problems]

    assert codes == ["database_moved_aside"]


async def test_damage_met_later_is_mended_by_the_next_start(directory: Path) -> None:
    """A page in the middle of the history is lost: that is said when it is read, and then all is checked."""
    async with open_store(directory, max_frames=1000) as store:
        for number in range(1, 201):
            await store.frames.append(verdict(number))
        await store.baselines.put(baseline())
    spoil_the_page_of(directory / "focusd.db", 100)

    async with open_store(directory, max_frames=1000) as store:
        assert store.problems == ()
        assert await store.baselines.list() == [baseline()]
        assert await store.frames.get(200) == verdict(200)
        with pytest.raises(StoreError, match="damaged"):
            await store.frames.get(100)
    async with open_store(directory, max_frames=1000) as store:
        codes = [problem.code for problem in store.problems]
        await store.frames.append(verdict(1))
    async with open_store(directory, max_frames=1000) as store:
        assert (codes, store.problems) == (["database_moved_aside"], ())


def spoil_the_page_of(path: Path, frame_id: int) -> None:
    """Overwrite the head of the page in which a verdict stands."""
    data = bytearray(path.read_bytes())
    place = data.index(f'"frame_id":{frame_id},'.encode()) // PAGE_BYTES * PAGE_BYTES
    data[place : place + 8] = b"\xff" * 8
    path.write_bytes(data)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_damaged_the_second_start_works(tmp_path: Path, seed: int) -> None:
    """Of a damaged large file nothing wrong is used, and one restart at most brings a store that works."""
    data = await filled(tmp_path / "good")
    source = random.Random(seed)
    for number in range(8):
        damaged = bytearray(data)
        place = source.randrange(len(data))
        length = source.choice([1, 16, 512, 4096])
        damaged[place : place + length] = source.randbytes(len(damaged[place : place + length]))
        directory = tmp_path / f"{number}"
        directory.mkdir()
        (directory / "focusd.db").write_bytes(damaged)
        with suppress(StoreError):
            async with open_store(directory, max_frames=1000) as store:
                await check_that_nothing_wrong_is_used(store)
        async with open_store(directory, max_frames=1000) as store:
            await check_that_nothing_wrong_is_used(store)
