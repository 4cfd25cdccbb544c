"""A watched folder: frames out of files, each once, in the order in which they were written.

What is read next follows from three things: what lies in the folder, which of it the store knows to be done
with, and how long it has stayed the same. Nothing else is remembered, so being killed at any moment, and
beginning again after the store has failed, are the same as starting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

import structlog

from focusd.config import FolderSettings
from focusd.errors import ImageError
from focusd.frame import Frame
from focusd.sources.folder.listing import MOST_SIGHTINGS, Lister, Listing, readable
from focusd.sources.folder.notices import Notices
from focusd.sources.folder.position import ReadPosition
from focusd.sources.folder.readiness import Readiness, Sighting
from focusd.sources.folder.reading import read_frame
from focusd.sources.folder.report import Report
from focusd.sources.folder.status import FolderState
from focusd.sources.folder.worker import FolderThread
from focusd.store.files import Files

T = TypeVar("T")

_log = structlog.get_logger(__name__)

MAX_ENDED = 5
"""A file at which so many runs of focusd have ended brings the process down: it is not read again."""
BATCH = 16
"""Files that are read before it is looked round again."""
NOT_THERE_S = 1.0
"""How often a folder that is not there is looked for."""
LISTING_SHARE = 20
"""At most this part of the time goes into listing, however many files there are."""
NOT_ANSWERING_S = 30.0

Reader: TypeAlias = Callable[[Sighting, FolderSettings], Frame | None]
"""Gives a file's frame, ``None`` if the file has changed meanwhile; see ``read_frame`` for what it raises."""


class WatchedFolder:
    """Watches one folder; ``report`` is what an operator is told of it.

    Args:
        settings: How it is watched.
        path: The folder; it need not be there yet.
        files: Where the read position is kept.
        read: Reads a file; called on a thread of its own.
        not_answering_s: After so long an operator is told that the file system does not answer.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        settings: FolderSettings,
        path: Path,
        files: Files,
        *,
        read: Reader = read_frame,
        not_answering_s: float = NOT_ANSWERING_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._path = str(path.absolute())
        self._read = read
        self._not_answering_s = not_answering_s
        self._clock = clock
        self._position = ReadPosition(files, readable(self._path))
        self.report = Report(readable(self._path))

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """Give one frame after the other, for ever.

        Asking for the next says that the last one was judged, and noted as such in the store: if that has
        failed, close the generator and begin another. Only one may be open at a time.

        Raises:
            StoreError: the read position could not be read or kept.
        """
        await self._position.recall()
        async with FolderThread() as thread, Notices(recursive=self._settings.recursive) as notices:
            look = _Look(
                self._settings,
                self._path,
                position=self._position,
                thread=_Asker(thread, self.report, self._not_answering_s),
                notices=notices,
                report=self.report,
                clock=self._clock,
            )
            while True:
                for sighting in await look.round():
                    frame = await look.read(sighting, self._read)
                    if frame is not None:
                        yield frame
                        look.finish(sighting)
                await look.rest()


class _Asker:
    """Has work done on the folder's thread, and tells an operator when the file system does not answer."""

    def __init__(self, thread: FolderThread, report: Report, not_answering_s: float) -> None:
        self._thread = thread
        self._report = report
        self._not_answering_s = not_answering_s

    async def ask(self, work: Callable[[], T]) -> T:
        """Give what the work gives, or raise what it raises."""
        answer = self._thread.submit(work)
        try:
            done, _ = await asyncio.wait({answer}, timeout=self._not_answering_s)
            before = self._report.status
            if not done:
                self._report.state(FolderState.NOT_ANSWERING, f"no answer for {self._not_answering_s:g} s")
                await asyncio.wait({answer})
                self._report.state(before.state, before.reason)
            return await answer
        finally:
            answer.cancel()


