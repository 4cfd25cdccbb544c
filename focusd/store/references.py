"""How a picture in focus looks: one spectrum for each imaging condition, at most 200 of them."""

from __future__ import annotations

import sqlite3

from pydantic import TypeAdapter

from focusd.frame import ImagingConditions
from focusd.records import Reference
from focusd.store.file import DatabaseFile
from focusd.store.rows import RowFormat

MAX_REFERENCES = 200

_ROWS = RowFormat("focus_references", TypeAdapter(Reference))
_ALL = "SELECT condition, record, crc FROM focus_references"


class References:
    """The table of references. Every method raises ``StoreError`` when SQLite refuses."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file

    async def find(self, conditions: ImagingConditions) -> Reference | None:
        """Give the newest reference whose frames may be compared with those of ``conditions``."""
        matching = [one for one in await self._list() if one.conditions.matches(conditions)]
        return max(matching, key=lambda one: one.created_at, default=None)

    async def put(self, reference: Reference) -> None:
        """Keep a reference in place of the one with the same key; the oldest goes when there are too many."""
        others = sorted(
            (one for one in await self._list() if one.condition != reference.condition),
            key=lambda one: one.created_at,
        )
        row = _ROWS.pack(reference.condition, reference)
        surplus = [(one.condition,) for one in others[: max(0, len(others) + 1 - MAX_REFERENCES)]]

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO focus_references (condition, record, crc) VALUES (?, ?, ?)", row
            )
            connection.executemany("DELETE FROM focus_references WHERE condition = ?", surplus)

        await self._file.write(work, durable=False)

    async def delete_like(self, conditions: ImagingConditions) -> None:
        """Forget the references of all that is looked at in the same way, whatever part of it was scanned."""
        doomed = [(one.condition,) for one in await self._list() if one.conditions.sees_as(conditions)]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM focus_references WHERE condition = ?", doomed)

        await self._file.write(work)

    async def _list(self) -> list[Reference]:
        return await self._file.select(_ROWS, _ALL)
