"""A watched folder, with real files in it: what acquisition software and shares do to them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from structlog.testing import capture_logs

from focusd.frame import ScanRequest
from focusd.simulator.column import SimulatedColumn
from tests.loopback.bench import SIDE_PX, Client, connected, daemon, make_column

NOBODY = 1
"""A port on which no microscope listens: a verdict needs none."""
QUICK: dict[str, object] = {"settle_s": 0.1, "give_up_s": 0.3}


def image(seed: int = 0, *, side_px: int = 64, suffix: str = ".tif") -> bytes:
    """Encode a small noisy picture."""
    pixels = np.random.default_rng(seed).integers(20, 220, (side_px, side_px), dtype=np.uint8)
    encoded, content = cv2.imencode(suffix, cv2.blur(pixels, (3, 3)))
    assert encoded
    return content.tobytes()


@asynccontextmanager
async def watching(state: Path, folder: Path, **keys: object) -> AsyncIterator[Client]:
    """A daemon that watches a folder, without a microscope."""
    settings: dict[str, dict[str, object]] = {
        "frames": {"source": "folder"},
        "folder": {"path": str(folder)} | QUICK | keys,
        "baseline": {"policy": "manual"},
    }
    async with daemon(NOBODY, state, **settings) as client:
        yield client


async def until(client: Client, **wanted: object) -> dict[str, Any]:
    """Wait until the folder's status says so, and give it."""
    status = await client.until(
        lambda now: all(now["folder"][name] == value for name, value in wanted.items())
    )
    found: dict[str, Any] = status["folder"]
    return found


async def judged(client: Client) -> list[str]:
    """Names of the files with a verdict, in the order in which they were judged."""
    page = await client.get("v1/frames?limit=200")
    return [Path(frame["file"]).name for frame in reversed(page["frames"])]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give an empty folder."""
    path = tmp_path / "frames"
    path.mkdir()
    return path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a state directory."""
    return tmp_path / "state"


@pytest.mark.parametrize("polling", [False, True])
async def test_files_are_judged_once_each_in_the_order_they_were_written(
    state: Path, folder: Path, *, polling: bool
) -> None:
    """The verdict names the file; names count only where times are equal."""
    async with watching(state, folder, polling=polling, polling_interval_s=0.1) as client:
        await until(client, state="watching")
        written_ns = 1_700_000_000_000_000_000
        for name, later in (("c.tif", 1), ("b.TIF", 2), ("a.tif", 2), ("d.png", 3)):
            path = folder / f".{name}"
            path.write_bytes(image(suffix=Path(name).suffix.lower()))
            os.utime(path, ns=(written_ns, written_ns + later))
        for path in sorted(folder.iterdir()):
            path.rename(folder / path.name[1:])
        status = await until(client, files_judged=4, files_waiting=0)
        names = await judged(client)
        page = await client.get("v1/frames")

    assert names == ["c.tif", "a.tif", "b.TIF", "d.png"]
    assert page["frames"][-1]["file"] == str(folder / "c.tif")
    assert page["frames"][-1]["acquired_at"] == pytest.approx(1_700_000_000)
    assert (status["files_refused"], status["last_refused"]) == (0, None)


async def test_a_file_that_is_written_slowly_is_read_when_it_is_whole(state: Path, folder: Path) -> None:
    """Each piece begins the settle time anew, and a pause too long costs no more than a second look."""
    content = image(side_px=128)
    async with watching(state, folder, give_up_s=20.0) as client:
        await until(client, state="watching")
        with (folder / "slow.tif").open("wb") as stream:
            for start in range(0, len(content), 4000):
                stream.write(content[start : start + 4000])
                stream.flush()
                await until(client, files_waiting=1)
                await asyncio.sleep(0.15)
        status = await until(client, files_judged=1)

    assert (status["files_refused"], status["files_waiting"]) == (0, 0)


