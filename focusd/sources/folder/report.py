"""Tells an operator of a watched folder: one line a thing in the log, and the present state."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from focusd.sources.folder.status import FolderState, FolderStatus, RefusedFile

_log = structlog.get_logger(__name__)

MAX_NAMED = 10_000
"""Entries that are no files are remembered to so many, so that each is named once."""


class Report:
    """Keeps the status of a folder.

    ``on_change`` is called with each new status.

    Args:
        folder: Its path, for people.
    """

    def __init__(self, folder: str) -> None:
        self.status = FolderStatus(folder, FolderState.STARTING, time.time())
        self.on_change: Callable[[FolderStatus], object] = lambda _: None
        self._named: set[str] = set()

    def state(self, state: FolderState, reason: str = "") -> None:
        """Tell what can be done with the folder, and why no more."""
        before = self.status.state
        if state is before:
            return
        write = _log.info if state is FolderState.WATCHING else _log.warning
        write(
            "folder_state_changed",
            path=self.status.path,
            state=state.value,
            before=before.value,
            reason=reason,
        )
        self._update(state=state, since=time.time(), reason=reason)

    def store_failed(self, error: str) -> None:
        """Tell that nothing can be kept, so that nothing is judged; empty when it can again."""
        before = self.status.store_error
        if error and not before:
            _log.error("folder_store_failed", path=self.status.path, error=error)
        elif before and not error:
            _log.info("folder_store_works_again", path=self.status.path)
        self._update(store_error=error)

    def begun(self, skipped: int) -> None:
        """Tell that the folder is watched for the first time."""
        _log.info("folder_begun", path=self.status.path, files_skipped=skipped)

    def judged(self, *, waiting: int) -> None:
        """Count a file that was judged, and tell how many are left."""
        self._update(files_judged=self.status.files_judged + 1, files_waiting=waiting)

    def refused(self, path: str, reason: str) -> None:
        """Tell of a file that cannot be judged."""
        _log.warning("folder_file_refused", path=path, reason=reason)
        self._update(
            files_refused=self.status.files_refused + 1,
            last_refused=RefusedFile(path, reason, time.time()),
        )

    def odd(self, oddities: Mapping[str, str]) -> None:
        """Tell of entries that are no files, each once."""
        for path, reason in oddities.items():
            if path not in self._named and len(self._named) < MAX_NAMED:
                self._named.add(path)
                self.refused(path, reason)

    def vanished(self, paths: list[str]) -> None:
        """Tell of files that were gone before they could be judged."""
        if paths:
            _log.warning("folder_files_vanished", files=len(paths), first=paths[0])

    def waiting(self, files: int) -> None:
        """Tell how many files have been seen and not judged yet."""
        self._update(files_waiting=files)

    def _update(self, **changes: Any) -> None:  # noqa: ANN401 - the status's own fields, checked by replace
        changed = replace(self.status, **changes)
        if changed != self.status:
            self.status = changed
            self.on_change(changed)
