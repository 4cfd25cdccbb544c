"""A TIFF writer that writes whatever it is told, also what no honest program would."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = bytes | Sequence[int]
Order: TypeAlias = Literal["<", ">"]

BYTE, ASCII, SHORT, LONG, LONG8 = 1, 2, 3, 4, 16
_FORMATS = {SHORT: "H", LONG: "I", LONG8: "Q"}


def tiff(
    pixels: NDArray[Any],
    *,
    order: Order = "<",
    big: bool = False,
    rows_per_strip: int | None = None,
    changes: Mapping[int, tuple[int, Values] | None] | None = None,
) -> bytes:
    """Write an uncompressed TIFF of ``pixels``, shape ``(rows, columns)`` or ``(rows, columns, samples)``.

    Args:
        pixels: uint8 or uint16.
        order: ``<`` or ``>``.
        big: BigTIFF.
        rows_per_strip: All rows in one strip if not given.
        changes: Tags to set, each the kind of its values and the values; or ``None`` to leave it out.
    """
    rows, columns, *rest = pixels.shape
    samples = rest[0] if rest else 1
    height = rows_per_strip or rows
    strips = [
        np.ascontiguousarray(pixels[row : row + height], pixels.dtype.newbyteorder(order)).tobytes()
        for row in range(0, rows, height)
    ]
    start = 16 if big else 8
    offsets = [start + sum(map(len, strips[:index])) for index in range(len(strips))]
    tags: dict[int, tuple[int, Values] | None] = {
        256: (LONG, [columns]),
        257: (LONG, [rows]),
        258: (SHORT, [8 * pixels.itemsize] * samples),
        259: (SHORT, [1]),
        262: (SHORT, [2 if samples > 1 else 1]),
        273: (LONG, offsets),
        277: (SHORT, [samples]),
        278: (LONG, [height]),
        279: (LONG, [len(strip) for strip in strips]),
        **(changes or {}),
    }
    return _written(order, b"".join(strips), {code: tag for code, tag in tags.items() if tag}, big=big)


def _written(order: Order, body: bytes, tags: Mapping[int, tuple[int, Values]], *, big: bool) -> bytes:
    word = "Q" if big else "I"
    room = struct.calcsize(f"={word}")
    start = 16 if big else 8
    entries, values = b"", b""
    for code, (kind, content) in sorted(tags.items()):
        packed = content if isinstance(content, bytes) else _packed(order, kind, content)
        if len(packed) > room:
            place = struct.pack(f"{order}{word}", start + len(body) + len(values))
            values += packed
        else:
            place = packed.ljust(room, b"\0")
        count = len(packed) // struct.calcsize(f"={_FORMATS.get(kind, 'B')}")
        entries += struct.pack(f"{order}HH{word}", code, kind, count) + place
    directory = start + len(body) + len(values)
    mark = b"II" if order == "<" else b"MM"
    if big:
        header = mark + struct.pack(f"{order}HHHQ", 43, 8, 0, directory)
    else:
        header = mark + struct.pack(f"{order}HI", 42, directory)
    number = struct.pack(f"{order}{'Q' if big else 'H'}", len(tags))
    return header + body + values + number + entries + bytes(room)


def _packed(order: Order, kind: int, numbers: Sequence[int]) -> bytes:
    return struct.pack(f"{order}{len(numbers)}{_FORMATS[kind]}", *numbers)
