"""The n-th statement to the disk fails, for every n from the start over a refocus to the stop."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from focusd.errors import StoreError
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.sharksem_server import SharkSEMServer
from tests.faulty_disk import FaultyDisk, faulty_disk
from tests.loopback.bench import DEPTH_OF_FIELD_UM, daemon, make_column

TORTURES = int(os.environ.get("TORTURES", "12"))
"""How many of the statements fail, evenly spread; 1000 by hand: all."""
START_MM = 9.008
CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_READONLY)


async def live(server: SharkSEMServer, state: Path) -> dict[str, Any] | None:
    """Start, take a frame, which refocuses, and stop; give the answer, ``None`` if it did not start."""
    has_started = False
    try:
        async with daemon(server.port, state) as client:
            has_started = True
            await client.until(lambda status: status["link"]["connected"] or "focusd.db" in status["reason"])
            _, answer = await client.call("POST", "v1/scans")
            await client.get("v1/status")
            assert isinstance(answer, dict)
            return answer
    except StoreError:
        # A start that fails says why and ends the process with a code of its own.
        assert not has_started
        return None


async def count_statements(disk: FaultyDisk, folder: Path) -> int:
    """Count what a life of the daemon asks of the disk."""
    async with SharkSEMServer(make_column(working_distance_mm=START_MM), time_scale=0) as server:
        answer = await live(server, folder)
    assert answer is not None
    assert answer["refocus"]["result"] == "refocused"
    return disk.statements


def check_place(column: SimulatedColumn, answer: dict[str, Any] | None, state: Path) -> None:
    """The lens stands in proven focus, if so it was answered or written down, and else as it was found."""
    with closing(sqlite3.connect(state / "focusd.db")) as database:
        records = database.execute("SELECT record FROM journal ORDER BY entry_id").fetchall()
    outcomes = [json.loads(record)["outcome"] for (record,) in records]
    assert None not in outcomes
    refocus = (answer or {}).get("refocus") or {}
    if refocus.get("result") == "refocused" or "refocused" in outcomes:
        assert "refocused" in outcomes
        assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM
    else:
        assert column.working_distance_mm == pytest.approx(START_MM, abs=1e-9)


@pytest.mark.timeout(60 + 12 * TORTURES)
@pytest.mark.parametrize("lasts", [False, True], ids=["once", "for good"])
async def test_whichever_statement_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lasts: bool
) -> None:
    """No crash; the lens is as found or in proven focus; after the next start no restore point is open."""
    disk = faulty_disk(monkeypatch)
    disk.also_reads = True
    total = await count_statements(disk, tmp_path / "counted")
    assert total > 60
    for number in range(1, total + 1, max(1, total // TORTURES)):
        state = tmp_path / f"{number}"
        column = make_column(working_distance_mm=START_MM)
        async with SharkSEMServer(column, time_scale=0) as server:
            disk.statements, disk.fail_at, disk.lasts = 0, number, lasts
            disk.code = CODES[number % len(CODES)]
            answer = await live(server, state)
            disk.code = None
            async with daemon(server.port, state) as client:
                await client.until(lambda status: status["link"]["connected"])
        check_place(column, answer, state)


@pytest.mark.timeout(60 + 12 * TORTURES)
async def test_the_directory_is_removed_before_any_statement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restore point and all: a refocus that misses it puts the lens back by what it remembers itself."""
    disk = faulty_disk(monkeypatch)
    disk.also_reads = True
    total = await count_statements(disk, tmp_path / "counted")
    for number in range(1, total + 1, max(1, total // TORTURES)):
        state = tmp_path / f"{number}"
        column = make_column(working_distance_mm=START_MM)
        async with SharkSEMServer(column, time_scale=0) as server:
            disk.statements, disk.fail_at = 0, number
            disk.at_fault = partial(shutil.rmtree, state)
            answer = await live(server, state)
        refocus = (answer or {}).get("refocus") or {}
        if refocus.get("result") == "refocused":
            assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM, number
        else:
            assert column.working_distance_mm == pytest.approx(START_MM, abs=1e-9), (number, answer)
