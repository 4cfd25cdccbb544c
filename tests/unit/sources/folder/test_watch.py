"""A watched folder whose files, or file system, misbehave in ways that no test can make with real files."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from focusd.config import FolderSettings
from focusd.frame import Frame
from focusd.sources.folder import watch
from focusd.sources.folder.readiness import Sighting
from focusd.sources.folder.reading import read_frame
from focusd.sources.folder.status import FolderState
from focusd.sources.folder.watch import MAX_ENDED, WatchedFolder
from focusd.store.database import Store, open_store
from tests.unit.store.records_made import notes_under, verdict

SETTINGS = FolderSettings(
    settle_s=0.05, give_up_s=0.1, polling=True, polling_interval_s=0.05, existing="judge"
)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Give a store."""
    async with open_store(tmp_path / "state", max_frames=100) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give an empty folder."""
    path = tmp_path / "frames"
    path.mkdir()
    return path


def write(path: Path) -> Path:
    """Write an image, as a whole."""
    assert cv2.imwrite(str(path), np.zeros((64, 64), np.uint8))
    return path


class Judge:
    """Takes frames as the daemon does, and keeps their names."""

    def __init__(self, watched: WatchedFolder, store: Store) -> None:
        self._watched = watched
        self._store = store
        self.names: list[str] = []

    async def run(self) -> None:
        async with aclosing(self._watched.frames()) as frames:
            async for frame in frames:
                assert frame.file is not None
                frame_id = await self._store.frames.next_id()
                await self._store.frames.append(verdict(frame_id), frame.file)
                self.names.append(Path(frame.file.path).name)


@asynccontextmanager
async def judging(watched: WatchedFolder, store: Store) -> AsyncIterator[Judge]:
    """Judge what the folder gives."""
    judge = Judge(watched, store)
    task = asyncio.create_task(judge.run())
    try:
        yield judge
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has come true."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_what_may_not_be_read_is_named_once_and_judged_when_it_may(folder: Path, store: Store) -> None:
    """Rights are mended without a change to the file, so it is tried again for ever."""
    forbidden, tries = threading.Event(), 0
    forbidden.set()

    def read(sighting: Sighting, settings: FolderSettings) -> Frame | None:
        nonlocal tries
        tries += 1
        if forbidden.is_set():
            raise PermissionError(13, "Permission denied", sighting.path)
        return read_frame(sighting, settings)

    path = write(folder / "a.tif")
    watched = WatchedFolder(SETTINGS, folder, store.files, read=read)
    async with judging(watched, store) as judge:
        await until(lambda: tries >= 6)
        refused = watched.report.status
        forbidden.clear()
        await until(lambda: judge.names == ["a.tif"])

    assert refused.files_refused == 1
    assert refused.last_refused is not None
    assert (refused.last_refused.path, refused.last_refused.reason) == (
        str(path),
        "cannot be read: Permission denied",
    )
    assert watched.report.status.files_refused == 1


async def test_a_file_on_which_the_reader_fails_does_not_end_the_watch(folder: Path, store: Store) -> None:
    """A fault of focusd's own is logged as such, the file is refused for good, the next is judged."""

    def read(sighting: Sighting, settings: FolderSettings) -> Frame | None:
        if "bad" in sighting.path:
            raise IndexError("a bug")
        return read_frame(sighting, settings)

    write(folder / "bad.tif")
    watched = WatchedFolder(SETTINGS, folder, store.files, read=read)
    with capture_logs() as events:
        async with judging(watched, store) as judge:
            await until(lambda: watched.report.status.files_refused == 1)
            write(folder / "good.tif")
            await until(lambda: judge.names == ["good.tif"])

    assert [event["error"] for event in events if event["log_level"] == "error"] == ["IndexError('a bug')"]
    assert len(await notes_under(store.files, str(folder))) == 3


async def test_a_file_that_brings_the_process_down_is_read_no_more(folder: Path, store: Store) -> None:
    """After five runs that ended with it, it is refused, so that those behind it are judged."""
    write(folder / "a_deadly.tif")
    for _ in range(MAX_ENDED):
        async with aclosing(WatchedFolder(SETTINGS, folder, store.files).frames()) as frames:
            await anext(frames)

    write(folder / "b.tif")
    watched = WatchedFolder(SETTINGS, folder, store.files)
    async with judging(watched, store) as judge:
        await until(lambda: judge.names == ["b.tif"])

    assert watched.report.status.last_refused is not None
    assert "focusd has ended 5 times" in watched.report.status.last_refused.reason


