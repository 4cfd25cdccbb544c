"""Turn the bytes of an image file into the grey levels that focusd judges."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from focusd.errors import ImageError
from focusd.frame import Pixels, checked_pixels
from focusd.imagefile.claim import MAX_DECODED_BYTES, Claim, Data, bmp_claim, jpeg_claim, png_claim
from focusd.imagefile.metadata import ImageMetadata
from focusd.imagefile.tiff import TiffPage, read_page

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""TIFF and BigTIFF, each in both byte orders."""
_OTHERS = {b"\x89PNG\r\n\x1a\n": png_claim, b"\xff\xd8\xff": jpeg_claim, b"BM": bmp_claim}


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """An image and what its file tells of how it was taken.

    ``pixels`` is as ``Frame`` wants it; ``format`` is ``PNG``, ``TIFF``, ``JPEG`` or ``BMP``.
    """

    pixels: Pixels
    metadata: ImageMetadata
    format: str


def decode_image(data: Data, *, max_decoded_bytes: int = MAX_DECODED_BYTES) -> DecodedImage:
    """Decode a PNG, TIFF, JPEG or BMP, told by its content; of a TIFF the first page.

    Size and depth are read from the header and checked before anything is decoded or memory taken for it,
    and of a TIFF also that all of its pixels are there. ``data`` is not copied, and must not be written to
    afterwards: an uncompressed grey TIFF is not decoded but viewed.

    Args:
        data: The whole file.
        max_decoded_bytes: Memory that the decoded samples may take; of a colour image that is three to
            four times its grey levels.

    Returns:
        Grey levels of 8 or 16 bit as in the file, in native byte order, read-only; colour is turned into
        luminance.

    Raises:
        ImageError: it is no such image, incomplete, damaged, of another type than 8 or 16 bit, too large,
            has a side outside 64 to 32,768 px, or claims more than a file of its length can hold.
    """
    view = memoryview(data).cast("B")
    claim, page = _claim(view)
    claim.check(len(view), max_decoded_bytes)
    return DecodedImage(
        pixels=checked_pixels(_grey(_decoded(view[: claim.end], claim)) if page is None else _of_tiff(page)),
        metadata=ImageMetadata() if page is None else page.metadata(),
        format=claim.format,
    )


def _claim(data: memoryview) -> tuple[Claim, TiffPage | None]:
    beginning = bytes(data[:8])
    if beginning.startswith(_TIFF):
        page = read_page(data)
        return page.claim, page
    for magic, read in _OTHERS.items():
        if beginning.startswith(magic):
            return read(data), None
    raise ImageError("is not a PNG, TIFF, JPEG or BMP image")


def _of_tiff(page: TiffPage) -> NDArray[np.generic]:
    pixels = page.pixels()
    if pixels is not None:
        return np.invert(pixels) if page.white_is_zero else pixels
    image = _grey(_decoded(page.directory.data, page.claim))
    # The decoder turns 8 bit round by itself.
    return np.invert(image) if page.white_is_zero and page.claim.bits == 16 else image


def _decoded(data: memoryview, claim: Claim) -> MatLike:
    _silence_decoder()
    try:
        image: MatLike | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"cannot be decoded: {error.err or error}") from error
    if image is None:
        raise ImageError(f"is a damaged, incomplete or unsupported {claim.format} file")
    # A TIFF may say that it lies on its side.
    if sorted(image.shape[:2]) != sorted((claim.rows, claim.columns)):
        raise ImageError(f"claims {(claim.rows, claim.columns)} px but decodes to {image.shape[:2]}")
    return image


@functools.cache
def _silence_decoder() -> None:
    """Each vendor's own TIFF tags would be a warning on standard error; set for good, as threads decode."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _grey(image: MatLike) -> MatLike:
    if image.ndim == 2:
        return image
    conversions = {3: cv2.COLOR_BGR2GRAY, 4: cv2.COLOR_BGRA2GRAY}
    channels = image.shape[2]
    if channels not in conversions or image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"an image must be grey or colour of 8 or 16 bit, got {channels} x {image.dtype}")
    return cv2.cvtColor(image, conversions[channels])
