"""Whether the pixels of a TIFF are all there: its strips or tiles, compared with the size of the file.

Source: TIFF 6.0 (Adobe, 1992), sections 3 (strips) and 15 (tiles).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from focusd.errors import ImageError
from focusd.imagefile.claim import Claim
from focusd.imagefile.directory import Directory

UNCOMPRESSED = 1
MAX_TILE_SIDE_PX = 4096
"""A tile may be larger than its image, and the decoder takes memory for all of it."""


@dataclass(frozen=True, slots=True)
class _Chunks:
    """Strips or tiles: where each begins, how many bytes it has, and how many its pixels take."""

    kind: str
    offsets: NDArray[np.uint64]
    sizes: NDArray[np.uint64]
    pixel_bytes: NDArray[np.uint64]


def check_chunks(directory: Directory, claim: Claim) -> memoryview | None:
    """Refuse an image whose pixels are not all in the file.

    Args:
        directory: The tags of the image.
        claim: Its size, already checked against the limits.

    Returns:
        All pixels, if they stand uncompressed and row by row in one piece of the file, as most microscopes
        write them; otherwise ``None``.

    Raises:
        ImageError: strips or tiles are missing, too short, beyond the end of the file, share bytes, or are
            tiles with a side that is over 4,096 px or no multiple of 16.
    """
    chunks = _chunks(directory, claim)
    compressed = directory.integer(259, "compression", UNCOMPRESSED) != UNCOMPRESSED
    held = chunks.sizes if compressed else chunks.pixel_bytes
    if (chunks.sizes < held).any():
        raise ImageError(f"TIFF {chunks.kind} hold fewer bytes than their pixels take")
    # Compared without a sum: positions may be up to 2**64.
    end = np.uint64(len(directory.data))
    if ((held > end) | (chunks.offsets > end - np.minimum(held, end))).any():
        raise ImageError(f"is an incomplete TIFF: {chunks.kind} lie beyond the end of the file")
    if int(held.sum()) > end:
        raise ImageError(f"TIFF {chunks.kind} share bytes: together they are larger than the file")
    if compressed or chunks.kind == "tiles" or (np.diff(chunks.offsets) != held[:-1]).any():
        return None
    start = int(chunks.offsets[0])
    return directory.data[start : start + int(held.sum())]


def _chunks(directory: Directory, claim: Claim) -> _Chunks:
    tiled = 322 in directory.entries
    kind, offset_tag, size_tag = ("tiles", 324, 325) if tiled else ("strips", 273, 279)
    height, width = _tile_shape(directory) if tiled else (_strip_height(directory, claim), claim.columns)
    down, across = -(-claim.rows // height), -(-claim.columns // width)
    count = down * across
    offsets = directory.integers(offset_tag, kind, count)
    sizes = directory.integers(size_tag, f"bytes of {kind}", count)
    present = 0 if offsets is None or sizes is None else min(offsets.size, sizes.size)
    if offsets is None or sizes is None or present < count:
        raise ImageError(f"a TIFF of this size and layout has {count} {kind}, got {present}")
    pixel_bytes = directory.integer(277, "samples per pixel", 1) * claim.bits // 8
    held = np.full(count, height * width * pixel_bytes, np.uint64)
    if not tiled:
        held[-1] = (claim.rows - height * (down - 1)) * width * pixel_bytes
    return _Chunks(kind, offsets, sizes, held)


def _strip_height(directory: Directory, claim: Claim) -> int:
    height = min(directory.integer(278, "rows per strip", claim.rows), claim.rows)
    if height == 0:
        raise ImageError("TIFF strips have no rows")
    return height


def _tile_shape(directory: Directory) -> tuple[int, int]:
    height, width = directory.integer(323, "tile rows"), directory.integer(322, "tile columns")
    if not all(0 < side <= MAX_TILE_SIDE_PX and side % 16 == 0 for side in (height, width)):
        raise ImageError(
            f"TIFF tiles must have sides of a multiple of 16 px, at most {MAX_TILE_SIDE_PX}, "
            f"got {(height, width)}"
        )
    return height, width
