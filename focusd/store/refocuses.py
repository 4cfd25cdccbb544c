"""Refocuses with their scans; the newest 100,000 are kept."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from pydantic import TypeAdapter

from focusd.records import RefocusRecord, RefocusResult
from focusd.store.file import DatabaseFile
from focusd.store.rows import LARGEST_KEY, RowFormat, highest_key

MAX_REFOCUSES = 100_000

_ROWS = RowFormat("refocuses", TypeAdapter(RefocusRecord))
_TRIM_EVERY = 100


class Refocuses:
    """The table of refocuses. Every method raises ``StoreError`` when SQLite refuses.

    Args:
        file: The database.
        last_id: The highest id in the table.
    """

    def __init__(self, file: DatabaseFile, *, last_id: int) -> None:
        self._file = file
        self._last_id = last_id

    @classmethod
    async def load(cls, file: DatabaseFile) -> Refocuses:
        """Take up the table where the last run left it."""
        last_id = await file.read(
            lambda connection: connection.execute(
                "SELECT coalesce(max(refocus_id), 0) FROM refocuses"
            ).fetchone()[0]
        )
        return cls(file, last_id=last_id)

    async def next_id(self) -> int:
        """Give an id above every one given before, also before a restart if it was used."""
        self._last_id += 1
        return self._last_id

    async def insert(self, record: RefocusRecord) -> None:
        """Keep a new refocus.

        Raises:
            StoreError: SQLite refused, or the id is taken.
        """
        row = (*_ROWS.pack(record.refocus_id, record), record.result is not None)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO refocuses (refocus_id, record, crc, closed) VALUES (?, ?, ?, ?)", row
            )
            if record.refocus_id % _TRIM_EVERY == 0:
                oldest = record.refocus_id - MAX_REFOCUSES
                connection.execute("DELETE FROM refocuses WHERE refocus_id <= ?", (oldest,))

        await self._file.write(work)

    async def update(self, record: RefocusRecord) -> None:
        """Keep what a refocus has become; also when the disk was full at its ``insert``."""
        row = (*_ROWS.pack(record.refocus_id, record), record.result is not None)
        await self._file.write(lambda connection: _replace(connection, [row]))

    async def get(self, refocus_id: int) -> RefocusRecord | None:
        """Give one refocus."""
        if abs(refocus_id) > LARGEST_KEY:
            return None
        found = await self._file.select(
            _ROWS, "SELECT refocus_id, record, crc FROM refocuses WHERE refocus_id = ?", (refocus_id,)
        )
        return found[0] if found else None

    async def page(self, before: int | None, limit: int) -> list[RefocusRecord]:
        """Give up to ``limit`` refocuses with ids under ``before`` (all when ``None``), newest first."""
        return await self._file.select(
            _ROWS,
            "SELECT refocus_id, record, crc FROM refocuses WHERE refocus_id <= ?"
            " ORDER BY refocus_id DESC LIMIT ?",
            (highest_key(before), max(0, limit)),
        )

    async def close_interrupted(self, result: RefocusResult, reason: str) -> list[RefocusRecord]:
        """Give a result to the refocuses that have none, because focusd died in the middle of them."""
        running = await self._file.select(
            _ROWS, "SELECT refocus_id, record, crc FROM refocuses WHERE closed = 0 ORDER BY refocus_id"
        )
        closed = [
            replace(record, result=result, reason=reason) for record in running if record.result is None
        ]
        if closed:
            rows = [(*_ROWS.pack(record.refocus_id, record), True) for record in closed]
            await self._file.write(lambda connection: _replace(connection, rows))
        return closed


def _replace(connection: sqlite3.Connection, rows: list[tuple[int | str, str, int, bool]]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO refocuses (refocus_id, record, crc, closed) VALUES (?, ?, ?, ?)", rows
    )