async def test_what_is_no_image_is_named_once_and_disturbs_nothing(state: Path, folder: Path) -> None:
    """Each entry has one line in the log with its reason; images before and after are judged."""
    content = image(side_px=128)
    outside = folder.parent / "outside.tif"
    outside.write_bytes(content)
    odd = {
        "text.tif": b"These are not the pixels you are looking for." * 10,
        "cut.tif": content[: len(content) // 2],
        "zeros.tif": bytes(5000),
        "empty.tif": b"",
        "cut.png": image(suffix=".png")[:-30],
        "huge.tif": content + bytes(2**20),
    }
    with capture_logs() as events:
        async with watching(state, folder, max_file_mib=1) as client:
            await until(client, state="watching")
            (folder / "first.tif").write_bytes(content)
            for name, data in odd.items():
                (folder / name).write_bytes(data)
            (folder / "directory.tif").mkdir()
            (folder / "link.tif").symlink_to(outside)
            os.mkfifo(folder / "pipe.tif")
            (folder / "notes.txt").write_text("not looked at", encoding="utf-8")
            (folder / "._first.tif").write_bytes(b"of another system")
            status = await until(client, files_judged=1, files_refused=9, files_waiting=0)
            (folder / "last.tif").write_bytes(image(1))
            await until(client, files_judged=2)
            assert await judged(client) == ["first.tif", "last.tif"]
        async with watching(state, folder) as client:
            await until(client, state="watching", files_waiting=0)
            (folder / "later.tif").write_bytes(image(2))
            await until(client, files_judged=1)

    refused = [event for event in events if event["event"] == "folder_file_refused"]
    reasons = {Path(event["path"]).name: event["reason"] for event in refused[:9]}
    assert set(reasons) == {*odd, "directory.tif", "link.tif", "pipe.tif"}
    assert reasons["empty.tif"] == "is empty"
    assert "not a PNG, TIFF" in reasons["text.tif"]
    assert "symbolic link" in reasons["link.tif"]
    assert reasons["directory.tif"] == "is a directory"
    assert "at most 1 MiB" in reasons["huge.tif"]
    assert status["last_refused"]["reason"] in reasons.values()
    # Files are remembered over a restart; what is no file is named once a run.
    assert {Path(event["path"]).name for event in refused[9:]} == {"directory.tif", "link.tif", "pipe.tif"}


async def test_a_refused_file_is_looked_at_again_when_it_changes(state: Path, folder: Path) -> None:
    """Also after a restart: whoever writes may have been interrupted for a day."""
    content = image(side_px=128)
    path = folder / "day.tif"
    async with watching(state, folder) as client:
        await until(client, state="watching")
        path.write_bytes(content[:8000])
        await until(client, files_refused=1, files_waiting=0)
    with path.open("ab") as stream:
        stream.write(content[8000:])
    async with watching(state, folder) as client:
        await until(client, files_judged=1)


async def test_a_file_written_over_is_another_frame(state: Path, folder: Path) -> None:
    """Software that writes every image to one name is served; a file touched is not told from it."""
    path = folder / "latest.tif"
    async with watching(state, folder) as client:
        await until(client, state="watching")
        for number in range(1, 4):
            fresh = folder / "latest.tmp"
            fresh.write_bytes(image(number))
            fresh.rename(path)
            await until(client, files_judged=number, files_waiting=0)
        assert await judged(client) == ["latest.tif"] * 3


async def test_a_file_that_vanishes_is_no_matter(state: Path, folder: Path) -> None:
    """It is said, and the next one is judged: at once, because it is renamed into place."""
    with capture_logs() as events:
        async with watching(state, folder, settle_s=60.0) as client:
            await until(client, state="watching")
            (folder / "short.tif").write_bytes(image())
            await until(client, files_waiting=1)
            (folder / "short.tif").unlink()
            await until(client, files_waiting=0)
            (folder / ".next").write_bytes(image(1))
            os.utime(folder / ".next", (1_700_000_000, 1_700_000_000))
            (folder / ".next").rename(folder / "next.tif")
            await until(client, files_judged=1)

    vanished = [event for event in events if event["event"] == "folder_files_vanished"]
    assert [event["first"] for event in vanished] == [str(folder / "short.tif")]


async def test_a_folder_may_come_go_and_come_back(state: Path, folder: Path) -> None:
    """Missing at the start, made with a file in it, moved away as an unmounted share is, and put back."""
    folder.rmdir()
    aside = folder.with_name("aside")
    with capture_logs() as events:
        async with watching(state, folder) as client:
            await until(client, state="missing")
            folder.mkdir()
            (folder / "one.tif").write_bytes(image(1))
            await until(client, state="watching", files_judged=1)
            folder.rename(aside)
            await until(client, state="missing")
            folder.mkdir()
            await until(client, state="watching")
            folder.rmdir()
            await until(client, state="missing")
            (aside / "two.tif").write_bytes(image(2))
            aside.rename(folder)
            await until(client, state="watching", files_judged=2)
            (folder / "three.tif").write_bytes(image(3))
            await until(client, files_judged=3, files_waiting=0)
            assert await judged(client) == ["one.tif", "two.tif", "three.tif"]

    states = [event["state"] for event in events if event["event"] == "folder_state_changed"]
    assert states == ["missing", "watching"] * 3


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """Mount a file system of its own; skips the test where that is not allowed."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    command = [mount or "", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if not mount or not umount or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    try:
        yield
    finally:
        # Lazily, as when a server is gone: somebody may be looking into it just now.
        subprocess.run([umount, "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("polling", [False, True])
async def test_a_share_that_is_unmounted_is_told_of_and_watched_again(
    state: Path, folder: Path, *, polling: bool
) -> None:
    """Its mount point is an empty folder; what is mounted there later is listened to."""
    keys: dict[str, object] = {"polling": polling, "polling_interval_s": 0.1, "rescan_s": 0.2}
    async with watching(state, folder, **keys) as client:
        await until(client, state="watching")
        with mounted(folder):
            (folder / "one.tif").write_bytes(image(1))
            await until(client, files_judged=1)
        gone = await until(client, state="missing")
        with mounted(folder):
            (folder / "two.tif").write_bytes(image(2))
            await until(client, state="watching", files_judged=2)
            (folder / "three.tif").write_bytes(image(3))
            await until(client, files_judged=3)
            assert await judged(client) == ["one.tif", "two.tif", "three.tif"]

    assert "is it mounted?" in gone["reason"]


@pytest.mark.parametrize(("existing", "expected"), [("skip", ["new.tif"]), ("judge", ["old.tif", "new.tif"])])
async def test_files_that_were_there_before_are_skipped_or_judged_as_told(
    state: Path, folder: Path, existing: str, expected: list[str]
) -> None:
    """That holds for the very first start; what appears while focusd is not running is judged at the next."""
    (folder / "old.tif").write_bytes(image())
    async with watching(state, folder, existing=existing) as client:
        await until(client, state="watching", files_waiting=0, files_judged=len(expected) - 1)
    (folder / "new.tif").write_bytes(image(1))
    async with watching(state, folder, existing=existing) as client:
        await until(client, files_judged=1, files_waiting=0)
        assert await judged(client) == expected


async def test_subfolders_count_where_they_are_told_to(state: Path, folder: Path) -> None:
    """Also such as are made later, several at once; links to folders are not followed."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.tif").write_bytes(image(9))
    async with watching(state, folder, recursive=True) as client:
        await until(client, state="watching")
        (folder / "link").symlink_to(outside)
        deep = folder / "a" / "b.tif"
        deep.mkdir(parents=True)
        (deep / "one.tif").write_bytes(image(1))
        await until(client, files_judged=1)
        (deep / "two.tif").write_bytes(image(2))
        (folder / "three.tif").write_bytes(image(3))
        status = await until(client, files_judged=3, files_waiting=0)
        names = set(await judged(client))

    assert names == {"one.tif", "two.tif", "three.tif"}
    assert status["files_refused"] == 0