class _Look:
    """One run of looking after a folder, from what the store knows to the end of the process."""

    def __init__(
        self,
        settings: FolderSettings,
        path: str,
        *,
        position: ReadPosition,
        thread: _Asker,
        notices: Notices,
        report: Report,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._path = path
        self._position = position
        self._thread = thread
        self._notices = notices
        self._report = report
        self._clock = clock
        self._lister = Lister(path, settings.patterns, recursive=settings.recursive)
        self._readiness = Readiness(
            settle_s=settings.settle_s,
            give_up_s=settings.give_up_s,
            trusts_renames=not settings.polling,
        )
        self._interval_s = settings.polling_interval_s if settings.polling else settings.rescan_s
        self._folders: set[str] = set()
        self._identity: tuple[int, int] | None = None
        self._device: int | None = None
        """File system on which the files were seen last."""
        self._is_there = False
        self._list_due_s = self._list_not_before_s = clock()
        self._left_out = 0
        """Files that are there and were too many to be taken in."""

    async def round(self) -> list[Sighting]:
        """See what is new, and give the files that may be read."""
        paths, is_vague = self._notices.take()
        known = {path for path in paths if path.rpartition("/")[0] in self._folders}
        if is_vague or len(known) < len(paths) or (self._left_out and len(self._readiness) < BATCH):
            self._list_soon()
        if self._clock() >= self._list_due_s:
            await self._list()
        elif self._is_there:
            await self._look_at(known)
        return self._readiness.ready(self._clock(), BATCH) if self._is_there else []

    async def rest(self) -> None:
        """Wait until something has changed or is due."""
        self._report.waiting(len(self._readiness) + self._left_out)
        due_s = self._list_due_s
        next_s = self._readiness.next_due_s()
        if self._is_there and next_s is not None:
            due_s = min(due_s, next_s)
        await self._notices.wait(max(0.0, due_s - self._clock()))

    async def read(self, sighting: Sighting, read: Reader) -> Frame | None:
        """Read a file; ``None`` if it is no frame, or not yet."""
        path = sighting.file.path
        if await self._position.reading(sighting.file) >= MAX_ENDED:
            await self._refuse(
                sighting, f"focusd has ended {MAX_ENDED} times while it was being read or judged"
            )
            return None
        try:
            frame = await self._thread.ask(partial(read, sighting, self._settings))
        except ImageError as error:
            await self._not_an_image(sighting, str(error))
        except (OSError, MemoryError) as error:
            self._not_readable(path, error)
        except Exception as error:  # noqa: BLE001 - a file that nobody foresaw must not end the watch: it is named
            _log.error("folder_file_unforeseen", path=path, error=repr(error))
            await self._refuse(sighting, f"cannot be read: {error!r}")
        else:
            if frame is None:
                self._readiness.postpone(path, self._clock())
                await self._look_at({sighting.path})
            return frame
        return None

    def finish(self, sighting: Sighting) -> None:
        """Be done with a file that was judged."""
        self._position.done(sighting.file)
        self._readiness.drop(sighting.file.path)
        self._report.judged(waiting=len(self._readiness) + self._left_out)

    def _list_soon(self) -> None:
        self._list_due_s = min(self._list_due_s, self._list_not_before_s)

    async def _list(self) -> None:
        """See all that is there."""
        started_s = self._clock()
        # What is to be skipped must be known whole; otherwise a part is enough to go on with.
        most = None if self._skips_all else MOST_SIGHTINGS
        try:
            listing = await self._thread.ask(partial(self._lister.list_all, self._position, most))
        except OSError as error:
            await self._absent(error)
            self._interval_from(self._clock(), NOT_THERE_S)
            return
        await self._there(listing.identity)
        self._folders = listing.folders
        left = await self._begin(listing)
        self._tell_whether_mounted(listing)
        self._left_out = listing.left_out
        if listing.is_complete:
            dropped = self._readiness.keep(sighting.file.path for sighting in left)
            self._report.vanished([path for path in dropped if path not in listing.present])
            gone = await self._thread.ask(partial(self._position.gone, listing.present))
            await self._position.prune(gone)
        self._readiness.see(left, self._clock())
        self._report.odd(listing.oddities)
        ended_s = self._clock()
        self._interval_from(ended_s, self._interval_s, LISTING_SHARE * (ended_s - started_s))

    async def _there(self, identity: tuple[int, int] | None) -> None:
        if identity != self._identity:
            # What the system tells of belongs to the folder that was there before.
            await self._notices.stop()
        self._identity, self._is_there = identity, True
        if not self._settings.polling:
            self._notices.listen(self._path)

    def _tell_whether_mounted(self, listing: Listing) -> None:
        """Where a share was mounted there is an empty folder of another file system when it is gone."""
        device = listing.identity[0] if listing.identity else None
        if listing.present or self._device is None:
            self._device = device
        if device == self._device:
            self._report.state(FolderState.WATCHING)
        else:
            self._report.state(
                FolderState.MISSING, "an empty folder of another file system is in its place: is it mounted?"
            )

    def _interval_from(self, now_s: float, interval_s: float, pause_s: float = 0.0) -> None:
        self._list_not_before_s = now_s + pause_s
        self._list_due_s = now_s + max(interval_s, pause_s)

    async def _absent(self, error: OSError) -> None:
        self._is_there = False
        self._identity = None
        await self._notices.stop()
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            # A folder that is not there holds no old files: what it is made with is new.
            await self._begin(Listing())
            self._report.state(FolderState.MISSING, error.strerror or str(error))
        else:
            self._report.state(FolderState.UNREADABLE, error.strerror or str(error))

    @property
    def _skips_all(self) -> bool:
        return not self._position.is_begun and self._settings.existing == "skip"

    async def _begin(self, listing: Listing) -> list[Sighting]:
        """Begin to watch the folder, unless that was done before; give the files that are to be judged."""
        if self._position.is_begun:
            return listing.sightings
        skipped, left = (listing.sightings, []) if self._skips_all else ([], listing.sightings)
        await self._position.begin(sighting.file for sighting in skipped)
        self._report.begun(len(skipped))
        return left

    async def _look_at(self, paths: set[str]) -> None:
        """See single entries."""
        if not paths:
            return
        listing = await self._thread.ask(partial(self._lister.look_at, paths))
        gone = paths - {sighting.path for sighting in listing.sightings}
        self._report.vanished([path for path in map(readable, gone) if self._readiness.drop(path)])
        if not listing.folders <= self._folders:
            self._list_soon()
        left = []
        for sighting in listing.sightings:
            if self._position.knows(sighting.file):
                self._readiness.drop(sighting.file.path)
            else:
                left.append(sighting)
        self._readiness.see(left, self._clock())
        self._report.odd(listing.oddities)

    async def _not_an_image(self, sighting: Sighting, reason: str) -> None:
        """Whoever writes the file may be slow; in the end it is refused, until it changes."""
        now_s = self._clock()
        if self._readiness.is_last_try(sighting.file.path, now_s):
            await self._refuse(sighting, reason)
        else:
            self._readiness.postpone(sighting.file.path, now_s)

    def _not_readable(self, path: str, error: OSError | MemoryError) -> None:
        """What keeps focusd from reading may be mended without the file changing: it is tried again."""
        now_s = self._clock()
        if self._readiness.is_last_try(path, now_s) and self._readiness.name(path):
            words = error.strerror if isinstance(error, OSError) else "too large for the memory"
            self._report.refused(path, f"cannot be read: {words or error}")
        self._readiness.postpone(path, now_s)

    async def _refuse(self, sighting: Sighting, reason: str) -> None:
        await self._position.refuse(sighting.file, reason)
        self._readiness.drop(sighting.file.path)
        self._report.refused(sighting.file.path, reason)
