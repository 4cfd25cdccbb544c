"""Is the database file sound: asked at each start, in a time that does not grow with the history.

SQLite's own check reads every page: half a second for a million verdicts that the system has in memory, and
as long as the disk takes where it has not. So of a large file only the small tables are checked whole, and
the ends of the long ones, where rows come and go; those hold verdicts and evidence, each row with its
checksum, and nothing that moves a lens.
Damage that is met later leaves a mark beside the file, and the next start then checks all of it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import structlog

from focusd.store.schema import LONG_TABLES, DamagedFileError, table_names

_log = structlog.get_logger(__name__)

CHECKED_WHOLE_BYTES = 64 << 20
"""Files up to this size are always checked whole."""

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """Check the file's structure.

    Raises:
        DamagedFileError: it is damaged.
        sqlite3.DatabaseError: it is so damaged that SQLite cannot say how.
    """
    mark = _mark_beside(path)
    if path.stat().st_size <= CHECKED_WHOLE_BYTES or mark.exists():
        _demand_ok(connection, "PRAGMA quick_check(3)")
        mark.unlink(missing_ok=True)
        return
    for name in table_names(connection):
        if name in LONG_TABLES:
            _read_ends(connection, name)
        else:
            _demand_ok(connection, f'PRAGMA quick_check("{name}")')


def mark_if_damaged(error: sqlite3.Error, path: Path) -> None:
    """Have the next start check the whole file if an error tells of damage."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None or code & 0xFF not in _DAMAGE:
        return
    try:
        _mark_beside(path).touch()
    except OSError as problem:
        _log.warning("damage_not_marked", path=str(path), error=str(problem))


def check_writable(connection: sqlite3.Connection) -> None:
    """Find out now, and not at the first frame, that nothing can be kept."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("UPDATE schema SET version = version")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _demand_ok(connection: sqlite3.Connection, check: str) -> None:
    findings = [str(finding) for (finding,) in connection.execute(check)]
    if findings != ["ok"]:
        raise DamagedFileError("; ".join(findings))


def _read_ends(connection: sqlite3.Connection, table: str) -> None:
    # The names are the schema's own, so no outside text gets into the statements.
    for direction in ("ASC", "DESC"):
        connection.execute(f"SELECT * FROM {table} ORDER BY rowid {direction} LIMIT 1").fetchall()  # noqa: S608


def _mark_beside(path: Path) -> Path:
    return path.with_name(f"{path.name}-damaged")
