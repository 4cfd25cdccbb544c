"""A store with a long history, made at once, as the daemon would have left it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from focusd.store.database import open_store
from tests.unit.store.records_made import refocus, verdict

FRAMES_A_REFOCUS: Final = 100
LEAST_REFOCUSES: Final = 50
_FIRST_AT: Final = 1_790_000_000.0
_MARK: Final = 123_456_789_012
"""An id that stands nowhere else in a record."""


def make_history(directory: Path, frames: int) -> None:
    """Fill a state directory with verdicts, and a refocus for every hundred of them."""

    async def begin() -> None:
        async with open_store(directory, max_frames=10_000_000) as store:
            await store.frames.append(replace(verdict(_MARK), acquired_at=_FIRST_AT))
            await store.refocuses.insert(refocus(_MARK))

    asyncio.run(begin())
    with closing(sqlite3.connect(directory / "focusd.db")) as connection, connection:
        for table, key, count in (
            ("frames", "frame_id", frames),
            ("refocuses", "refocus_id", max(LEAST_REFOCUSES, frames // FRAMES_A_REFOCUS)),
        ):
            # The names are this module's own.
            (record,) = connection.execute(f"SELECT record FROM {table}").fetchone()  # noqa: S608
            connection.execute(f"DELETE FROM {table}")  # noqa: S608
            times = ", kept_at" if table == "frames" else ", closed"
            connection.executemany(
                f"INSERT INTO {table} ({key}, record, crc{times}) VALUES (?, ?, ?, ?)",  # noqa: S608
                _rows(record, count, is_frame=table == "frames"),
            )


def _rows(record: str, count: int, *, is_frame: bool) -> Iterator[tuple[int, str, int, float]]:
    before, _, after = record.partition(json.dumps(_MARK))
    for number in range(1, count + 1):
        text = f"{before}{number}{after}"
        crc = zlib.crc32(text.encode(), zlib.crc32(f"{number}\n".encode()))
        yield number, text, crc, _FIRST_AT + number if is_frame else 1.0
