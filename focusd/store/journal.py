"""Restore points, written ahead: where the lens stood, and every place it is about to be sent to.

The rule that all else hangs on: ``open`` and ``command`` return only when the entry is on the disk, and the
lens moves only after they have returned. So after any crash an open entry tells where the lens may stand
and where it came from.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from focusd.errors import StoreError
from focusd.records import RestorePoint
from focusd.store.file import DatabaseFile
from focusd.store.rows import RowFormat

MAX_CLOSED_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class _Entry:
    point: RestorePoint
    outcome: str | None = None
    """How it was settled; open while ``None``."""


_ROWS = RowFormat("journal", TypeAdapter(_Entry))


class Journal:
    """The table of restore points.

    Every method raises ``StoreError`` when SQLite refuses or a working distance is not finite; then nothing
    was written, and nothing may be moved.
    """

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file

    async def open(
        self, refocus_id: int | None, original_working_distance_mm: float, opened_at: float
    ) -> RestorePoint:
        """Write down where the lens stands, before the first move of a refocus, or of none."""
        _check_finite(original_working_distance_mm)

        def work(connection: sqlite3.Connection) -> RestorePoint:
            (last_id,) = connection.execute("SELECT coalesce(max(entry_id), 0) FROM journal").fetchone()
            point = RestorePoint(last_id + 1, refocus_id, original_working_distance_mm, opened_at)
            connection.execute(
                "INSERT INTO journal (entry_id, record, crc, closed) VALUES (?, ?, ?, 0)",
                _ROWS.pack(point.entry_id, _Entry(point)),
            )
            oldest = point.entry_id - MAX_CLOSED_ENTRIES
            connection.execute("DELETE FROM journal WHERE closed = 1 AND entry_id <= ?", (oldest,))
            return point

        return await self._file.write(work)

    async def command(self, entry_id: int, working_distance_mm: float) -> None:
        """Write down where the lens is about to be sent."""
        _check_finite(working_distance_mm)
        await self._change(
            entry_id,
            lambda entry: replace(
                entry,
                point=replace(entry.point, commanded_mm=(*entry.point.commanded_mm, working_distance_mm)),
            ),
        )

    async def best(self, entry_id: int, working_distance_mm: float) -> None:
        """Write down the sharpest place found so far."""
        _check_finite(working_distance_mm)
        await self._change(
            entry_id,
            lambda entry: replace(
                entry, point=replace(entry.point, best_working_distance_mm=working_distance_mm)
            ),
        )

    async def close(self, entry_id: int, outcome: str, *, supersedes: bool = False) -> None:
        """Write down that the lens stands where it should.

        Args:
            entry_id: Which entry.
            outcome: How that came about.
            supersedes: Whether earlier entries end with it: a lens that was once stuck and not put back is
                in focus now, and must not be put back later.
        """
        if supersedes:
            await self.supersede(before=entry_id)
        await self._change(entry_id, lambda entry: replace(entry, outcome=outcome))

    async def supersede(self, *, before: int | None = None) -> None:
        """Close what is open: the lens has been brought elsewhere since, and nothing is owed any more.

        Args:
            before: Only entries with a lower number; all unless given.
        """
        for entry in await self.pending():
            if before is None or entry.entry_id < before:
                await self.close(entry.entry_id, "superseded")

    async def pending(self) -> list[RestorePoint]:
        """Give the open entries, oldest first.

        All entries are checked, not only those marked open: one flipped bit must not hide a restore point.
        A damaged one is left out and reported in the store's problems.
        """
        entries = await self._file.select(
            _ROWS, "SELECT entry_id, record, crc FROM journal ORDER BY entry_id"
        )
        return [entry.point for entry in entries if entry.outcome is None]

    async def _change(self, entry_id: int, change: Callable[[_Entry], _Entry]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            rows = connection.execute(
                "SELECT entry_id, record, crc FROM journal WHERE entry_id = ?", (entry_id,)
            )
            entry = next(iter(_ROWS.unpack(rows).records), None)
            if entry is None or entry.outcome is not None:
                raise StoreError(f"there is no open journal entry {entry_id}")
            changed = change(entry)
            connection.execute(
                "UPDATE journal SET record = ?2, crc = ?3, closed = ?4 WHERE entry_id = ?1",
                (*_ROWS.pack(entry_id, changed), changed.outcome is not None),
            )

        await self._file.write(work)


def _check_finite(working_distance_mm: float) -> None:
    if not math.isfinite(working_distance_mm):
        raise StoreError(f"a working distance of {working_distance_mm} mm cannot be written down")
