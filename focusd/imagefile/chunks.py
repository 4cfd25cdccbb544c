"""Whether the pixels of a TIFF are all there: its strips or tiles, compared with the size of the file.

Source: TIFF 6.0 (Adobe, 1992), sections 3 (strips), 7 (planes) and 15 (tiles).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from focusd.errors import ImageError
from focusd.imagefile.claim import Claim
from focusd.imagefile.directory import Directory

UNCOMPRESSED = 1
MAX_TILE_BYTES = 64 * 2**20
"""A tile may be larger than its image, and the decoder takes memory for all of it."""


@dataclass(frozen=True, slots=True)
class _Chunks:
    """Strips or tiles: where each begins, how many bytes it has, and how many its pixels take."""

    kind: str
    offsets: NDArray[np.uint64]
    sizes: NDArray[np.uint64]
    pixel_bytes: NDArray[np.uint64]


def check_chunks(directory: Directory, claim: Claim) -> None:
    """Refuse an image whose pixels are not all in the file.

    Args:
        directory: The tags of the image.
        claim: Its size, already checked against the limits.

    Raises:
        ImageError: strips or tiles are missing, too short, beyond the end of the file, share bytes, or are
            tiles of over 64 MiB.
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


def _chunks(directory: Directory, claim: Claim) -> _Chunks:
    tiled = 322 in directory.entries
    offset_tag, size_tag = (324, 325) if tiled else (273, 279)
    kind = "tiles" if tiled else "strips"
    # The samples of a pixel stand together, or each in a plane of its own.
    stored = directory.integer(277, "samples per pixel", 1)
    planes = stored if directory.integer(284, "planar configuration", 1) == 2 else 1
    pixel_bytes = stored // planes * claim.bits // 8
    sizes = (
        _tile_bytes(directory, claim, pixel_bytes) if tiled else _strip_bytes(directory, claim, pixel_bytes)
    )
    pixel = np.tile(sizes, planes)
    offsets, lengths = directory.integers(offset_tag, kind), directory.integers(size_tag, f"bytes of {kind}")
    if offsets is None or lengths is None or min(offsets.size, lengths.size) < pixel.size:
        present = 0 if offsets is None or lengths is None else min(offsets.size, lengths.size)
        raise ImageError(f"a TIFF of this size and layout has {pixel.size} {kind}, got {present}")
    return _Chunks(kind, offsets[: pixel.size], lengths[: pixel.size], pixel)


def _strip_bytes(directory: Directory, claim: Claim, pixel_bytes: int) -> NDArray[np.uint64]:
    height = min(directory.integer(278, "rows per strip", claim.rows), claim.rows)
    if height == 0:
        raise ImageError("TIFF strips have no rows")
    rows = np.full(-(-claim.rows // height), height, np.uint64)
    rows[-1] = claim.rows - height * (rows.size - 1)
    return rows * np.uint64(claim.columns * pixel_bytes)


def _tile_bytes(directory: Directory, claim: Claim, pixel_bytes: int) -> NDArray[np.uint64]:
    height, width = directory.integer(323, "tile rows"), directory.integer(322, "tile columns")
    nbytes = height * width * pixel_bytes
    if not 0 < nbytes <= MAX_TILE_BYTES:
        raise ImageError(f"TIFF tiles must be of 1 to {MAX_TILE_BYTES} bytes, got {nbytes}")
    tiles = -(-claim.rows // height) * -(-claim.columns // width)
    return np.full(tiles, nbytes, np.uint64)
