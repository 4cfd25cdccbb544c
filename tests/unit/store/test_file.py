"""The file and its directory: the lock, versions, a full disk, a file taken away."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from focusd.errors import StoreError, StoreLockedError
from focusd.records import RefocusResult
from focusd.store import schema
from focusd.store.database import Store, open_store
from focusd.store.file import DatabaseFile
from tests.unit.store.records_made import baseline, refocus, spectra, verdict

HOLDER = """
import asyncio, sys
from pathlib import Path
from focusd.store.database import open_store

async def main():
    async with open_store(Path(sys.argv[1]), max_frames=100):
        print("open", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def contents(directory: Path) -> dict[str, bytes]:
    """Read every file of a directory but the lock."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "focusd.lock"}


async def test_a_directory_is_made_for_the_owner_alone(tmp_path: Path) -> None:
    """A missing state directory is made, parents too, and nobody else may look into it."""
    directory = tmp_path / "var" / "focusd"

    async with open_store(directory, max_frames=100):
        pass

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert (directory / "focusd.db").is_file()


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The error says which directory and why."""
    (tmp_path / "file").touch()

    with pytest.raises(
        StoreError, match=f"cannot make the state directory {tmp_path}/file/state: Not a directory"
    ):
        async with open_store(tmp_path / "file" / "state", max_frames=100):
            pass


async def test_a_directory_that_cannot_be_written_is_named(directory: Path) -> None:
    """A lock that cannot be made, here because a directory is in its place, is a StoreError."""
    (directory / "focusd.lock").mkdir(parents=True)

    with pytest.raises(StoreError, match=f"cannot write in the state directory {directory}: Is a directory"):
        async with open_store(directory, max_frames=100):
            pass


async def test_a_second_store_in_the_same_process_is_refused(store: Store, directory: Path) -> None:
    """The lock belongs to the open store, not to the process."""
    with pytest.raises(StoreLockedError, match=rf"another focusd \(pid {os.getpid()}\) uses {directory}"):
        async with open_store(directory, max_frames=100):
            pass

    await store.frames.append(verdict(1))


async def test_a_second_process_is_refused_until_the_first_is_gone(directory: Path) -> None:
    """The error names the owner's process id; the death of the owner frees the directory."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(directory), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"open\n"

    with pytest.raises(StoreLockedError, match=rf"another focusd \(pid {holder.pid}\) uses {directory}"):
        async with open_store(directory, max_frames=100):
            pass
    holder.kill()
    await holder.wait()

    async with open_store(directory, max_frames=100) as store:
        assert store.problems == ()


async def test_the_database_is_what_it_says(store: Store) -> None:
    """The log is written ahead, and durable commits wait for the disk where frames do not."""

    async def synchronous() -> int:
        return int(
            await store._file.read(lambda connection: connection.execute("PRAGMA synchronous").fetchone()[0])
        )

    mode = await store._file.read(lambda connection: connection.execute("PRAGMA journal_mode").fetchone()[0])
    await store.frames.append(verdict(1))
    after_frame = await synchronous()
    await store.journal.open(1, 9.0, 1.0)
    after_journal = await synchronous()
    await store.baselines.put(baseline())
    after_baseline = await synchronous()

    full, normal = 2, 1
    assert (mode, after_frame, after_journal, after_baseline) == ("wal", normal, full, full)


@pytest.mark.parametrize("clean", [True, False], ids=["closed", "killed"])
async def test_a_newer_database_is_refused_untouched(directory: Path, clean: bool) -> None:
    """A file of a later focusd keeps each byte, also when its log has not been folded in."""
    newer = (*schema.MIGRATIONS, ("CREATE TABLE later (x)",))
    file = DatabaseFile(directory, migrations=newer)
    await file.open()
    if clean:
        await file.close()
    before = contents(directory)
    if not clean:
        assert before["focusd.db-wal"]
        await file.close()
        for path in directory.iterdir():
            path.unlink()
        for name, data in before.items():
            (directory / name).write_bytes(data)

    with pytest.raises(
        StoreError, match=f"schema version {len(newer)}, this focusd knows up to {len(newer) - 1}"
    ):
        async with open_store(directory, max_frames=100):
            pass

    after = contents(directory)
    # The index of the log is scratch space, rebuilt by every first reader.
    before.pop("focusd.db-shm", None)
    after.pop("focusd.db-shm", None)
    assert after == before


async def test_a_version_that_one_bit_made_newer_is_damage(directory: Path) -> None:
    """The version stands in two places, so a flipped bit is not taken for a later focusd."""
    async with open_store(directory, max_frames=100):
        pass
    with (directory / "focusd.db").open("r+b") as file:
        file.seek(60)
        file.write(b"\x00\x00\x01\x01")

    async with open_store(directory, max_frames=100) as store:
        assert [problem.code for problem in store.problems] == ["database_moved_aside"]


OLD_REFOCUS = (
    '{"refocus_id":3,"trigger":"drift","method":"brent","metric":"log_energy","condition":"SE-5kV",'
    '"started_at":1700000000.0,"start_working_distance_mm":9.0,"max_scans":14,"frame_id":null,'
    '"result":"refocused","reason":"","final_working_distance_mm":9.01,"duration_s":3.0,"gain":2.0,"scans":'
    '[{"index":0,"role":"start","working_distance_mm":9.0,"sharpness":0.4,"sharpness_standard_error":0.01,'
    '"laplacian_variance":60.0,"signal_to_noise":8.0,"beam_time_s":1.05}]}'
)
"""A row of the first version, before scans had regions and runs a posterior."""


@pytest.mark.parametrize("version", range(1, len(schema.MIGRATIONS)))
async def test_a_database_of_an_earlier_version_is_taken_up(directory: Path, version: int) -> None:
    """What an earlier focusd has kept is read with what is new left empty, and what is new can be kept."""
    file = DatabaseFile(directory, migrations=schema.MIGRATIONS[:version])
    await file.open()
    row = (3, OLD_REFOCUS, zlib.crc32(OLD_REFOCUS.encode(), zlib.crc32(b"3\n")), 1)
    await file.write(
        lambda connection: connection.execute("INSERT INTO refocuses VALUES (?, ?, ?, ?)", row).rowcount
    )
    await file.close()

    async with open_store(directory, max_frames=100) as store:
        old = await store.refocuses.get(3)
        await store.spectra.put(spectra(3))
        kept = await store.spectra.get(3)

        assert store.problems == ()
    assert old is not None
    assert (old.result, old.focus_mm, old.keep_spectra) == (RefocusResult.REFOCUSED, None, False)
    assert old.scans[0].energies == {}
    assert kept == spectra(3)


async def test_a_migration_keeps_what_is_there(directory: Path) -> None:
    """An older file is brought up to date with its rows."""
    async with open_store(directory, max_frames=100) as store:
        await store.frames.append(verdict(1))
    newer = (*schema.MIGRATIONS, ("CREATE TABLE later (x)", "INSERT INTO later VALUES (1)"))
    file = DatabaseFile(directory, migrations=newer)
    await file.open()
    version = await file.read(lambda connection: connection.execute("PRAGMA user_version").fetchone())
    later = await file.read(lambda connection: connection.execute("SELECT x FROM later").fetchall())
    frames = await file.read(lambda connection: connection.execute("SELECT frame_id FROM frames").fetchall())
    await file.close()

    assert (version, later, frames) == ((len(newer),), [(1,)], [(1,)])


@pytest.mark.parametrize("position", [0, 1, 2, 3])
async def test_a_failing_migration_leaves_the_file_as_it_was(directory: Path, position: int) -> None:
    """Whichever statement fails, the file keeps each byte and opens as before."""
    async with open_store(directory, max_frames=100) as store:
        await store.frames.append(verdict(1))
    before = contents(directory)
    statements = ["CREATE TABLE later (x)", "INSERT INTO later VALUES (1)", "DELETE FROM frames"]
    statements.insert(position, "INSERT INTO nowhere VALUES (1)")
    known = len(schema.MIGRATIONS)
    file = DatabaseFile(directory, migrations=(*schema.MIGRATIONS, tuple(statements)))

    with pytest.raises(
        StoreError, match=rf"schema version {known} to {known + 1}, left as it was: no such table: nowhere"
    ):
        await file.open()
    await file.close()

    assert contents(directory) == before
    async with open_store(directory, max_frames=100) as store:
        assert await store.frames.page(None, 10) == [verdict(1)]
        assert store.problems == ()


@asynccontextmanager
async def full_disk(store: Store) -> AsyncIterator[None]:
    """Let the file grow no further, as on a full disk: SQLite then answers SQLITE_FULL."""

    async def limit(pages: int) -> None:
        await store._file.read(
            lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
        )

    await limit(1)
    yield
    await limit(1_000_000)


async def test_the_store_works_again_after_a_full_disk(store: Store) -> None:
    """Each refused write is a StoreError that says so and changes nothing; reading goes on."""
    number = 0

    async def append_for_ever() -> None:
        nonlocal number
        while True:
            await store.frames.append(verdict(number + 1))
            number += 1

    async with full_disk(store):
        with pytest.raises(StoreError, match="the disk is full"):
            await append_for_ever()
        with pytest.raises(StoreError, match="the disk is full"):
            await store.baselines.put(baseline(label="x" * 100_000))
        kept = await store.frames.page(None, 1000)

    await store.frames.append(verdict(number + 1))
    await store.refocuses.insert(refocus(1))
    entry = await store.journal.open(1, 9.0, 1.0)

    assert [one.frame_id for one in kept] == list(range(number, 0, -1))
    assert len(await store.frames.page(None, 1000)) == number + 1
    assert await store.journal.pending() == [entry]


async def test_a_file_held_by_another_program_is_no_damage(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that somebody else is writing is left in its place, and the error says why."""
    monkeypatch.setattr("focusd.store.file.BUSY_TIMEOUT_S", 0.1)
    async with open_store(directory, max_frames=100):
        pass
    with closing(sqlite3.connect(directory / "focusd.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another program holds it"):
            async with open_store(directory, max_frames=100):
                pass

    assert not list(directory.glob("*.corrupt-*"))


async def test_a_deleted_file_is_made_anew(store: Store, directory: Path) -> None:
    """Writing into a deleted file would lose everything without a word, so a new one is started."""
    await store.frames.append(verdict(await store.frames.next_id()))
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()

    with capture_logs() as events:
        await store.frames.append(verdict(await store.frames.next_id()))

    with closing(sqlite3.connect(directory / "focusd.db")) as other:
        assert other.execute("SELECT frame_id FROM frames").fetchall() == [(2,)]
    assert [problem.code for problem in store.problems] == ["database_vanished"]
    assert [event["event"] for event in events] == ["database_vanished"]
    with pytest.raises(StoreLockedError):
        async with open_store(directory, max_frames=100):
            pass


async def test_a_directory_that_comes_back_is_used_again(store: Store, directory: Path) -> None:
    """While the directory cannot be made each call fails; then the store works by itself."""
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    directory.touch()

    for _ in range(2):
        with pytest.raises(StoreError, match="state"):
            await store.frames.append(verdict(1))
    directory.unlink()

    await store.frames.append(verdict(1))
    assert await store.frames.get(1) == verdict(1)


async def test_a_replaced_file_is_not_written(store: Store, directory: Path) -> None:
    """A backup put in the file's place while focusd runs is left alone."""
    (directory / "focusd.db").rename(directory / "old")
    (directory / "focusd.db").write_bytes(b"a backup")

    with pytest.raises(StoreError, match="was replaced by another file: start focusd again"):
        await store.frames.append(verdict(1))

    assert (directory / "focusd.db").read_bytes() == b"a backup"


async def test_a_cancelled_write_leaves_the_store_usable(store: Store) -> None:
    """Cancelling a caller neither tears a transaction nor blocks the next one."""
    for number in range(1, 30):
        writing = asyncio.create_task(store.frames.append(verdict(number)))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

    await store.frames.append(verdict(100))

    ids = [one.frame_id for one in await store.frames.page(None, 100)]
    assert ids[0] == 100
    assert sorted(set(ids)) == sorted(ids)


async def test_a_cancelled_owner_still_frees_the_directory(directory: Path) -> None:
    """Closing is not cut short by the cancellation that caused it."""
    opened = asyncio.Event()

    async def own() -> None:
        async with open_store(directory, max_frames=100):
            opened.set()
            await asyncio.Event().wait()

    owner = asyncio.create_task(own())
    await opened.wait()
    owner.cancel()
    await asyncio.sleep(0)
    owner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner

    async with open_store(directory, max_frames=100) as store:
        await store.frames.append(verdict(1))


async def test_the_event_loop_is_free_while_the_disk_works(store: Store) -> None:
    """Durable commits happen beside the loop, which goes on turning."""
    turns = 0
    writing = asyncio.create_task(store.journal.open(1, 9.0, 1.0))
    while not writing.done():
        turns += 1
        await asyncio.sleep(0)

    assert turns > 1
