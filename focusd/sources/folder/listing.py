"""What is in a watched folder. Runs on the folder's thread.

Symbolic links are never followed: whoever may write into the folder must not make focusd read, or watch,
anything outside it. Names that begin with a dot are programs' own (half-copied files, macOS's notes).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from focusd.frame import FrameFile
from focusd.sources.folder.readiness import Sighting


@dataclass(slots=True)
class Listing:
    """What was found."""

    sightings: list[Sighting] = field(default_factory=list)
    oddities: dict[str, str] = field(default_factory=dict)
    """Entries that have an image's name and are none, or cannot be looked into: path and reason."""
    identity: tuple[int, int] | None = None
    """Device and inode of the folder: another folder may come to stand in its place."""
    folders: set[str] = field(default_factory=set)
    """The folder and its subfolders that were looked into."""
    is_complete: bool = True
    """Whether every one of them could be."""


class Lister:
    """Lists one folder.

    Args:
        folder: Absolute path.
        patterns: Names of images, e.g. ``*.tif``, whatever their case.
        recursive: Whether subfolders belong to it.
    """

    def __init__(self, folder: str, patterns: Iterable[str], *, recursive: bool) -> None:
        self._folder = folder
        self._patterns = tuple(pattern.lower() for pattern in patterns)
        self._recursive = recursive

    def list_all(self) -> Listing:
        """List the folder.

        Raises:
            OSError: it is not there or cannot be listed.
        """
        status = Path(self._folder).stat()
        listing = Listing(identity=(status.st_dev, status.st_ino))
        self._list_one(self._folder, listing)
        left = sorted(listing.folders - {self._folder})
        while left:
            subfolder = left.pop()
            before = set(listing.folders)
            try:
                self._list_one(subfolder, listing)
            except FileNotFoundError:
                continue
            except OSError as error:
                listing.is_complete = False
                listing.oddities[readable(subfolder)] = f"cannot be listed: {error.strerror or error}"
            left += sorted(listing.folders - before)
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

    def _list_one(self, folder: str, listing: Listing) -> None:
        with os.scandir(folder) as entries:
            listing.folders.add(folder)
            for entry in entries:
                if not self._concerns(entry):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                self._add(entry.path, entry.name, status, listing)

    def _concerns(self, entry: os.DirEntry[str]) -> bool:
        is_subfolder = self._recursive and entry.is_dir(follow_symlinks=False)
        return (is_subfolder and not entry.name.startswith(".")) or self._is_image_name(entry.name)

    def _is_image_name(self, name: str) -> bool:
        lowered = name.lower()
        return not name.startswith(".") and any(fnmatchcase(lowered, pattern) for pattern in self._patterns)

    def _add(self, path: str, name: str, status: os.stat_result, listing: Listing) -> None:
        if stat.S_ISDIR(status.st_mode) and self._recursive:
            listing.folders.add(path)
        elif not self._is_image_name(name):
            return
        elif stat.S_ISREG(status.st_mode):
            listing.sightings.append(sighting_of(path, status))
        else:
            listing.oddities[readable(path)] = _oddity(status.st_mode)


def sighting_of(path: str, status: os.stat_result) -> Sighting:
    """Describe a regular file."""
    file = FrameFile(readable(path), status.st_size, status.st_mtime_ns)
    return Sighting(file, path, status.st_ctime_ns)


def readable(path: str) -> str:
    """Give a path as text that can be stored and shown, also one that is no UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _oddity(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "is a symbolic link, which is not followed"
    return "is a directory" if stat.S_ISDIR(mode) else "is not a regular file"
