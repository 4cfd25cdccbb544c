"""Which files are done with: the read position that survives restarts.

The store holds it; here is a copy for looking up, which is changed only after the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from itertools import islice

from focusd.frame import FrameFile
from focusd.records import FileOutcome
from focusd.store.files import Files

KEPT_GONE = 10_000
"""Notes on files that are gone are kept for so many, because a file or a whole share may come back."""

SKIPPED_AT_ONCE = 1000
"""Files noted in one transaction, so that others get their turn with the store."""


class ReadPosition:
    """The files of one folder that need not be looked at again, by path, size and time.

    Args:
        files: Where it is kept.
        folder: Absolute path of the folder.
        kept_gone: How many files that are gone are remembered.
    """

    def __init__(self, files: Files, folder: str, *, kept_gone: int = KEPT_GONE) -> None:
        self._files = files
        self._folder = folder
        self._kept_gone = kept_gone
        self._done: dict[str, tuple[int, int]] = {}
        self._ended: dict[FrameFile, int] | None = None
        self.is_begun = False
        """Whether the folder has been watched before, also by an earlier run of focusd."""

    async def recall(self) -> None:
        """Take up what the store knows; ``StoreError`` if it cannot be read."""
        self._done = {}
        self.is_begun = False
        unfinished: dict[FrameFile, int] = {}
        async for notes in self._files.under(self._folder):
            for note in notes:
                if note.outcome is FileOutcome.READING:
                    unfinished[note.file] = note.tries
                else:
                    self.done(note.file)
                    self.is_begun = self.is_begun or note.file.path == f"{self._folder}/"
        if self._ended is None:
            self._ended = unfinished

    async def begin(self, skipped: Iterable[FrameFile]) -> None:
        """Watch from now on, without the files that are skipped; ``StoreError`` if that cannot be kept."""
        left = iter(skipped)
        while files := list(islice(left, SKIPPED_AT_ONCE)):
            await self._files.skip(files)
            for file in files:
                self.done(file)
        # Only now: what ends before this is begun anew.
        await self._files.begin(self._folder)
        self.is_begun = True

    async def reading(self, file: FrameFile) -> int:
        """Note that a file is about to be read; give how many earlier runs of focusd ended while it was."""
        ended = (self._ended or {}).get(file, 0)
        await self._files.reading(file, ended + 1)
        return ended

    async def refuse(self, file: FrameFile, reason: str) -> None:
        """Be done with a file that cannot be judged; ``StoreError`` if that cannot be kept."""
        await self._files.refuse(file, reason)
        self.done(file)

    def done(self, file: FrameFile) -> None:
        """Be done with a file that the store knows to be judged."""
        self._done[file.path] = file.size_bytes, file.mtime_ns

    def knows_path(self, path: str) -> bool:
        """Whether focusd was done with a file of this path as it was at some time."""
        return path in self._done

    def knows(self, file: FrameFile) -> bool:
        """Whether focusd is done with a file as it is now."""
        return self._done.get(file.path) == (file.size_bytes, file.mtime_ns)

    def gone(self, present: Set[str]) -> list[str]:
        """Give the files that are done with and not there any more; may run on another thread.

        Args:
            present: Paths of all files that are there.
        """
        return [path for path in self._done if path not in present and not path.endswith("/")]

    async def prune(self, gone: list[str]) -> None:
        """Forget the oldest files that are gone, when there are too many of them.

        A folder in which no known file is left forgets nothing: its share may have been unmounted.
        """
        if len(gone) <= self._kept_gone or len(gone) >= len(self._done) - 1:
            return
        # Half of them at once, so that it is seldom done.
        oldest = sorted(gone, key=lambda path: self._done[path][1])[: len(gone) - self._kept_gone // 2]
        await self._files.forget(oldest)
        for path in oldest:
            del self._done[path]
