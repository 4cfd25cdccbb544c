"""Read an image from a file into the grey levels that focusd judges."""

from __future__ import annotations

import stat
from pathlib import Path

import cv2
import numpy as np
from cv2.typing import MatLike

from focusd.errors import ImageError
from focusd.frame import MAX_SIDE_PX, Pixels, checked_pixels

MAX_FILE_BYTES = 512 * 2**20

_PNG = b"\x89PNG\r\n\x1a\n"
_KNOWN_BEGINNINGS = (_PNG, b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM")
"""PNG, JPEG, TIFF and big TIFF, each in both byte orders, and BMP, which some microscopes write."""


def read_image(path: Path) -> Pixels:
    """Read a PNG, TIFF, JPEG or BMP file as grey levels, the first page if there are several.

    Returns:
        Shape ``(rows, columns)``, uint8 or uint16 as in the file; colour is turned into luminance.

    Raises:
        ImageError: the file is missing, unreadable, over 512 MiB, no such image, of another type than
            8 or 16 bit, or with a side outside 64 to 32,768 px. The message begins with the path.
    """
    try:
        return checked_pixels(_grey(_decoded(_bytes_of(path))))
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from error
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def _bytes_of(path: Path) -> bytes:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("is a directory, not an image")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("is not a regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise ImageError(
            f"is {status.st_size / 2**20:.0f} MiB, at most {MAX_FILE_BYTES // 2**20} MiB are read"
        )
    return path.read_bytes()


def _decoded(data: bytes) -> MatLike:
    if not data.startswith(_KNOWN_BEGINNINGS):
        raise ImageError("is not a PNG, TIFF, JPEG or BMP image")
    _check_png_size(data)
    level = cv2.utils.logging.getLogLevel()
    # Each vendor's own TIFF tags would be a warning on standard error.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        image: MatLike | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"cannot be decoded: {error.err or error}") from error
    finally:
        cv2.utils.logging.setLogLevel(level)
    if image is None:
        raise ImageError("is a damaged or unsupported image")
    return image


def _check_png_size(data: bytes) -> None:
    """Refuse a small file that claims to be a huge picture before memory is taken for it."""
    if data.startswith(_PNG):
        columns, rows = (int.from_bytes(data[start : start + 4], "big") for start in (16, 20))
        if max(columns, rows) > MAX_SIDE_PX:
            raise ImageError(f"each side of an image must be at most {MAX_SIDE_PX} px, got {(rows, columns)}")


def _grey(image: MatLike) -> MatLike:
    if image.ndim == 2:
        return image
    conversions = {3: cv2.COLOR_BGR2GRAY, 4: cv2.COLOR_BGRA2GRAY}
    channels = image.shape[2]
    if channels not in conversions or image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"an image must be grey or colour of 8 or 16 bit, got {channels} x {image.dtype}")
    return cv2.cvtColor(image, conversions[channels])
