"""Baselines, one per imaging condition; durable, and never used when damaged."""

from __future__ import annotations

import sqlite3

from pydantic import TypeAdapter

from focusd.frame import ImagingConditions
from focusd.records import Baseline
from focusd.store.file import DatabaseFile
from focusd.store.rows import RowFormat

_ROWS = RowFormat("baselines", TypeAdapter(Baseline))
_ALL = "SELECT condition, record, crc FROM baselines"


class Baselines:
    """The table of baselines. Every method raises ``StoreError`` when SQLite refuses."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file

    async def list(self) -> list[Baseline]:
        """Give all baselines, newest first."""
        baselines = await self._file.select(_ROWS, _ALL)
        return sorted(baselines, key=lambda baseline: baseline.created_at, reverse=True)

    async def get(self, condition: str) -> Baseline | None:
        """Give the baseline of a condition's key."""
        found = await self._file.select(_ROWS, f"{_ALL} WHERE condition = ?", (condition,))
        return found[0] if found else None

    async def find(self, conditions: ImagingConditions) -> Baseline | None:
        """Give the newest baseline whose sharpness may be compared with that of ``conditions``."""
        return next((one for one in await self.list() if one.conditions.matches(conditions)), None)

    async def put(self, baseline: Baseline) -> None:
        """Keep a baseline in place of the one with the same key.

        Raises:
            StoreError: SQLite refused, or a sharpness is not finite.
        """
        row = _ROWS.pack(baseline.condition, baseline)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO baselines (condition, record, crc) VALUES (?, ?, ?)", row
            )

        await self._file.write(work)

    async def delete(self, condition: str) -> bool:
        """Forget a baseline; tell whether there was one."""

        def work(connection: sqlite3.Connection) -> bool:
            return connection.execute("DELETE FROM baselines WHERE condition = ?", (condition,)).rowcount > 0

        return await self._file.write(work)