async def test_what_files_do_not_tell_is_taken_from_the_configuration(state: Path, folder: Path) -> None:
    """So that baselines of different conditions are kept apart."""
    told: dict[str, object] = {
        "pixel_size_nm": 4.0,
        "dwell_time_us": 0.8,
        "accelerating_voltage_kv": 5.0,
        "detector": "InLens",
        "label": "mouse",
    }
    async with watching(state, folder, **told) as client:
        await until(client, state="watching")
        (folder / "a.tif").write_bytes(image())
        await until(client, files_judged=1)
        page = await client.get("v1/frames")

    assert page["frames"][0]["condition"] == "InLens-5kV-0.8us-4nm-64x64-8bit-mouse"


async def test_names_that_are_no_text_are_judged_and_remembered(state: Path, folder: Path) -> None:
    """A name is bytes to the system; another program's may be in Latin-1."""
    Path(os.fsdecode(os.fsencode(folder) + b"/scan \xb5m\n.tif")).write_bytes(image())
    for expected in (1, 0):
        async with watching(state, folder, existing="judge") as client:
            await until(client, state="watching", files_waiting=0, files_judged=expected)
            frames = (await client.get("v1/frames"))["frames"]
            assert [frame["file"] for frame in frames] == [f"{folder}/scan \\xb5m\n.tif"]


