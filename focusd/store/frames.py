"""Verdicts on frames: the newest ``max_frames`` of them, none older than ``keep_days``.

Each is committed by itself, which takes 0.07 ms, so nothing would be gained by gathering them. These commits
survive the death of the process; a power loss may take the last few. What is too old or too much goes in
small steps, because while rows are deleted nothing else can be written.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from pydantic import TypeAdapter

from focusd.frame import FrameFile
from focusd.records import FileNote, FileOutcome, FrameVerdict
from focusd.store.file import DatabaseFile
from focusd.store.files import file_row, put_file
from focusd.store.rows import LARGEST_KEY, RowFormat, highest_key

KEEP_DAYS = 365
TRIM_ROWS = 500
"""Most rows deleted at a time, in some 3 ms."""

_ROWS = RowFormat("frames", TypeAdapter(FrameVerdict))
_TRIM_EVERY = 100
_DAY_S = 86_400.0

_TOO_MANY = "SELECT frame_id FROM frames WHERE frame_id <= ? ORDER BY frame_id LIMIT ?"
_TOO_OLD = "SELECT frame_id FROM frames WHERE kept_at < ? AND frame_id < ? ORDER BY kept_at LIMIT ?"


class Frames:
    """The table of verdicts. Every method raises ``StoreError`` when SQLite refuses.

    Args:
        file: The database.
        max_frames: How many are kept at least; at most a tenth more, and never over 100 more.
        keep_days: How long they are kept at most; the newest one stays.
        last_id: The highest id in the table.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        file: DatabaseFile,
        *,
        max_frames: int,
        keep_days: float = KEEP_DAYS,
        last_id: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = file
        self._max_frames = max_frames
        self._keep_s = keep_days * _DAY_S
        self._trim_every = max(1, min(_TRIM_EVERY, max_frames // 10))
        self._last_id = last_id
        self._clock = clock

    @classmethod
    async def load(
        cls,
        file: DatabaseFile,
        *,
        max_frames: int,
        keep_days: float = KEEP_DAYS,
        clock: Callable[[], float] = time.time,
    ) -> Frames:
        """Take up the table where the last run left it."""
        last_id = await file.read(
            lambda connection: connection.execute("SELECT coalesce(max(frame_id), 0) FROM frames").fetchone()[
                0
            ]
        )
        return cls(file, max_frames=max_frames, keep_days=keep_days, last_id=last_id, clock=clock)

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
        now = self._clock()
        row = (*_ROWS.pack(verdict.frame_id, verdict), now)
        note = None
        if file is not None:
            note = file_row(FileNote(file, FileOutcome.JUDGED, now, frame_id=verdict.frame_id))

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO frames (frame_id, record, crc, kept_at) VALUES (?, ?, ?, ?)", row)
            if note is not None:
                put_file(connection, note)
            if verdict.frame_id % self._trim_every == 0:
                _delete(connection, self._too_many(connection, verdict.frame_id))

        await self._file.write(work, durable=False)

    async def trim(self) -> bool:
        """Delete some of what is too much or too old; tell whether to go on at once.

        What is too old is in no hurry: a clock that is wrong for a minute costs few verdicts so.
        """
        last_id, oldest = self._last_id, self._clock() - self._keep_s

        def work(connection: sqlite3.Connection) -> bool:
            too_many = self._too_many(connection, last_id)
            # The newest stays, because ids go on from it.
            too_old = connection.execute(_TOO_OLD, (oldest, last_id, TRIM_ROWS - len(too_many)))
            _delete(connection, [*too_many, *too_old.fetchall()])
            return len(too_many) == TRIM_ROWS

        return await self._file.write(work, durable=False)

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

    def _too_many(self, connection: sqlite3.Connection, last_id: int) -> list[tuple[int]]:
        # Ids are consecutive, so the bound on the id bounds the count without counting.
        return connection.execute(_TOO_MANY, (last_id - self._max_frames, TRIM_ROWS)).fetchall()


def _delete(connection: sqlite3.Connection, frame_ids: list[tuple[int]]) -> None:
    connection.executemany("DELETE FROM frames WHERE frame_id = ?", frame_ids)
