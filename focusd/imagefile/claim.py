"""What a file claims to hold, read from its header before anything is decoded."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

from focusd.errors import ImageError
from focusd.frame import MAX_SIDE_PX, MIN_SIDE_PX

Data: TypeAlias = bytes | bytearray | memoryview

MAX_DECODED_BYTES = 2 * MAX_SIDE_PX**2
"""A grey image of 16 bit with the longest sides that a frame may have."""
MAX_EXPANSION = 2048
"""No image of use decodes to more than so many times its file: DEFLATE gives 1,032 at most, LZW 1,400."""

_MAX_PNG_CHUNKS = 100_000
_MAX_JPEG_SEGMENTS = 4096
_MAX_JPEG_SCANS = 32
"""A progressive JPEG has about 10; each takes the time of a whole image, however few bytes it has."""
_NOT_A_FRAME = (0xC4, 0xC8, 0xCC)
_PNG_SAMPLES = {0: 1}
"""Grey; all else may be decoded to three colours and transparency."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Size and depth of an image as its header tells them, and where it ends if something follows it."""

    format: str
    rows: int
    columns: int
    samples: int
    bits: int
    end: int | None = None

    @property
    def decoded_bytes(self) -> int:
        """Memory that the decoded samples take."""
        return self.rows * self.columns * self.samples * self.bits // 8

    def check(self, file_bytes: int, max_decoded_bytes: int) -> None:
        """Refuse what no frame can be and what a file of ``file_bytes`` cannot hold.

        Raises:
            ImageError: a side outside 64 to 32,768 px, more than ``max_decoded_bytes``, or far more than
                such a file can hold.
        """
        if not all(MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in (self.rows, self.columns)):
            raise ImageError(
                f"each side of an image must be between {MIN_SIDE_PX} and {MAX_SIDE_PX} px, "
                f"got {(self.rows, self.columns)}"
            )
        if self.decoded_bytes > max_decoded_bytes:
            raise ImageError(
                f"holds {self.decoded_bytes / 2**20:.0f} MiB of pixels, at most "
                f"{max_decoded_bytes / 2**20:.0f} MiB are decoded"
            )
        if self.decoded_bytes > MAX_EXPANSION * file_bytes:
            raise ImageError(
                f"claims {self.rows} x {self.columns} px in {file_bytes} bytes of {self.format}: "
                "no image of use is so small"
            )


def png_claim(data: memoryview) -> Claim:
    """Read the header chunk, and walk all chunks: each is whole, with the checksum it says.

    The decoder would take memory for whatever length a chunk claims, also one behind the last.

    Raises:
        ImageError: the file is damaged, incomplete or animated, or has over 100,000 chunks.
    """
    position = 8
    for _ in range(_MAX_PNG_CHUNKS):
        body, kind = position + 8, bytes(data[position + 4 : position + 8])
        end = body + _big(data, position, 4)
        if end + 4 > len(data) or zlib.crc32(data[position + 4 : end]) != _big(data, end, 4):
            break
        if kind == b"acTL":
            raise ImageError("is an animated PNG")
        if kind == b"IEND":
            return _png_header(data, end + 4)
        position = end + 4
    raise _damaged("PNG")


def _png_header(data: memoryview, end: int) -> Claim:
    if bytes(data[8:16]) != b"\0\0\0\x0dIHDR":
        raise _damaged("PNG")
    columns, rows = _big(data, 16, 4), _big(data, 20, 4)
    bits = 16 if data[24] == 16 else 8
    return Claim("PNG", rows, columns, _PNG_SAMPLES.get(data[25], 4), bits, end)


def bmp_claim(data: memoryview) -> Claim:
    """Read either kind of header; a negative height means rows from top to bottom.

    Raises:
        ImageError: it is cut short.
    """
    if len(data) < 34:
        raise _damaged("BMP")
    if _little(data, 14, 4) == 12:
        return Claim("BMP", _little(data, 20, 2), _little(data, 18, 2), 3, 8)
    rows, columns = (int.from_bytes(data[start : start + 4], "little", signed=True) for start in (22, 18))
    # A palette may be decoded to colours.
    return Claim("BMP", abs(rows), abs(columns), 4 if _little(data, 28, 2) == 32 else 3, 8)


def jpeg_claim(data: memoryview) -> Claim:
    """Walk the segments up to the one that tells the size.

    Raises:
        ImageError: there is none, it is not of 8 bit, or there are more scans than any image needs.
    """
    scans = sum(1 for _ in islice(re.finditer(rb"\xff\xda", data), _MAX_JPEG_SCANS + 1))
    if scans > _MAX_JPEG_SCANS:
        raise ImageError(f"is a JPEG of more than {_MAX_JPEG_SCANS} scans")
    position = 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        if position + 10 > len(data) or data[position] != 0xFF:
            break
        marker, length = data[position + 1], _big(data, position + 2, 2)
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_A_FRAME:
            if data[position + 4] != 8:
                raise ImageError(f"is a JPEG of {data[position + 4]} bit; 8 bit is read")
            rows, columns = _big(data, position + 5, 2), _big(data, position + 7, 2)
            return Claim("JPEG", rows, columns, max(1, data[position + 9]), 8)
        position += 1 if marker == 0xFF else 2 + max(2, length)
    raise _damaged("JPEG")


def _big(data: memoryview, start: int, size: int) -> int:
    return int.from_bytes(data[start : start + size], "big")


def _little(data: memoryview, start: int, size: int) -> int:
    return int.from_bytes(data[start : start + size], "little")


def _damaged(kind: str) -> ImageError:
    return ImageError(f"is a damaged or incomplete {kind} file")