async def test_while_nothing_can_be_kept_nothing_is_lost(state: Path, folder: Path) -> None:
    """The database is taken away and comes back; files written meanwhile are judged then, once each."""
    database = state / "focusd.db"
    with capture_logs() as events:
        async with watching(state, folder) as client:
            await until(client, state="watching")
            (folder / "one.tif").write_bytes(image(1))
            await until(client, files_judged=1)
            other = database.with_name("other")
            shutil.copy(database, other)
            database.rename(aside := database.with_name("aside"))
            other.rename(database)
            (folder / "two.tif").write_bytes(image(2))
            await client.until(lambda now: "replaced" in now["folder"]["store_error"])
            (folder / "three.tif").write_bytes(image(3))
            aside.rename(database)
            await until(client, files_judged=3, store_error="", files_waiting=0)
            assert await judged(client) == ["one.tif", "two.tif", "three.tif"]

    told = [event["event"] for event in events if event["event"].startswith("folder_store")]
    assert told == ["folder_store_failed", "folder_store_works_again"]


async def test_focus_is_kept_by_files_alone(tmp_path: Path, state: Path, folder: Path) -> None:
    """Acquisition software writes its tiles into a folder: focusd finds focus, and again when it is lost."""
    column: SimulatedColumn = make_column(working_distance_mm=9.008)
    settings: dict[str, dict[str, object]] = {
        "frames": {"source": "folder"},
        "folder": {"path": str(folder), "pixel_size_nm": 10.0, "dwell_time_us": 1.0} | QUICK,
        "drift": {"detector": "ratio", "frames_below": 2, "frames_window": 3},
    }
    tiles = 0

    async def write_tile() -> dict[str, Any]:
        nonlocal tiles
        tiles += 1
        pixels = column.render(ScanRequest(SIDE_PX, SIDE_PX, dwell_time_us=1.0))
        temporary = tmp_path / "tile.tif"
        assert cv2.imwrite(str(temporary), pixels)
        temporary.rename(folder / f"tile{tiles:04}.tif")
        return await client.until(lambda now: now["folder"]["files_judged"] == tiles)

    async with connected(column, state, **settings) as client:
        await until(client, state="watching")
        await write_tile()
        await client.until(lambda now: now["last_refocus"] is not None and now["current_refocus"] is None)
        for _ in range(4):
            status = await write_tile()
        assert status["last_verdict"]["verdict"] == "in_focus"
        column.move_stage(z_mm=-0.016)
        for _ in range(3):
            await write_tile()
        status = await client.until(
            lambda now: now["last_refocus"]["trigger"] == "drift" and now["current_refocus"] is None
        )

    assert status["last_refocus"]["result"] == "refocused"
    assert abs(column.true_defocus_um()) < 2.0
