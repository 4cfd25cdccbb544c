"""Runtime state that outlives a restart, such as being paused: JSON values by name; durable."""

from __future__ import annotations

import sqlite3

from pydantic import JsonValue, TypeAdapter

from focusd.store.file import DatabaseFile
from focusd.store.rows import RowFormat

_ADAPTER: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_ROWS = RowFormat("settings", _ADAPTER)


class Settings:
    """The table of settings. Every method raises ``StoreError`` when SQLite refuses."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file

    async def get(self, name: str) -> JsonValue:
        """Give a value, ``None`` when there is none or it was damaged."""
        found = await self._file.select(
            _ROWS, "SELECT name, record, crc FROM settings WHERE name = ?", (name,)
        )
        return found[0] if found else None

    async def put(self, name: str, value: JsonValue) -> None:
        """Keep a value."""
        row = _ROWS.pack(name, value)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO settings (name, record, crc) VALUES (?, ?, ?)", row)

        await self._file.write(work)
