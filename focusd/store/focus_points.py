"""Where on the stage focus was found; the newest 500 points are kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import replace

from pydantic import TypeAdapter

from focusd.records import FocusPoint
from focusd.store.file import DatabaseFile
from focusd.store.rows import RowFormat

MAX_POINTS = 500

_ROWS = RowFormat("focus_points", TypeAdapter(FocusPoint))


class FocusPoints:
    """The table of focus points. Every method raises ``StoreError`` when SQLite refuses."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file

    async def list(self) -> list[FocusPoint]:
        """Give all points, oldest first."""
        return await self._file.select(
            _ROWS, "SELECT point_id, record, crc FROM focus_points ORDER BY point_id"
        )

    async def append(self, point: FocusPoint) -> FocusPoint:
        """Keep a point and give it with its id; the oldest goes when there are too many."""

        def work(connection: sqlite3.Connection) -> FocusPoint:
            (last_id,) = connection.execute("SELECT coalesce(max(point_id), 0) FROM focus_points").fetchone()
            kept = replace(point, point_id=last_id + 1)
            connection.execute(
                "INSERT INTO focus_points (point_id, record, crc) VALUES (?, ?, ?)",
                _ROWS.pack(kept.point_id, kept),
            )
            connection.execute(
                "DELETE FROM focus_points WHERE point_id NOT IN"
                " (SELECT point_id FROM focus_points ORDER BY point_id DESC LIMIT ?)",
                (MAX_POINTS,),
            )
            return kept

        return await self._file.write(work, durable=False)

    async def delete(self, points: Iterable[FocusPoint]) -> None:
        """Forget some points."""
        ids = [(point.point_id,) for point in points]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM focus_points WHERE point_id = ?", ids)

        await self._file.write(work, durable=False)

    async def clear(self) -> int:
        """Forget all points; tell how many there were."""

        def work(connection: sqlite3.Connection) -> int:
            return connection.execute("DELETE FROM focus_points").rowcount

        return await self._file.write(work)
