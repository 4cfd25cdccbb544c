"""Spectra of the scans of refocuses, where they were asked for; those of the newest 500 runs are kept."""

from __future__ import annotations

import sqlite3

from pydantic import TypeAdapter

from focusd.records import RefocusSpectra
from focusd.store.file import DatabaseFile
from focusd.store.rows import LARGEST_KEY, RowFormat

MAX_RUNS = 500
"""A run's spectra take about 2 KiB a scan."""

_ROWS = RowFormat("spectra", TypeAdapter(RefocusSpectra))


class Spectra:
    """The table of spectra. Every method raises ``StoreError`` when SQLite refuses."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file

    async def get(self, refocus_id: int) -> RefocusSpectra | None:
        """Give the spectra of a refocus, ``None`` if none are kept."""
        if abs(refocus_id) > LARGEST_KEY:
            return None
        found = await self._file.select(
            _ROWS, "SELECT refocus_id, record, crc FROM spectra WHERE refocus_id = ?", (refocus_id,)
        )
        return found[0] if found else None

    async def put(self, spectra: RefocusSpectra) -> None:
        """Keep the spectra of a refocus; those of the oldest go when there are too many."""
        row = _ROWS.pack(spectra.refocus_id, spectra)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO spectra (refocus_id, record, crc) VALUES (?, ?, ?)", row
            )
            connection.execute(
                "DELETE FROM spectra WHERE refocus_id NOT IN"
                " (SELECT refocus_id FROM spectra ORDER BY refocus_id DESC LIMIT ?)",
                (MAX_RUNS,),
            )

        await self._file.write(work, durable=False)
