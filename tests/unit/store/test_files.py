"""The note that a file was judged stands or falls with the verdict on it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from focusd.errors import StoreError
from focusd.frame import FrameFile
from focusd.records import FileOutcome
from focusd.store.database import Store, open_store
from tests.unit.store.records_made import notes_under, verdict

FOLDER = "/data/run 1"


def file(name: str, *, size_bytes: int = 4096, mtime_ns: int = 1_700_000_000_123_456_789) -> FrameFile:
    """Describe a file in the folder."""
    return FrameFile(f"{FOLDER}/{name}", size_bytes, mtime_ns)


async def test_a_judged_file_is_known_after_a_restart(directory: Path) -> None:
    """Its note names the verdict, and size and time are exact to the nanosecond."""
    async with open_store(directory, max_frames=100) as store:
        await store.frames.append(verdict(7), file("a.tif"))
    async with open_store(directory, max_frames=100) as store:
        (note,) = await notes_under(store.files, FOLDER)

    assert (note.file, note.outcome, note.frame_id) == (file("a.tif"), FileOutcome.JUDGED, 7)


async def test_without_its_note_a_verdict_is_not_kept(directory: Path) -> None:
    """Both are one transaction: if the note cannot be written, the verdict is not there either."""
    async with open_store(directory, max_frames=100) as store:
        with closing(sqlite3.connect(directory / "focusd.db")) as other:
            other.execute(
                "CREATE TRIGGER full BEFORE INSERT ON files BEGIN SELECT RAISE(ABORT, 'no room'); END"
            )
            other.commit()
        with pytest.raises(StoreError, match="no room"):
            await store.frames.append(verdict(1), file("a.tif"))
        kept = await store.frames.page(None, 10)
        noted = await notes_under(store.files, FOLDER)

    assert (kept, noted) == ([], [])


async def test_a_file_that_changed_is_noted_anew(store: Store) -> None:
    """One note a path: that of its newest content."""
    await store.files.refuse(file("a.tif", size_bytes=10), "is cut short")
    await store.frames.append(verdict(1), file("a.tif", size_bytes=20))

    (note,) = await notes_under(store.files, FOLDER)
    assert (note.file.size_bytes, note.outcome) == (20, FileOutcome.JUDGED)


async def test_a_folder_knows_its_own_files_only(store: Store) -> None:
    """Subfolders belong to it; folders whose names begin alike do not."""
    for path in (f"{FOLDER}/sub/a.tif", f"{FOLDER}0/a.tif", f"{FOLDER} b/a.tif", "/data/a.tif"):
        await store.files.refuse(FrameFile(path, 1, 1), "no image")

    assert [note.file.path for note in await notes_under(store.files, FOLDER)] == [f"{FOLDER}/sub/a.tif"]


async def test_a_folder_that_was_begun_is_known_as_such(store: Store) -> None:
    """It has a note of its own, even if there was nothing to skip."""
    await store.files.begin("/data/empty")
    await store.files.skip([file("old.tif")])
    await store.files.begin(FOLDER)

    assert [note.outcome for note in await notes_under(store.files, "/data/empty")] == [FileOutcome.BEGUN]
    outcomes = {note.file.path: note.outcome for note in await notes_under(store.files, FOLDER)}
    assert outcomes == {f"{FOLDER}/": FileOutcome.BEGUN, f"{FOLDER}/old.tif": FileOutcome.SKIPPED}


async def test_files_that_are_gone_are_forgotten(store: Store) -> None:
    """What is named goes, the rest stays."""
    for name in ("a.tif", "b.tif", "c.tif"):
        await store.files.refuse(file(name), "no image")
    await store.files.forget([file("a.tif").path, file("c.tif").path])

    assert [note.file for note in await notes_under(store.files, FOLDER)] == [file("b.tif")]
