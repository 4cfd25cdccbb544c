"""Records as rows: a key, the record as JSON, and a CRC-32 over both.

A record that could not be read back is refused at writing, so that a row which cannot be read was damaged.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Generic, TypeAlias, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from focusd.errors import StoreError

Key: TypeAlias = int | str
Row: TypeAlias = tuple[Key, str, int]
"""Key, record, crc; a damaged row may hold values of other types."""

RecordT = TypeVar("RecordT")

LARGEST_KEY = 2**63 - 1
"""SQLite's largest integer."""


@dataclass(frozen=True, slots=True)
class Unpacked(Generic[RecordT]):
    """The records of a query, and the rows of it that were damaged."""

    records: list[RecordT]
    damaged: list[Row]


class RowFormat(Generic[RecordT]):
    """How the records of one table are written."""

    def __init__(self, table: str, adapter: TypeAdapter[RecordT]) -> None:
        self.table = table
        self._adapter = adapter

    def pack(self, key: Key, record: RecordT) -> Row:
        """Give the row of ``record``.

        Raises:
            StoreError: the record holds what cannot be read back, such as a number that is not finite.
        """
        try:
            text = self._adapter.dump_json(record, warnings=False, fallback=_plain)
            self._adapter.validate_json(text)
        except (PydanticSerializationError, ValidationError, TypeError, UnicodeError) as error:
            raise StoreError(f"{type(record).__name__} {key} cannot be stored: {error}") from error
        return key, text.decode(), _crc(key, text)

    def unpack(self, rows: Iterable[Row]) -> Unpacked[RecordT]:
        """Give the records of ``rows``, in order, without those that fail the check."""
        unpacked: Unpacked[RecordT] = Unpacked([], [])
        for row in rows:
            text = str(row[1])
            try:
                if row != (row[0], text, _crc(row[0], text.encode())):
                    raise ValueError("checksum")  # noqa: TRY301 - both ways of being unreadable end in one place
                unpacked.records.append(self._adapter.validate_json(text))
            except ValueError:
                unpacked.damaged.append(row)
        return unpacked


def _plain(value: object) -> object:
    """Give numpy's numbers and read-only mappings as JSON has them."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no place in a record")


def _crc(key: Key, text: bytes) -> int:
    return zlib.crc32(text, zlib.crc32(f"{key}\n".encode()))


def highest_key(before: int | None) -> int:
    """Highest id of a page of ids under ``before`` (``None``: any), within what SQLite can hold."""
    return LARGEST_KEY if before is None else max(-LARGEST_KEY, min(before - 1, LARGEST_KEY))
