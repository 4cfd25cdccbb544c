"""Files of watched folders with which focusd is done: the read position, which survives restarts.

A file is known by path, size and time of its last change. The note on one that was judged is written in the
transaction of its verdict (``Frames.append``), so a process that dies has either both or none.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Sequence

from pydantic import TypeAdapter

from focusd.frame import FrameFile
from focusd.records import FileNote, FileOutcome
from focusd.store.file import DatabaseFile
from focusd.store.rows import Row, RowFormat

NOTES_AT_ONCE = 2000

_ROWS = RowFormat("files", TypeAdapter(FileNote))
_FIRST = "SELECT path, record, crc FROM files WHERE path >= ? AND path < ? ORDER BY path LIMIT ?"
_NEXT = "SELECT path, record, crc FROM files WHERE path > ? AND path < ? ORDER BY path LIMIT ?"


class Files:
    """The table of files. Every method raises ``StoreError`` when SQLite refuses."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file

    async def under(self, folder: str) -> AsyncIterator[list[FileNote]]:
        """Give the notes on the files of a folder and its subfolders, some at a time; none if not begun."""
        # "0" is the character after "/".
        start, end = f"{folder}/", f"{folder}0"
        notes = await self._file.select(_ROWS, _FIRST, (start, end, NOTES_AT_ONCE))
        while notes:
            yield notes
            notes = await self._file.select(_ROWS, _NEXT, (notes[-1].file.path, end, NOTES_AT_ONCE))

    async def skip(self, files: Iterable[FrameFile]) -> None:
        """Note that files are not to be judged."""
        now = time.time()
        # Packed where it is written, on the store's thread.
        await self._put(FileNote(file, FileOutcome.SKIPPED, now) for file in files)

    async def begin(self, folder: str) -> None:
        """Note that a folder is watched from now on."""
        await self._put([FileNote(FrameFile(f"{folder}/", 0, 0), FileOutcome.BEGUN, time.time())])

    async def reading(self, file: FrameFile, tries: int) -> None:
        """Note that a file is about to be read, by so many runs of focusd up to this one."""
        note = FileNote(file, FileOutcome.READING, time.time(), tries=tries)
        await self._put([note], durable=False)

    async def refuse(self, file: FrameFile, reason: str) -> None:
        """Note that a file cannot be judged."""
        await self._put([FileNote(file, FileOutcome.REFUSED, time.time(), reason=reason)])

    async def forget(self, paths: Sequence[str]) -> None:
        """Drop the notes on files that are gone."""

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM files WHERE path = ?", ((path,) for path in paths))

        await self._file.write(work, durable=False)

    async def _put(self, notes: Iterable[FileNote], *, durable: bool = True) -> None:
        def work(connection: sqlite3.Connection) -> None:
            for note in notes:
                put_file(connection, file_row(note))

        await self._file.write(work, durable=durable)


def file_row(note: FileNote) -> Row:
    """Give the row of a note; ``StoreError`` if it cannot be stored."""
    return _ROWS.pack(note.file.path, note)


def put_file(connection: sqlite3.Connection, row: Row) -> None:
    """Write a note, in a transaction that is open."""
    connection.execute("INSERT OR REPLACE INTO files (path, record, crc) VALUES (?, ?, ?)", row)
