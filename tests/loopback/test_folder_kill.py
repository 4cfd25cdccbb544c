"""Files appear while the daemon is killed twice: each is judged exactly once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from focusd.records import FileOutcome
from focusd.store.database import open_store
from tests.loopback.test_folder import image
from tests.loopback.test_process import process
from tests.unit.store.records_made import notes_under

FILES = int(os.environ.get("FOLDER_KILL_FILES", "150"))
"""More of them, and more kills, by hand."""
KILLS = int(os.environ.get("FOLDER_KILLS", "2"))


def write_config(home: Path, folder: Path) -> Path:
    """Write a configuration without a microscope: a verdict needs none."""
    path = home / "focusd.toml"
    path.write_text(
        f"""
        [microscope]
        port = 1
        limits.working_distance_mm = [4.0, 30.0]
        [frames]
        source = "folder"
        [folder]
        path = "{folder}"
        existing = "judge"
        settle_s = 0.2
        rescan_s = 2.0
        [baseline]
        policy = "manual"
        [http]
        port = 0
        """,
        encoding="utf-8",
    )
    return path


async def write_files(folder: Path, files: int, rng: random.Random) -> None:
    """Write files as all kinds of software do: at once, in pieces, or aside and then renamed."""
    for number in range(files):
        path, content = folder / f"tile{number:05}.tif", image(number)
        how = rng.choice(("at once", "in pieces", "renamed"))
        if how == "renamed":
            path.with_suffix(".part").write_bytes(content)
            path.with_suffix(".part").rename(path)
        else:
            with path.open("wb") as stream:
                stream.write(content[:1000])
                if how == "in pieces":
                    stream.flush()
                    await asyncio.sleep(rng.uniform(0.0, 0.1))
                stream.write(content[1000:])
        await asyncio.sleep(rng.uniform(0.0, 0.02))


def judged(state: Path) -> int:
    """Count the files that the store knows to be judged, from outside."""
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(f"file:{state}/focusd.db?mode=ro", uri=True)) as connection,
    ):
        return int(connection.execute("SELECT count(*) FROM frames").fetchone()[0])
    return 0


async def until_judged(child: asyncio.subprocess.Process, state: Path, count: int) -> None:
    """Wait until so many files have been judged; the log is read meanwhile, so that it does not fill up."""
    assert child.stderr is not None
    drain = asyncio.create_task(child.stderr.read())
    try:
        async with asyncio.timeout(30 + FILES / 10):
            while judged(state) < count:
                assert child.returncode is None
                await asyncio.sleep(0.005)
    finally:
        drain.cancel()
        with suppress(asyncio.CancelledError):
            await drain


@pytest.mark.timeout(60 + FILES / 4 + 10 * KILLS)
async def test_files_appearing_while_the_daemon_is_killed_twice_are_judged_once_each(tmp_path: Path) -> None:
    """No verdict is doubled and none is missing, at whatever moment kill -9 comes."""
    rng = random.Random(20_261_122)
    folder, state = tmp_path / "frames", tmp_path / "state"
    folder.mkdir()
    config = write_config(tmp_path, folder)
    writer = asyncio.create_task(write_files(folder, FILES, rng))
    for kill in range(1, KILLS + 1):
        async with process(config) as child:
            await until_judged(child, state, kill * FILES // (KILLS + 1))
            await asyncio.sleep(rng.uniform(0.0, 0.05))
            child.kill()
            assert await child.wait() == -signal.SIGKILL
    async with process(config) as child:
        await until_judged(child, state, FILES)
        await writer
        child.send_signal(signal.SIGTERM)
        assert await child.wait() == 0

    async with open_store(state, max_frames=100_000) as store:
        verdicts = await store.frames.page(None, 2 * FILES)
        notes = await notes_under(store.files, str(folder))
        problems = store.problems
    assert sorted(one.file or "" for one in verdicts) == [str(path) for path in sorted(folder.iterdir())]
    assert len(verdicts) == FILES
    known = {note.file.path: note.frame_id for note in notes if note.outcome is FileOutcome.JUDGED}
    assert known == {one.file: one.frame_id for one in verdicts}
    assert problems == ()
