"""The first directory of a TIFF file: which tags it has and where their values lie.

Source: TIFF 6.0 (Adobe, 1992), section 2; BigTIFF (AWare Systems, 2007), which widens counts and offsets to
8 bytes. Nothing is believed: every position is compared with the size of the file before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from focusd.errors import ImageError

ByteOrder: TypeAlias = Literal["little", "big"]

MAX_ENTRIES = 1000
"""Microscopes write about 30."""

_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 13: 4, 16: 8, 18: 8}
"""Bytes of one value of each kind that is read here."""
_INTEGERS = (1, 3, 4, 13, 16, 18)
_TEXTS = (1, 2, 6, 7)


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag: the kind of its values, how many, and where they begin."""

    kind: int
    count: int
    position: int

    @property
    def nbytes(self) -> int:
        """Bytes of all values; 0 for kinds that are not read."""
        return self.count * _WIDTHS.get(self.kind, 0)


@dataclass(frozen=True, slots=True)
class Directory:
    """The tags of one image; of a tag that comes twice the first counts, as it does for libtiff."""

    data: memoryview
    order: ByteOrder
    entries: Mapping[int, Entry]

    @property
    def numpy_order(self) -> Literal["<", ">"]:
        """The byte order as numpy names it."""
        return "<" if self.order == "little" else ">"

    def integers(self, tag: int, name: str, at_most: int) -> NDArray[np.uint64] | None:
        """Give the first ``at_most`` values of a tag, ``None`` if there is no such tag.

        Raises:
            ImageError: they are no integers or lie beyond the end of the file.
        """
        entry = self.entries.get(tag)
        if entry is None:
            return None
        if entry.kind not in _INTEGERS or entry.count == 0:
            raise ImageError(f"TIFF tag {tag} ({name}) holds no whole numbers")
        dtype = np.dtype(f"u{_WIDTHS[entry.kind]}").newbyteorder(self.numpy_order)
        values = np.frombuffer(self._bytes_of(entry, tag, name), dtype)
        return values[:at_most].astype(np.uint64)

    def integer(self, tag: int, name: str, default: int | None = None) -> int:
        """Give the one value of a tag, or ``default``.

        Raises:
            ImageError: as ``integers``, it has several, or the tag is missing and has no default.
        """
        values = self.integers(tag, name, 2)
        if values is None:
            if default is None:
                raise ImageError(f"TIFF tag {tag} ({name}) is missing")
            return default
        if values.size > 1:
            raise ImageError(f"TIFF tag {tag} ({name}) has more than one value")
        return int(values[0])

    def text(self, tag: int, max_bytes: int) -> bytes | None:
        """Give the bytes of a text tag, ``None`` if there is no such tag.

        Raises:
            ImageError: there are more than ``max_bytes``, or they lie beyond the end of the file.
        """
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _TEXTS:
            return None
        if entry.nbytes > max_bytes:
            raise ImageError(f"TIFF tag {tag} has {entry.nbytes} bytes, at most {max_bytes} are read")
        return bytes(self._bytes_of(entry, tag, "text"))

    def _bytes_of(self, entry: Entry, tag: int, name: str) -> memoryview:
        end = entry.position + entry.nbytes
        if end > len(self.data):
            raise ImageError(f"TIFF tag {tag} ({name}) lies beyond the end of the file")
        return self.data[entry.position : end]


def read_directory(data: memoryview) -> Directory:
    """Read the first directory of a TIFF or BigTIFF of either byte order.

    Args:
        data: The file, which begins as a TIFF does.

    Raises:
        ImageError: the directory lies beyond the end of the file or has over 1,000 entries.
    """
    order: ByteOrder = "little" if bytes(data[:2]) == b"II" else "big"

    def unsigned(position: int, size: int) -> int:
        if position + size > len(data):
            raise ImageError("TIFF directory lies beyond the end of the file")
        return int.from_bytes(data[position : position + size], order)

    big = unsigned(2, 2) == 43
    offset_bytes, count_bytes, start = (8, 8, 8) if big else (4, 2, 4)
    place = unsigned(start, offset_bytes)
    entries = unsigned(place, count_bytes)
    if entries > MAX_ENTRIES:
        raise ImageError(f"TIFF directory has {entries} entries, at most {MAX_ENTRIES} are read")
    found: dict[int, Entry] = {}
    for index in range(entries):
        entry = place + count_bytes + index * (4 + 2 * offset_bytes)
        value = entry + 4 + offset_bytes
        kind, count = unsigned(entry + 2, 2), unsigned(entry + 4, offset_bytes)
        # Values that fit stand in the entry itself, others where it points to.
        inside = count * _WIDTHS.get(kind, 0) <= offset_bytes
        position = value if inside else unsigned(value, offset_bytes)
        found.setdefault(unsigned(entry, 2), Entry(kind, count, position))
    return Directory(data, order, found)
