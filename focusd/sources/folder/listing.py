"""What is in a watched folder. Runs on the folder's thread.

Symbolic links are never followed: whoever may write into the folder must not make focusd read, or watch,
anything outside it. Names that begin with a dot are programs' own (half-copied files, macOS's notes).

A folder may hold 100,000 files that are done with. Each listing reads all names, which is cheap, but asks for
size and time only of the files whose names are new, and of the others in turn, so many at a time.
"""

from __future__ import annotations

import heapq
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from typing import Protocol

from focusd.frame import FrameFile
from focusd.sources.folder.readiness import Sighting, age

ASKED_AGAIN = 2000
"""Files that are done with and looked at again, in case that they were written over, in each listing."""
MOST_SIGHTINGS = 5000
"""Files that are taken in at a time, the oldest; the others are found when those are done with."""


@dataclass(slots=True)
class Listing:
    """What was found."""

    sightings: list[Sighting] = field(default_factory=list)
    """Files that are not done with, as far as they were looked at."""
    left_out: int = 0
    """Files that were too many to be among them."""
    present: set[str] = field(default_factory=set)
    """Paths of all files."""
    oddities: dict[str, str] = field(default_factory=dict)
    """Entries that have an image's name and are none, or cannot be looked into: path and reason."""
    identity: tuple[int, int] | None = None
    """Device and inode of the folder: another folder may come to stand in its place."""
    folders: set[str] = field(default_factory=set)
    """The folder and its subfolders that were looked into."""
    is_complete: bool = True
    """Whether every one of them could be."""


class Done(Protocol):
    """Knows which files are done with; asked on the folder's thread."""

    def knows_path(self, path: str) -> bool:
        """Whether a file of this path, as ``readable`` gives it, was done with as it was at some time."""

    def knows(self, file: FrameFile) -> bool:
        """Whether a file is done with as it is."""


class Lister:
    """Lists one folder.

    Args:
        folder: Absolute path.
        patterns: Names of images, e.g. ``*.tif``, whatever their case.
        recursive: Whether subfolders belong to it.
    """

    def __init__(self, folder: str, patterns: Iterable[str], *, recursive: bool) -> None:
        self._folder = folder
        self._names = re.compile("|".join(translate(pattern.lower()) for pattern in patterns))
        self._recursive = recursive
        self._first_asked = 0
        """Of the files that are done with, in the system's order."""

    def list_all(self, done: Done | None = None, most: int | None = None) -> Listing:
        """List the folder.

        Args:
            done: Which files are done with and need not be looked at each time.
            most: Files taken in at most, the oldest ones.

        Raises:
            OSError: it is not there or cannot be listed.
        """
        status = Path(self._folder).stat()
        listing = Listing(identity=(status.st_dev, status.st_ino))
        walk = _Walk(listing, done, most, range(self._first_asked, self._first_asked + ASKED_AGAIN))
        self._list_one(self._folder, walk)
        left = sorted(listing.folders - {self._folder})
        while left:
            subfolder = left.pop()
            before = set(listing.folders)
            try:
                self._list_one(subfolder, walk)
            except FileNotFoundError:
                continue
            except OSError as error:
                listing.is_complete = False
                listing.oddities[readable(subfolder)] = f"cannot be listed: {error.strerror or error}"
            left += sorted(listing.folders - before)
        self._first_asked = walk.asked.stop if walk.asked.stop < walk.done_seen else 0
        walk.keep_oldest()
        return listing

    def look_at(self, paths: Iterable[str]) -> Listing:
        """Look at single entries of folders that have been listed; those that are gone are left out."""
        listing = Listing()
        for path in paths:
            try:
                status = os.lstat(path)
            except OSError:
                # Gone, or it cannot be told: the next whole listing names what is odd.
                continue
            self._add(path, _name(path), status, listing)
        return listing

    def _list_one(self, folder: str, walk: _Walk) -> None:
        with os.scandir(folder) as entries:
            walk.listing.folders.add(folder)
            for entry in entries:
                if not self._concerns(entry) or walk.may_pass(entry):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                self._add(entry.path, entry.name, status, walk.listing)
                walk.drop_what_is_done()

    def _concerns(self, entry: os.DirEntry[str]) -> bool:
        is_subfolder = self._recursive and entry.is_dir(follow_symlinks=False)
        return (is_subfolder and not entry.name.startswith(".")) or self._is_image_name(entry.name)

    def _is_image_name(self, name: str) -> bool:
        return not name.startswith(".") and self._names.match(name.lower()) is not None

    def _add(self, path: str, name: str, status: os.stat_result, listing: Listing) -> None:
        if stat.S_ISDIR(status.st_mode) and self._recursive:
            listing.folders.add(path)
        elif not self._is_image_name(name):
            return
        elif stat.S_ISREG(status.st_mode):
            sighting = sighting_of(path, status)
            listing.sightings.append(sighting)
            listing.present.add(sighting.file.path)
        else:
            listing.oddities[readable(path)] = _oddity(status.st_mode)


@dataclass(slots=True)
class _Walk:
    """One listing on its way."""

    listing: Listing
    done: Done | None
    most: int | None
    asked: range
    """Which of the files that are done with are looked at this time."""
    done_seen: int = 0

    def may_pass(self, entry: os.DirEntry[str]) -> bool:
        """Tell whether a file need not be looked at this time; if so it is noted as present."""
        path = readable(entry.path)
        if self.done is None or not self.done.knows_path(path) or not entry.is_file(follow_symlinks=False):
            return False
        self.done_seen += 1
        if self.done_seen - 1 in self.asked:
            return False
        self.listing.present.add(path)
        return True

    def drop_what_is_done(self) -> None:
        """Drop the last file if it is done with, and the newest if there are twice as many as are wanted."""
        found = self.listing.sightings
        if found and self.done is not None and self.done.knows(found[-1].file):
            found.pop()
        if self.most is not None and len(found) > 2 * self.most:
            self.keep_oldest()

    def keep_oldest(self) -> None:
        """Drop the newest, but for those that are wanted."""
        found = self.listing.sightings
        if self.most is not None and len(found) > self.most:
            self.listing.left_out += len(found) - self.most
            self.listing.sightings = heapq.nsmallest(self.most, found, key=age)


def sighting_of(path: str, status: os.stat_result) -> Sighting:
    """Describe a regular file."""
    file = FrameFile(readable(path), status.st_size, status.st_mtime_ns)
    return Sighting(file, path, status.st_ctime_ns)


def readable(path: str) -> str:
    """Give a path as text that can be stored and shown, also one that is no UTF-8."""
    return path if path.isascii() else os.fsencode(path).decode("utf-8", "backslashreplace")


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _oddity(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "is a symbolic link, which is not followed"
    return "is a directory" if stat.S_ISDIR(mode) else "is not a regular file"