async def test_a_file_system_that_hangs_is_told_and_holds_up_nothing(folder: Path, store: Store) -> None:
    """Neither the event loop nor the end of the daemon waits for it; when it answers, all goes on."""
    hangs, released = threading.Event(), threading.Event()
    hangs.set()

    def read(sighting: Sighting, settings: FolderSettings) -> Frame | None:
        if hangs.is_set():
            released.wait(20)
        return read_frame(sighting, settings)

    write(folder / "a.tif")
    watched = WatchedFolder(SETTINGS, folder, store.files, read=read, not_answering_s=0.05)
    async with judging(watched, store) as judge:
        await until(lambda: watched.report.status.state is FolderState.NOT_ANSWERING)
        assert watched.report.status.reason == "no answer for 0.05 s"
        hangs.clear()
        released.set()
        await until(lambda: judge.names == ["a.tif"])
        assert watched.report.status.state is FolderState.WATCHING

    hangs.set()
    released.clear()
    write(folder / "b.tif")
    watched = WatchedFolder(SETTINGS, folder, store.files, read=read, not_answering_s=0.05)
    async with asyncio.timeout(10):
        async with judging(watched, store):
            await until(lambda: watched.report.status.state is FolderState.NOT_ANSWERING)
    released.set()


async def test_a_folder_that_cannot_be_listed_is_looked_for_again(folder: Path, store: Store) -> None:
    """A link that leads in a circle stands for all that is there and cannot be opened."""
    folder.rmdir()
    folder.symlink_to(folder)
    watched = WatchedFolder(SETTINGS, folder, store.files)
    async with judging(watched, store) as judge:
        await until(lambda: watched.report.status.state is FolderState.UNREADABLE)
        assert "symbolic links" in watched.report.status.reason
        folder.unlink()
        folder.mkdir()
        write(folder / "a.tif")
        await until(lambda: judge.names == ["a.tif"])

    assert watched.report.status.state is FolderState.WATCHING


async def test_a_file_that_changes_while_it_is_read_is_judged_as_it_is_in_the_end(
    folder: Path, store: Store
) -> None:
    """What was read of the earlier one is thrown away."""
    path = write(folder / "a.tif")
    readings = 0

    def read(sighting: Sighting, settings: FolderSettings) -> Frame | None:
        nonlocal readings
        readings += 1
        if readings == 1:
            assert cv2.imwrite(str(path), np.zeros((80, 80), np.uint8))
        return read_frame(sighting, settings)

    watched = WatchedFolder(SETTINGS, folder, store.files, read=read)
    async with judging(watched, store) as judge:
        await until(lambda: len(judge.names) == 1)
        await until(lambda: watched.report.status.files_waiting == 0)

    assert (judge.names, readings) == (["a.tif"], 2)
    noted = {note.file.path: note.file.size_bytes for note in await notes_under(store.files, str(folder))}
    assert noted[str(path)] == path.stat().st_size


async def test_where_the_system_tells_nothing_the_folder_is_listed_at_intervals(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Systems watch so many folders and no more; that is said once, and nothing is missed."""

    def watch(*_: object, **__: object) -> object:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr("watchfiles.watch", watch)
    settings = SETTINGS.model_copy(update={"polling": False, "rescan_s": 0.05})
    watched = WatchedFolder(settings, folder, store.files)
    with capture_logs() as events:
        async with judging(watched, store) as judge:
            write(folder / "a.tif")
            await until(lambda: judge.names == ["a.tif"])
            write(folder / "b.tif")
            await until(lambda: judge.names == ["a.tif", "b.tif"])

    lost = [event["error"] for event in events if event["event"] == "folder_notices_lost"]
    assert lost == ["OS file watch limit reached."]


async def test_a_file_whose_verdict_was_not_kept_comes_again(folder: Path, store: Store) -> None:
    """Closing the generator before the next frame is asked for says that this one was not judged."""
    write(folder / "a.tif")
    watched = WatchedFolder(SETTINGS, folder, store.files)
    # In one run of focusd that may be often: a disk may be full for a day.
    for _ in range(MAX_ENDED + 2):
        async with aclosing(watched.frames()) as frames:
            frame = await anext(frames)
        assert frame.file is not None
        assert Path(frame.file.path).name == "a.tif"

    assert watched.report.status.files_judged == 0


async def test_a_large_backlog_is_taken_in_bit_by_bit(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are judged in the order in which they were written, and those that wait are counted."""
    monkeypatch.setattr(watch, "MOST_SIGHTINGS", 3)
    for number in range(10):
        os.utime(write(folder / f"{number}.tif"), ns=(1, 10**9 * (100 - number)))
    watched = WatchedFolder(SETTINGS, folder, store.files)
    waiting: list[int] = []
    watched.report.on_change = lambda status: waiting.append(status.files_waiting)

    async with judging(watched, store) as judge:
        await until(lambda: len(judge.names) == 10)

    assert judge.names == [f"{number}.tif" for number in reversed(range(10))]
    assert max(waiting) == 10
    assert waiting[-1] == 0
