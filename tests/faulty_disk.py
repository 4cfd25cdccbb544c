"""A disk that fails: SQLite's own errors, raised where SQLite would raise them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

_READS = ("SELECT", "PRAGMA", "BEGIN", "ROLLBACK")
_MESSAGES = {
    sqlite3.SQLITE_FULL: "database or disk is full",
    sqlite3.SQLITE_IOERR_WRITE: "disk I/O error",
    sqlite3.SQLITE_IOERR_READ: "disk I/O error",
    sqlite3.SQLITE_READONLY: "attempt to write a readonly database",
}


@dataclass
class FaultyDisk:
    """What is wrong with the disk under every connection opened since ``under``."""

    code: int | None = None
    """SQLite's error code; ``None``: nothing."""
    fail_at: int | None = None
    """The statement that fails, counted from 1; ``None``: all."""
    lasts: bool = False
    """Whether those after it fail too."""
    also_reads: bool = False
    statements: int = 0
    at_fault: Callable[[], object] | None = None
    """Done at ``fail_at``, once, instead of failing."""

    def pass_or_fail(self, statement: str) -> None:
        """Raise what SQLite would, where it would."""
        if not self.also_reads and statement.lstrip().upper().startswith(_READS):
            return
        self.statements += 1
        if self.at_fault is not None and self.statements == self.fail_at:
            self.at_fault()
        if self.code is None or not self._is_hit():
            return
        error = sqlite3.OperationalError(_MESSAGES[self.code])
        error.sqlite_errorcode = self.code
        raise error

    def _is_hit(self) -> bool:
        if self.fail_at is None:
            return True
        return self.statements >= self.fail_at if self.lasts else self.statements == self.fail_at


def faulty_disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    """Put a disk that can fail under the store."""
    disk = FaultyDisk()

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            disk.pass_or_fail(sql)
            return super().execute(sql, parameters)

        def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
            disk.pass_or_fail(sql)
            return super().executemany(sql, parameters)

    connect = sqlite3.connect

    def open_faulty(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, factory=Connection, **options)

    monkeypatch.setattr(sqlite3, "connect", open_faulty)
    return disk
