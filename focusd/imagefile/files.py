"""Images in files."""

from __future__ import annotations

import stat
from pathlib import Path

from focusd.errors import ImageError
from focusd.frame import Pixels
from focusd.imagefile.claim import MAX_DECODED_BYTES
from focusd.imagefile.decode import DecodedImage, decode_image

MAX_FILE_BYTES = 512 * 2**20


def read_image_file(path: Path, *, max_decoded_bytes: int = MAX_DECODED_BYTES) -> DecodedImage:
    """Read a PNG, TIFF, JPEG or BMP file with what it tells of how it was taken.

    Args:
        path: The file; at most 512 MiB.
        max_decoded_bytes: As for ``decode_image``.

    Raises:
        ImageError: the file is missing or unreadable, or for a reason of ``decode_image``. The message
            begins with the path.
    """
    try:
        return decode_image(_bytes_of(path), max_decoded_bytes=max_decoded_bytes)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from error
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def read_image(path: Path) -> Pixels:
    """Read the grey levels of an image file; as ``read_image_file``, without the rest."""
    return read_image_file(path).pixels


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
