"""The tables and their versions.

``user_version`` counts the migrations that a file has seen, and the row of ``schema`` repeats it: a newer
focusd changes both, a flipped bit only one. Migrations run in one transaction, so a file is either as it
was or up to date. Never change a released migration: add one.

Every table of records is a key, the record as JSON, and a CRC-32 over both. SQLite's own checks do not see
a changed bit inside a row (95 of 100 such bits passed ``integrity_check`` when tried); the CRC does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from focusd.errors import StoreError

Migration = tuple[str, ...]

MIGRATIONS: tuple[Migration, ...] = (
    (
        "CREATE TABLE schema (version INTEGER NOT NULL)",
        "INSERT INTO schema (version) VALUES (0)",
        "CREATE TABLE frames (frame_id INTEGER PRIMARY KEY, record TEXT NOT NULL, crc INTEGER NOT NULL)",
        """CREATE TABLE refocuses (refocus_id INTEGER PRIMARY KEY, record TEXT NOT NULL, crc INTEGER NOT NULL,
        closed INTEGER NOT NULL)""",
        "CREATE INDEX refocuses_running ON refocuses (refocus_id) WHERE closed = 0",
        "CREATE TABLE baselines (condition TEXT PRIMARY KEY, record TEXT NOT NULL, crc INTEGER NOT NULL)",
        """CREATE TABLE journal (entry_id INTEGER PRIMARY KEY, record TEXT NOT NULL, crc INTEGER NOT NULL,
        closed INTEGER NOT NULL)""",
        "CREATE TABLE settings (name TEXT PRIMARY KEY, record TEXT NOT NULL, crc INTEGER NOT NULL)",
        "CREATE TABLE damaged (found_at TEXT NOT NULL, source TEXT NOT NULL, key TEXT NOT NULL, record TEXT)",
    ),
    (
        "CREATE TABLE spectra (refocus_id INTEGER PRIMARY KEY, record TEXT NOT NULL, crc INTEGER NOT NULL)",
        """CREATE TABLE focus_references (condition TEXT PRIMARY KEY, record TEXT NOT NULL,
        crc INTEGER NOT NULL)""",
    ),
    ("CREATE TABLE files (path TEXT PRIMARY KEY, record TEXT NOT NULL, crc INTEGER NOT NULL)",),
    (
        # Seconds since 1970 by this computer's clock, unlike a frame's own time. Earlier rows have none.
        "ALTER TABLE frames ADD COLUMN kept_at REAL",
        "CREATE INDEX frames_by_age ON frames (kept_at) WHERE kept_at IS NOT NULL",
    ),
    ("CREATE TABLE focus_points (point_id INTEGER PRIMARY KEY, record TEXT NOT NULL, crc INTEGER NOT NULL)",),
)

_KEY_COLUMNS = {
    "frames": "frame_id",
    "refocuses": "refocus_id",
    "spectra": "refocus_id",
    "baselines": "condition",
    "focus_references": "condition",
    "focus_points": "point_id",
    "files": "path",
    "journal": "entry_id",
    "settings": "name",
}

LONG_TABLES = frozenset({"frames", "refocuses", "files", "spectra"})
"""Those that grow with the history."""


class DamagedFileError(Exception):
    """The file cannot be used; never leaves the store."""


def check_version(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Refuse a file of a newer focusd; reads only.

    Raises:
        StoreError: the file is of a newer version.
        DamagedFileError: the two places that hold the version disagree.
        sqlite3.DatabaseError: the file is damaged.
    """
    version = _user_version(connection)
    if _recorded_version(connection) not in (version, None):
        raise DamagedFileError("the two places that hold the schema's version disagree")
    if version > len(migrations):
        raise StoreError(
            f"the database is of schema version {version}, this focusd knows up to {len(migrations)}: "
            "install the newer focusd again, or choose another store.directory"
        )
    if version < 0:
        raise DamagedFileError(f"the schema's version is {version}")


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the file up to date in one transaction, and check that its tables are as they must be.

    Raises:
        StoreError: a migration failed; the file is as it was.
        DamagedFileError: the tables are not those of the file's version.
    """
    version = _user_version(connection)
    _check_tables(connection, migrations[:version])
    if version == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        _apply(connection, migrations, version)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise StoreError(
            f"cannot bring the database from schema version {version} to {len(migrations)}, "
            f"left as it was: {error}"
        ) from error


def put_by(connection: sqlite3.Connection, table: str, key: int | str) -> None:
    """Move a damaged row out of its table, and keep it for whoever wants to look at it."""
    column = _KEY_COLUMNS[table]
    # The names are this module's own, so no outside text gets into the statements.
    copy = f"INSERT INTO damaged SELECT datetime('now'), '{table}', {column}, record FROM {table}"  # noqa: S608
    connection.execute(f"{copy} WHERE {column} IS ?", (key,))
    connection.execute(f"DELETE FROM {table} WHERE {column} IS ?", (key,))  # noqa: S608


def _apply(connection: sqlite3.Connection, migrations: Sequence[Migration], version: int) -> None:
    for statement in (statement for migration in migrations[version:] for statement in migration):
        connection.execute(statement)
    connection.execute("UPDATE schema SET version = ?", (len(migrations),))
    connection.execute(f"PRAGMA user_version = {len(migrations):d}")


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _recorded_version(connection: sqlite3.Connection) -> int | None:
    """Version in table ``schema``, 0 in an empty file, ``None`` if some later focusd keeps no such table."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return 0
    if "schema" not in tables:
        return None
    row = connection.execute("SELECT version FROM schema").fetchone()
    return int(row[0]) if row and isinstance(row[0], int) else -1


def _check_tables(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Compare with a file made afresh; what an operator added beside is left alone."""
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    try:
        if migrations:
            _apply(fresh, migrations, 0)
        missing = _definitions(fresh) - _definitions(connection)
    finally:
        fresh.close()
    if missing:
        raise DamagedFileError(f"not as they must be: {', '.join(sorted(name for name, _ in missing))}")


def table_names(connection: sqlite3.Connection) -> list[str]:
    """Names of this module's tables as far as the file has them; reads only."""
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    ).fetchall()
    return [name for (name,) in tables if name in _KEY_COLUMNS or name == "schema"]


def _definitions(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(connection.execute("SELECT name, coalesce(sql, '') FROM sqlite_master"))
