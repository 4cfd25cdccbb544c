"""The first image of a TIFF file: what it claims, whether all of it is there, and its maker's header.

The decoder, OpenCV's on libtiff, takes much on trust. So only those layouts are let through to it that it
decodes without error (two samples of 16 bit, and colours of 16 bit in planes, come out as a mixture), and
only when all strips are there.

Source: TIFF 6.0 (Adobe, 1992), sections 3 to 9, 14 and 15.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from focusd.errors import ImageError
from focusd.imagefile.chunks import UNCOMPRESSED, check_chunks
from focusd.imagefile.claim import Claim
from focusd.imagefile.directory import Directory, read_directory
from focusd.imagefile.metadata import ImageMetadata
from focusd.imagefile.ome import DESCRIPTION_TAG, read_description
from focusd.imagefile.vendors import (
    TESCAN_TAG,
    THERMO_TAGS,
    ZEISS_TAG,
    read_tescan,
    read_thermo,
    read_zeiss,
)

MAX_HEADER_BYTES = 4 * 2**20
"""OME-XML of 10,000 planes has 2 MiB, makers' headers a few KiB."""

_COMPRESSIONS = {UNCOMPRESSED: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = 0, 1, 2, 3
_SAMPLE_TYPES = {1: "uint", 2: "int", 3: "float", 4: "uint"}
_MAX_SAMPLES = 4
_HEADERS = (
    (ZEISS_TAG, read_zeiss),
    *((tag, read_thermo) for tag in THERMO_TAGS),
    (TESCAN_TAG, read_tescan),
    (DESCRIPTION_TAG, read_description),
)


@dataclass(frozen=True, slots=True)
class TiffPage:
    """The first image of a file; ``white_is_zero`` where grey levels count from white to black."""

    directory: Directory
    claim: Claim
    white_is_zero: bool
    plain: bool

    def pixels(self) -> NDArray[np.generic] | None:
        """Check that all strips or tiles are there, and view the grey levels that need no decoding.

        Returns:
            Shape ``(rows, columns)``, in the file's byte order, without a copy; ``None`` if the image is
            compressed, coloured, tiled or turned, or its strips do not follow each other.

        Raises:
            ImageError: too few of them, beyond the end of the file, too short, or sharing bytes.
        """
        held = check_chunks(self.directory, self.claim)
        if held is None or not self.plain:
            return None
        dtype = np.dtype(f"u{self.claim.bits // 8}").newbyteorder(self.directory.numpy_order)
        return np.frombuffer(held, dtype).reshape(self.claim.rows, self.claim.columns)

    def metadata(self) -> ImageMetadata:
        """Read the maker's header, or else OME-XML."""
        problems: list[str] = []
        for tag, read in _HEADERS:
            try:
                header = self.directory.text(tag, MAX_HEADER_BYTES)
            except ImageError as error:
                problems.append(str(error))
                continue
            metadata = None if header is None else read(header)
            if metadata is not None:
                return replace(metadata, problems=(*problems, *metadata.problems))
        return ImageMetadata(problems=tuple(problems))


def read_page(data: memoryview) -> TiffPage:
    """Read what the first image of a TIFF claims.

    Raises:
        ImageError: the directory is damaged, or the image is of a kind that is not read.
    """
    directory = read_directory(data)
    samples = directory.integer(277, "samples per pixel", 1)
    photometric = directory.integer(262, "photometric interpretation", _BLACK_IS_ZERO)
    bits = _bits(directory, samples)
    allowed = {_WHITE_IS_ZERO: (1,), _BLACK_IS_ZERO: (1,), _RGB: (3, 4), _PALETTE: (1,)}
    if samples not in allowed.get(photometric, ()) or (photometric == _PALETTE and bits != 8):
        raise ImageError(
            f"a TIFF must be grey, 8 bit palette or RGB, got {samples} x {bits} bit of photometric "
            f"interpretation {photometric}"
        )
    if samples > 1 and directory.integer(284, "planar configuration", 1) != 1:
        raise ImageError("a TIFF must have the samples of a pixel side by side, got a plane for each")
    compression = directory.integer(259, "compression", UNCOMPRESSED)
    if compression not in _COMPRESSIONS:
        kinds = ", ".join(dict.fromkeys(_COMPRESSIONS.values()))
        raise ImageError(f"a TIFF must be compressed by {kinds}, got compression {compression}")
    rows, columns = directory.integer(257, "rows"), directory.integer(256, "columns")
    # A palette is decoded to colours.
    claim = Claim("TIFF", rows, columns, 3 if photometric == _PALETTE else samples, bits)
    upright = directory.integer(274, "orientation", 1) == directory.integer(266, "fill order", 1) == 1
    return TiffPage(
        directory,
        claim,
        white_is_zero=photometric == _WHITE_IS_ZERO,
        plain=upright and photometric in {_WHITE_IS_ZERO, _BLACK_IS_ZERO},
    )


def _bits(directory: Directory, samples: int) -> int:
    bits = directory.integers(258, "bits per sample", _MAX_SAMPLES)
    kinds = directory.integers(339, "sample format", _MAX_SAMPLES)
    depth = 1 if bits is None else int(bits[0])
    kind = 1 if kinds is None else int(kinds[0])
    uniform = all(values is None or (values == values[0]).all() for values in (bits, kinds))
    if not uniform or depth not in (8, 16) or _SAMPLE_TYPES.get(kind) != "uint":
        word = _SAMPLE_TYPES.get(kind, "unknown")
        raise ImageError(f"an image must be grey or colour of 8 or 16 bit, got {samples} x {word}{depth}")
    return depth
