"""The disk fails under the running daemon: it judges on, moves nothing, says why, and comes back."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from focusd.simulator.sharksem_server import SharkSEMServer
from tests.faulty_disk import faulty_disk
from tests.loopback.bench import DEPTH_OF_FIELD_UM, Client, connected, daemon, make_column

BACK_WITHIN_S = 10.0
Switch = Callable[[], object]


def statement_fault(code: int) -> Callable[[pytest.MonkeyPatch, Path], tuple[Switch, Switch]]:
    """Have every write fail with one of SQLite's codes."""

    def arrange(monkeypatch: pytest.MonkeyPatch, state: Path) -> tuple[Switch, Switch]:
        disk = faulty_disk(monkeypatch)
        return lambda: setattr(disk, "code", code), lambda: setattr(disk, "code", None)

    return arrange


def reads_fail_too(monkeypatch: pytest.MonkeyPatch, state: Path) -> tuple[Switch, Switch]:
    """Have every statement fail, as on a disk that has gone."""
    disk = faulty_disk(monkeypatch)
    disk.also_reads = True
    return (
        lambda: setattr(disk, "code", sqlite3.SQLITE_IOERR_READ),
        lambda: setattr(disk, "code", None),
    )


def directory_gone(monkeypatch: pytest.MonkeyPatch, state: Path) -> tuple[Switch, Switch]:
    """Remove the state directory, and let nothing be made in its place."""

    def break_it() -> None:
        shutil.rmtree(state)
        state.touch()

    return break_it, state.unlink


def file_replaced(monkeypatch: pytest.MonkeyPatch, state: Path) -> tuple[Switch, Switch]:
    """Put another file in the database's place, and the old one back."""
    file, away = state / "focusd.db", state / "away"

    def break_it() -> None:
        file.rename(away)
        file.write_bytes(b"a backup")

    return break_it, lambda: away.replace(file)


FAULTS = {
    "full": (statement_fault(sqlite3.SQLITE_FULL), 507, "the disk is full"),
    "EIO": (statement_fault(sqlite3.SQLITE_IOERR_WRITE), 503, "does not read or write"),
    "read-only": (statement_fault(sqlite3.SQLITE_READONLY), 503, "cannot be written"),
    "gone": (reads_fail_too, 503, "does not read or write"),
    "removed": (directory_gone, 503, "state"),
    "replaced": (file_replaced, 503, "replaced by another file"),
}


async def back(client: Client) -> float:
    """Give the seconds until focusd is no longer degraded."""
    began = time.monotonic()
    await client.until(lambda status: status["state"] != "degraded")
    return time.monotonic() - began


@pytest.mark.parametrize("fault", FAULTS)
async def test_frames_are_judged_and_nothing_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Whatever is wrong with the disk; a refocus is refused with the reason, and made when it is mended."""
    arrange, refused_with, reason = FAULTS[fault]
    state = tmp_path / "state"
    break_it, mend_it = arrange(monkeypatch, state)
    column = make_column(working_distance_mm=9.008)
    async with connected(column, state) as client:
        _, first = await client.call("POST", "v1/scans")
        moves = len(column.moves)
        column.move_stage(z_mm=-0.016)

        break_it()
        answers = [await client.call("POST", "v1/scans") for _ in range(3)]
        status = await client.get("v1/status")
        code, refused = await client.call("POST", "v1/refocuses")
        paused, _ = await client.call("POST", "v1/pause", {"reason": "the disk"})
        during_pause = await client.get("v1/status")
        moves_meanwhile = len(column.moves) - moves
        mend_it()
        await client.call("POST", "v1/resume")
        back_after_s = await back(client)
        _, after = await client.call("POST", "v1/scans")
        page = await client.get("v1/frames")

    assert first["verdict"]["kept"]
    assert [code for code, _ in answers] == [200] * 3
    assert all(body["verdict"]["verdict"] in {"suspect", "out_of_focus"} for _, body in answers)
    assert not any(body["verdict"]["kept"] or body["refocus"] for _, body in answers)
    assert status["state"] == "degraded"
    assert reason in status["reason"]
    assert (code, refused["status"]) == (refused_with, refused_with)
    assert reason in refused["detail"]
    assert (paused, during_pause["state"]) == (refused_with, "paused")
    assert moves_meanwhile == 0
    assert back_after_s < BACK_WITHIN_S
    assert after["refocus"]["result"] == "refocused", after["refocus"]
    assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM
    assert page["frames"][0]["frame_id"] == after["verdict"]["frame_id"]


async def test_a_disk_that_fails_before_the_link_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether restore points are open is not known then: nothing is begun, and the status says why."""
    disk = faulty_disk(monkeypatch)
    column = make_column(working_distance_mm=9.008)
    async with SharkSEMServer(column, time_scale=0) as server:
        async with daemon(server.port, tmp_path / "state"):
            pass
        disk.also_reads = True
        async with daemon(server.port, tmp_path / "state") as client:
            disk.code = sqlite3.SQLITE_IOERR_READ
            await client.until(lambda status: "does not read or write" in status["reason"])
            disk.code = None
            async with asyncio.timeout(BACK_WITHIN_S):
                await client.until(lambda status: status["link"]["connected"])
            _, answer = await client.call("POST", "v1/scans")

    assert answer["refocus"]["result"] == "refocused"


async def test_an_operator_may_move_the_lens_without_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an operator's word it goes where it is told, and the answer says so."""
    disk = faulty_disk(monkeypatch)
    disk.also_reads = True
    column = make_column(working_distance_mm=9.008)
    async with connected(column, tmp_path / "state") as client:
        disk.code = sqlite3.SQLITE_IOERR_READ
        code, body = await client.call("PUT", "v1/microscope/working-distance", {"working_distance_mm": 9.1})
        disk.code = None

    assert code == 200, body
    assert column.working_distance_mm == pytest.approx(9.1, abs=1e-9)


async def test_a_directory_removed_is_made_anew(tmp_path: Path) -> None:
    """Frames go on being kept, in a new file, and the microscope is as before."""
    state = tmp_path / "state"
    async with connected(make_column(working_distance_mm=9.008), state) as client:
        await client.call("POST", "v1/scans")
        shutil.rmtree(state)
        _, answer = await client.call("POST", "v1/scans")
        page = await client.get("v1/frames")

    assert answer["verdict"]["kept"]
    assert [frame["frame_id"] for frame in page["frames"]] == [answer["verdict"]["frame_id"]]
