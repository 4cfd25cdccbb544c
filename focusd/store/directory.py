"""The state directory: made, locked against a second focusd, and cleared of a damaged database.

The lock is a ``flock`` on ``focusd.lock``, so the kernel drops it however the process ends; the file holds
the owner's process id for people and is never removed (removing it would let two processes hold two locks).
"""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

from focusd.errors import StoreError, StoreLockedError

DATABASE_NAME = "focusd.db"
LOCK_NAME = "focusd.lock"

_COMPANIONS = ("-wal", "-shm", "-journal")


class DirectoryLock:
    """The right to use a state directory; held until ``release``.

    Raises:
        StoreLockedError: another focusd holds it.
        StoreError: the directory cannot be made or written.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor = _open_lock_file(directory)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            owner = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            self.release()
            raise StoreLockedError(f"another focusd (pid {owner}) uses {directory}") from error
        except OSError as error:
            self.release()
            raise StoreError(f"cannot write in the state directory {directory}: {error.strerror}") from error

    def release(self) -> None:
        """Let another process have the directory."""
        os.close(self._descriptor)


def _open_lock_file(directory: Path) -> int:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the state directory {directory}: {error.strerror}") from error
    try:
        return os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"cannot write in the state directory {directory}: {error.strerror}") from error


def move_aside(database: Path) -> Path:
    """Rename a damaged database and its companions; give the new name.

    The database goes first: SQLite discards a write-ahead log that it finds beside no database, while a
    database without its log would be taken for a good but older one.

    Raises:
        StoreError: it cannot be renamed.
    """
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    target = database.with_name(f"{database.name}.corrupt-{stamp}")
    count = 1
    while target.exists():
        count += 1
        target = database.with_name(f"{database.name}.corrupt-{stamp}-{count}")
    try:
        database.rename(target)
        for suffix in _COMPANIONS:
            companion = database.with_name(database.name + suffix)
            if companion.exists():
                companion.rename(target.with_name(target.name + suffix))
        sync_directory(database.parent)
    except OSError as error:
        raise StoreError(f"cannot move the damaged {database} aside: {error.strerror}") from error
    return target


def sync_directory(directory: Path) -> None:
    """Make names in ``directory`` survive a power loss."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
