"""SharkSEM messages on their way through: cut where they begin and end, and otherwise left as they are.

Who stands between a client and a microscope must pass on every byte, also of messages it has never heard
of. So nothing here can fail: whatever the bytes are, the parts put together give them back.

Rules kept here:

1. The parts of a stream, put together in order, are the stream.
2. A part goes out as soon as it can be told which message it belongs to. Held back are at most the 32
   bytes of a header, and messages whose name is in ``whole`` if they are as short as it says.
3. The size in a header is believed but never allocated.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from focusd.protocol.sharksem import HEADER_BYTES

_HEAD: Final = struct.Struct("<16sIIHHI")


@dataclass(frozen=True, slots=True)
class Head:
    """What a header says; ``name`` is empty when it is none."""

    name: str
    body_bytes: int
    identification: int
    flags: int
    queue: int


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of one message, header included where it ``begins``."""

    head: Head
    data: bytes
    begins: bool
    ends: bool


def read_head(data: bytes | bytearray | memoryview) -> Head:
    """Read a header without judging it.

    Raises:
        struct.error: fewer than 32 bytes were given.
    """
    raw, body_bytes, identification, flags, queue, _reserved = _HEAD.unpack_from(data)
    name = raw.split(b"\0", 1)[0].decode("ascii", errors="replace")
    known = name.isascii() and name.isprintable()
    return Head(name if known else "", body_bytes, identification, flags, queue)


class MessageSplitter:
    """Cuts one direction of a connection into parts.

    Args:
        whole: Names of messages wanted in one part, with the longest body for which that is done.
    """

    def __init__(self, whole: Mapping[str, int] | None = None) -> None:
        self._whole = dict(whole or {})
        self._held = bytearray()
        self._head: Head | None = None
        self._left = 0

    @property
    def in_message(self) -> bool:
        """Whether the last message is still to be completed."""
        return self._head is not None or bool(self._held)

    def split(self, data: bytes) -> list[Part]:
        """Take the next bytes and give what can be passed on of them."""
        parts: list[Part] = []
        view = memoryview(data)
        while view:
            view = self._take_body(view, parts) if self._is_streaming else self._take_held(view, parts)
        return parts

    def rest(self) -> bytes:
        """Give what is held back, at the end of the stream."""
        rest = bytes(self._held)
        self._held.clear()
        self._head = None
        return rest

    @property
    def _is_streaming(self) -> bool:
        return self._head is not None and not self._held

    def _take_held(self, view: memoryview, parts: list[Part]) -> memoryview:
        """Fill up a header, or a message that is wanted whole."""
        if self._head is None:
            view = self._fill(view, HEADER_BYTES)
            if len(self._held) < HEADER_BYTES:
                return view
            self._head = read_head(self._held)
        head = self._head
        if head.body_bytes <= self._whole.get(head.name, -1):
            wanted = HEADER_BYTES + head.body_bytes
            view = self._fill(view, wanted)
            if len(self._held) < wanted:
                return view
            self._left = 0
        else:
            count = min(len(view), head.body_bytes)
            self._held += view[:count]
            view = view[count:]
            self._left = head.body_bytes - count
        parts.append(Part(head, bytes(self._held), begins=True, ends=not self._left))
        self._held.clear()
        if not self._left:
            self._head = None
        return view

    def _fill(self, view: memoryview, size: int) -> memoryview:
        count = min(len(view), max(size - len(self._held), 0))
        self._held += view[:count]
        return view[count:]

    def _take_body(self, view: memoryview, parts: list[Part]) -> memoryview:
        count = min(len(view), self._left)
        self._left -= count
        if self._head is not None:
            parts.append(Part(self._head, bytes(view[:count]), begins=False, ends=not self._left))
        if not self._left:
            self._head = None
        return view[count:]


class BodyCollector:
    """Puts the bodies of chosen messages together from the parts that pass.

    Args:
        longest: The longest body that is collected, by name; others pass unseen.
    """

    def __init__(self, longest: Mapping[str, int]) -> None:
        self._longest = longest
        self._body: bytearray | None = None

    def add(self, part: Part) -> bytes | None:
        """Take the next part; give the body when it is the last of a chosen message."""
        head = part.head
        if part.begins:
            wanted = head.body_bytes <= self._longest.get(head.name, -1)
            self._body = bytearray(part.data[HEADER_BYTES:]) if wanted else None
        elif self._body is not None:
            self._body += part.data
        if self._body is None or not part.ends:
            return None
        body, self._body = bytes(self._body), None
        return body
