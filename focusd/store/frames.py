"""Verdicts on frames: the newest ``max_frames`` of them.

These commits survive the death of the process; a power loss may take the last few.
"""

from __future__ import annotations

import sqlite3
import time

from pydantic import TypeAdapter

from focusd.frame import FrameFile
from focusd.records import FileNote, FileOutcome, FrameVerdict
from focusd.store.file import DatabaseFile
from focusd.store.files import file_row, put_file
from focusd.store.rows import LARGEST_KEY, RowFormat, highest_key

_ROWS = RowFormat("frames", TypeAdapter(FrameVerdict))
_TRIM_EVERY = 1000


class Frames:
    """The table of verdicts. Every method raises ``StoreError`` when SQLite refuses.

    Args:
        file: The database.
        max_frames: How many are kept at least; at most a tenth more, and never over 1,000 more.
        last_id: The highest id in the table.
    """

    def __init__(self, file: DatabaseFile, *, max_frames: int, last_id: int) -> None:
        self._file = file
        self._max_frames = max_frames
        self._trim_every = max(1, min(_TRIM_EVERY, max_frames // 10))
        self._last_id = last_id

    @classmethod
    async def load(cls, file: DatabaseFile, *, max_frames: int) -> Frames:
        """Take up the table where the last run left it."""
        last_id = await file.read(
            lambda connection: connection.execute("SELECT coalesce(max(frame_id), 0) FROM frames").fetchone()[
                0
            ]
        )
        return cls(file, max_frames=max_frames, last_id=last_id)

    async def next_id(self) -> int:
        """Give an id above every one given before, also before a restart if it was used."""
        self._last_id += 1
        return self._last_id

    async def append(self, verdict: FrameVerdict, file: FrameFile | None = None) -> None:
        """Keep a verdict under its ``frame_id``; the oldest go when there are too many.

        Args:
            verdict: The verdict.
            file: Where the frame was read from; in the same transaction it is noted as judged.

        Raises:
            StoreError: SQLite refused, or the id is taken; nothing was changed.
        """
        row = _ROWS.pack(verdict.frame_id, verdict)
        note = None
        if file is not None:
            note = file_row(FileNote(file, FileOutcome.JUDGED, time.time(), frame_id=verdict.frame_id))

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO frames (frame_id, record, crc) VALUES (?, ?, ?)", row)
            if note is not None:
                put_file(connection, note)
            if verdict.frame_id % self._trim_every == 0:
                # Ids are consecutive, so the bound on the id bounds the count without counting.
                oldest = verdict.frame_id - self._max_frames
                connection.execute("DELETE FROM frames WHERE frame_id <= ?", (oldest,))

        await self._file.write(work, durable=False)

    async def get(self, frame_id: int) -> FrameVerdict | None:
        """Give the verdict on one frame."""
        if abs(frame_id) > LARGEST_KEY:
            return None
        found = await self._file.select(
            _ROWS, "SELECT frame_id, record, crc FROM frames WHERE frame_id = ?", (frame_id,)
        )
        return found[0] if found else None

    async def page(self, before: int | None, limit: int) -> list[FrameVerdict]:
        """Give up to ``limit`` verdicts with ids under ``before`` (all when ``None``), newest first."""
        return await self._file.select(
            _ROWS,
            "SELECT frame_id, record, crc FROM frames WHERE frame_id <= ? ORDER BY frame_id DESC LIMIT ?",
            (highest_key(before), max(0, limit)),
        )
