"""Reads a grey image out of an uncompressed TIFF file, as SmartSEM writes it, with the standard library."""

from __future__ import annotations

import struct
from array import array
from pathlib import Path

from focusd_bridge import Image, InstrumentError

_WIDTH, _LENGTH, _BITS, _COMPRESSION, _OFFSETS, _SAMPLES, _COUNTS = 256, 257, 258, 259, 273, 277, 279
_FORMATS = {3: "H", 4: "I"}
_MOST_PIXELS = 1 << 28


def read_grey_tiff(path: Path) -> Image:
    """Give the first image of a file, rows from the top.

    Raises:
        InstrumentError: no TIFF file, or one of another kind than 8 or 16 bit grey without compression.
    """
    data = path.read_bytes()
    try:
        order = {b"II*\x00": "<", b"MM\x00*": ">"}[data[:4]]
        tags = _tags(data, order)
        rows, columns = tags[_LENGTH][0], tags[_WIDTH][0]
        bits = tags.get(_BITS, [1])[0]
        plain = tags.get(_COMPRESSION, [1]) == [1] and tags.get(_SAMPLES, [1]) == [1] and bits in (8, 16)
        if not plain or not 0 < rows * columns <= _MOST_PIXELS:
            raise InstrumentError(f"{path.name} is no uncompressed grey image of 8 or 16 bits")
        wanted = rows * columns * bits // 8
        strips = [data[at : at + count] for at, count in zip(tags[_OFFSETS], tags[_COUNTS])]
    except (KeyError, IndexError, struct.error) as error:
        raise InstrumentError(f"{path.name} is no TIFF file that can be read: {error!r}") from error
    pixels = b"".join(strips)[:wanted]
    if len(pixels) < wanted:
        raise InstrumentError(f"{path.name} holds {len(pixels)} bytes of pixels, {wanted} are needed")
    return Image(rows, columns, _little_endian(pixels, order) if bits == 16 else pixels, bits)


def _tags(data: bytes, order: str) -> dict[int, list[int]]:
    """Give the whole numbers of the first directory."""
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    found = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(order + "HHI", data, entry)
        form = _FORMATS.get(kind)
        if form is None or length > len(data):
            continue
        inside = struct.calcsize(f"{length}{form}") <= 4
        place = entry + 8 if inside else struct.unpack_from(order + "I", data, entry + 8)[0]
        found[tag] = list(struct.unpack_from(f"{order}{length}{form}", data, place))
    return found


def _little_endian(pixels: bytes, order: str) -> bytes:
    if order == "<":
        return pixels
    words = array("H", pixels)
    words.byteswap()
    return words.tobytes()
