"""The body of a SharkSEM message: arguments one after another, each on a multiple of 4 bytes.

Whole numbers take 4 bytes. Everything else is an array: its size in bytes (uint32), the bytes, padding to
the next multiple of 4. A string ends with NUL, and a *float is a string* holding a decimal number in the C
locale, never IEEE binary. A map is a string of lines ``key=value``.

Two conventions of a string's size are in use, and the reader takes both by cutting at the first NUL:
``EXACT`` counts text and NUL (manual, real servers), ``PADDED`` fills up with NULs to a multiple of 4 and
counts them too (the vendor's Python client).

Source: TESCAN, SharkSEM Remote Control manual 2.0.25, chapter on data types.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final, TypeAlias

from focusd.errors import LocalProtocolError, RemoteProtocolError

ALIGNMENT: Final = 4

Value: TypeAlias = int | float | str | bytes

# What C's strtod reads in the C locale, less hexadecimal, infinities and not-a-number.
_DECIMAL: Final = re.compile(
    r"[ \t]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t\r\n]*", re.ASCII
)
_LONGEST_DECIMAL: Final = 64


class StringSize(Enum):
    """What the size field of a string counts."""

    EXACT = "exact"
    """The text and one NUL; padding follows uncounted."""
    PADDED = "padded"
    """The text and NULs up to a multiple of 4."""


def encode_body(values: Iterable[Value], *, string_size: StringSize = StringSize.EXACT) -> bytes:
    """Encode arguments in their order: int (signed or unsigned 32-bit), float, str and bytes.

    Raises:
        LocalProtocolError: an int outside 32 bits, a float that is not finite, or a string holding NUL.
    """
    return b"".join(_encode_value(value, string_size) for value in values)


def _encode_value(value: Value, string_size: StringSize) -> bytes:
    match value:
        case int():
            return _encode_int(value)
        case float():
            return _encode_string(format_float(value), string_size)
        case str():
            return _encode_string(value, string_size)
        case bytes():
            return _encode_array(value)


def _encode_int(value: int) -> bytes:
    if not -(2**31) <= value < 2**32:
        raise LocalProtocolError(f"an int argument has 32 bits, got {value}")
    return struct.pack("<I", value & 0xFFFF_FFFF)


def _encode_string(text: str, string_size: StringSize) -> bytes:
    if "\0" in text:
        raise LocalProtocolError(f"a string argument cannot hold NUL, got {text!r}")
    data = text.encode() + b"\0"
    if string_size is StringSize.PADDED:
        data += bytes(padding(len(data)))
    return _encode_array(data)


def _encode_array(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data + bytes(padding(len(data)))


def padding(size: int) -> int:
    """Give the number of bytes from ``size`` to the next multiple of 4."""
    return -size % ALIGNMENT


def format_float(value: float) -> str:
    """Give the shortest text that reads back as the same number.

    Raises:
        LocalProtocolError: ``value`` is infinite or not a number.
    """
    if not math.isfinite(value):
        raise LocalProtocolError(f"a float argument must be finite, got {value}")
    # NumPy's floats subclass float but have a repr of their own.
    return repr(float(value))


def parse_float(text: str) -> float:
    """Read a float argument's text.

    Raises:
        RemoteProtocolError: not a decimal number, or not a finite one.
    """
    if len(text) > _LONGEST_DECIMAL or _DECIMAL.fullmatch(text) is None:
        raise RemoteProtocolError(f"a float argument holds no number but {text[:_LONGEST_DECIMAL]!r}")
    value = float(text)
    if not math.isfinite(value):
        raise RemoteProtocolError(f"a float argument is out of range: {text!r}")
    return value


def format_map(entries: Mapping[str, object]) -> str:
    """Give the text of a map; every line ends with a newline, the last one too."""
    return "".join(f"{key}={value}\n" for key, value in entries.items())


def parse_map(text: str) -> dict[str, str]:
    """Read the text of a map in its order; lines without ``=`` are skipped, of equal keys the last counts."""
    pairs = (line.partition("=") for line in text.split("\n"))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals and key.strip()}


class BodyReader:
    """Takes arguments off a body one by one.

    Every method raises ``RemoteProtocolError`` when the body ends too early or holds something else.
    Arguments left over are no error: newer servers answer more than older ones.
    """

    def __init__(self, body: bytes | bytearray | memoryview) -> None:
        self._body = memoryview(body)
        self._offset = 0

    @property
    def at_end(self) -> bool:
        """Whether every argument has been taken."""
        return self._offset >= len(self._body)

    def int32(self) -> int:
        """Take a signed whole number."""
        value: int = struct.unpack("<i", self._take(4))[0]
        return value

    def uint32(self) -> int:
        """Take an unsigned whole number."""
        value: int = struct.unpack("<I", self._take(4))[0]
        return value

    def bytes_(self) -> bytes:
        """Take an array of bytes."""
        size = self.uint32()
        data = bytes(self._take(size))
        # The sender of a last argument may have left out what nobody reads.
        self._offset = min(self._offset + padding(size), len(self._body))
        return data

    def string(self) -> str:
        """Take a string, cut at its first NUL; bytes that are not UTF-8 become U+FFFD.

        A strange letter in a detector's name is no reason to give up the link; numbers are read strictly.
        """
        return self.bytes_().split(b"\0", 1)[0].decode(errors="replace")

    def float_(self) -> float:
        """Take a float; always a finite number."""
        return parse_float(self.string())

    def map_(self) -> dict[str, str]:
        """Take a map."""
        return parse_map(self.string())

    def _take(self, count: int) -> memoryview:
        left = len(self._body) - self._offset
        if count > left:
            raise RemoteProtocolError(f"a body ends too early: {count} bytes expected, {left} are left")
        start, self._offset = self._offset, self._offset + count
        return self._body[start : self._offset]
