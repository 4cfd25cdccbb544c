"""The one connection to the database file, and the one thread that owns it.

Opening goes: lock the directory, refuse a newer file without touching it, check the file, migrate. A file
that cannot be used is moved aside, reported, and a new one started: the microscope can be watched without
its history. What is no damage (a full disk, missing rights, another program's lock) is raised instead.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import structlog

from focusd.errors import StoreError
from focusd.store import schema
from focusd.store.checking import check_pages, check_writable, mark_if_damaged
from focusd.store.directory import DATABASE_NAME, DirectoryLock, move_aside, sync_directory
from focusd.store.rows import Row, RowFormat

T = TypeVar("T")
RecordT = TypeVar("RecordT")
Work = Callable[[sqlite3.Connection], T]

_log = structlog.get_logger(__name__)

CACHE_KIB = 512
"""Of pages in memory; the system has the file in its own cache anyway."""
BUSY_TIMEOUT_S = 2.0
"""How long another program, such as a backup, may hold the file before a call fails."""

_NOT_DAMAGE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
_CALLERS_FAULT = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
"""They say nothing of the disk."""
_DAMAGE_IN_IOERR = {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
_SENTENCES = {
    sqlite3.SQLITE_BUSY: "another program holds it",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk does not read or write",
    sqlite3.SQLITE_NOTADB: "it is damaged",
    sqlite3.SQLITE_READONLY: "it cannot be written",
}


@dataclass(frozen=True, slots=True)
class StoreProblem:
    """Something an operator must know of the store.

    ``code`` is ``database_moved_aside``, ``database_vanished`` or ``row_damaged``; ``source`` names the
    file or the table.
    """

    code: str
    source: str
    message: str


class DatabaseFile:
    """The database file of one state directory; its private methods run on the worker thread."""

    def __init__(
        self, directory: Path, *, migrations: tuple[schema.Migration, ...] = schema.MIGRATIONS
    ) -> None:
        self.path = directory / DATABASE_NAME
        self.problems: list[StoreProblem] = []
        self._migrations = migrations
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="focusd-store")
        self._lock: DirectoryLock | None = None
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self.on_health: Callable[[str], object] = lambda _: None
        """Called from the event loop with why nothing can be kept, and with ``""`` when it can again."""
        self._failure = self._told_failure = ""

    async def open(self) -> None:
        """Lock the directory and open the file.

        Raises:
            StoreLockedError: another focusd uses the directory.
            StoreError: the file is of a newer focusd, or cannot be opened or migrated.
        """
        await self._submit(self._open)

    async def close(self) -> None:
        """Close the file and give the directory free, after what was asked before; safe to cancel."""
        closed = asyncio.get_running_loop().run_in_executor(self._worker, self._close)
        try:
            await asyncio.shield(closed)
        finally:
            # Waits only when cancelled: the directory is free when this returns, however it returns.
            self._worker.shutdown(wait=True)

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` on the worker thread.

        Raises:
            StoreError: SQLite refused.
        """
        return await self._submit(lambda: work(self._ready()))

    async def write(self, work: Work[T], *, durable: bool = True) -> T:
        """Run ``work`` in a transaction, committed when this returns.

        ``durable`` commits survive a power loss; the others survive the death of the process, and a power
        loss may take the last of them.

        Raises:
            StoreError: SQLite refused; nothing was changed.
        """
        return await self._submit(lambda: self._transact(work, durable=durable))

    async def select(
        self, rows: RowFormat[RecordT], query: str, parameters: tuple[int | str, ...] = ()
    ) -> list[RecordT]:
        """Give the records of a query for key, record and crc, without the damaged ones, which are reported.

        Raises:
            StoreError: SQLite refused.
        """

        def work() -> list[RecordT]:
            unpacked = rows.unpack(self._ready().execute(query, parameters))
            for row in unpacked.damaged:
                self._put_by(rows.table, row)
            return unpacked.records

        return await self._submit(work)

    async def _submit(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._worker, self._carry_out, work)
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {_sentence(error)}") from error
        except UnicodeDecodeError as error:
            raise StoreError(f"{self.path}: it is damaged ({error})") from error
        except OverflowError as error:
            raise StoreError(f"{self.path}: a number is too large to be stored") from error
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror or error}") from error
        finally:
            failure = self._failure
            if failure != self._told_failure:
                self._told_failure = failure
                self.on_health(failure)

    def _carry_out(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.Error as error:
            mark_if_damaged(error, self.path)
            if not isinstance(error, _CALLERS_FAULT):
                self._failure = f"{self.path}: {_sentence(error)}"
            raise
        except OSError as error:
            self._failure = f"{self.path}: {error.strerror or error}"
            raise

    def _open(self) -> None:
        directory = self.path.parent
        self._lock = DirectoryLock(directory)
        try:
            self._connection = self._open_or_start_anew()
            status = self.path.stat()
            self._identity = status.st_dev, status.st_ino
            sync_directory(directory)
        except BaseException:
            self._close()
            raise

    def _open_or_start_anew(self) -> sqlite3.Connection:
        try:
            return self._open_file()
        except (sqlite3.DatabaseError, schema.DamagedFileError, UnicodeDecodeError) as error:
            # The last is Python failing on SQLite's own message about a damaged name.
            if isinstance(error, sqlite3.DatabaseError) and not _is_damage(error, self.path):
                raise
            target = move_aside(self.path)
            self._report(
                "database_moved_aside",
                str(target),
                f"{self.path} was damaged ({error}); it was moved to {target} and a new one started",
            )
        return self._open_file()

    def _open_file(self) -> sqlite3.Connection:
        _refuse_newer(self.path, self._migrations)
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
        try:
            connection.text_factory = _lenient_text
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA journal_size_limit = 16777216")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            check_pages(connection, self.path)
            schema.check_version(connection, self._migrations)
            schema.migrate(connection, self._migrations)
            check_writable(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        lock, self._lock = self._lock, None
        try:
            if connection is not None:
                connection.close()
        except sqlite3.Error as error:
            _log.warning("database_closed_badly", path=str(self.path), error=str(error))
        finally:
            if lock is not None:
                lock.release()

    def _ready(self) -> sqlite3.Connection:
        try:
            return self._present()
        except StoreError as error:
            self._failure = str(error)
            raise

    def _present(self) -> sqlite3.Connection:
        """Give the connection; open a new file if the old one was deleted under it.

        SQLite goes on writing to a deleted file without complaint, and everything would be lost at the end.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            if self._connection is not None:
                self._report(
                    "database_vanished", str(self.path), f"{self.path} was deleted; a new one is started"
                )
            self._close()
            self._open()
        else:
            if self._connection is None:
                self._open()
            elif (status.st_dev, status.st_ino) != self._identity:
                raise StoreError(f"{self.path} was replaced by another file: start focusd again")
        assert self._connection is not None  # noqa: S101 - _open sets it or raises
        return self._connection

    def _transact(self, work: Work[T], *, durable: bool) -> T:
        connection = self._ready()
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            # SQLite has already rolled back by itself after some errors, a full disk among them.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._failure = ""
        return result

    def _put_by(self, table: str, row: Row) -> None:
        """Report a damaged row, and move it out of its table so that it is met once."""
        key = row[0]
        message = f"a row of {table} in {self.path} was damaged and is not used: {key!r:.100}"
        if not self._report("row_damaged", table, message):
            return
        try:
            self._transact(lambda connection: schema.put_by(connection, table, key), durable=True)
        except sqlite3.Error as error:
            _log.warning("row_not_put_by", table=table, error=str(error))

    def _report(self, code: str, source: str, message: str) -> bool:
        """Tell of a problem; ``False`` if it has been told before."""
        problem = StoreProblem(code, source, message)
        if problem in self.problems:
            return False
        self.problems.append(problem)
        _log.warning(code, source=source, detail=message)
        return True


def _refuse_newer(path: Path, migrations: tuple[schema.Migration, ...]) -> None:
    """Look at the version without writing a byte; a file that does not exist has none."""
    if not path.exists():
        return
    # Without a log the file is complete in itself, and "immutable" leaves no files beside it.
    has_log = any(path.with_name(path.name + suffix).exists() for suffix in ("-wal", "-journal"))
    query = "mode=ro" if has_log else "mode=ro&immutable=1"
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(path))}?{query}", uri=True, timeout=BUSY_TIMEOUT_S)
        ) as connection:
            schema.check_version(connection, migrations)
    except sqlite3.OperationalError as error:
        # A log left by a killed process may need writing before it can be read; the version is checked again.
        if _primary_code(error) not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise


def _lenient_text(value: bytes) -> str:
    """Let a damaged row reach its checksum instead of failing the whole query."""
    return value.decode("utf-8", "replace")


def _primary_code(error: sqlite3.Error) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_damage(error: sqlite3.DatabaseError, path: Path) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_READONLY:
        # One flipped bit in the header makes a file read-only to SQLite that the system lets us write.
        return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    if _primary_code(error) == sqlite3.SQLITE_IOERR:
        return code in _DAMAGE_IN_IOERR
    return _primary_code(error) not in _NOT_DAMAGE


def _sentence(error: sqlite3.Error) -> str:
    code = _primary_code(error)
    return str(error) if code not in _SENTENCES else f"{_SENTENCES[code]} ({error})"
