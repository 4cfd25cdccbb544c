"""Bare pixels, as a script sends them: shape and type are told beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from focusd.errors import ImageError
from focusd.frame import MAX_SIDE_PX, MIN_SIDE_PX, Pixels, checked_pixels
from focusd.imagefile.claim import Data

RAW_DTYPES = {"uint8": "|u1", "uint16": "<u2", "|u1": "|u1", "<u2": "<u2", ">u2": ">u2"}
"""What may be said of the pixels, as numpy names types; ``uint16`` is little-endian."""

_SHAPE = re.compile(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class RawFormat:
    """Shape and type of bare pixels, checked: ``nbytes`` is known before a byte has been read."""

    rows: int
    columns: int
    dtype: str

    def __post_init__(self) -> None:
        if not all(MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in (self.rows, self.columns)):
            raise ImageError(
                f"shape: rows and columns must each be between {MIN_SIDE_PX} and {MAX_SIDE_PX} px, "
                f"got {self.rows},{self.columns}"
            )
        if self.dtype not in RAW_DTYPES:
            allowed = ", ".join(RAW_DTYPES)
            raise ImageError(f"dtype: must be one of {allowed}; got {self.dtype[:40]!r}")

    @property
    def nbytes(self) -> int:
        """Bytes that such an image has."""
        return self.rows * self.columns * np.dtype(RAW_DTYPES[self.dtype]).itemsize

    @property
    def is_native(self) -> bool:
        """Whether the pixels are used as they come; otherwise their bytes are swapped into a copy."""
        return np.dtype(RAW_DTYPES[self.dtype]).isnative


def raw_format(shape: str, dtype: str) -> RawFormat:
    """Read what a client says of its pixels.

    Args:
        shape: ``"rows,columns"``, e.g. ``"1024,1536"``.
        dtype: ``uint8``, ``uint16`` (little-endian), or numpy's ``|u1``, ``<u2``, ``>u2``.

    Raises:
        ImageError: not of that form, or a side outside 64 to 32,768 px. The message begins with ``shape``
            or ``dtype`` and names what is allowed.
    """
    match = _SHAPE.fullmatch(shape)
    if match is None:
        raise ImageError(f'shape: must be two whole numbers "rows,columns", got {shape[:40]!r}')
    return RawFormat(int(match[1]), int(match[2]), dtype.strip())


def raw_image(data: Data, shape: tuple[int, int], dtype: str) -> Pixels:
    """View bare pixels, row by row from the top left, as an image.

    Nothing is copied but big-endian pixels: ``data`` must not be written to afterwards.

    Args:
        data: Exactly rows x columns pixels.
        shape: Rows and columns, each 64 to 32,768.
        dtype: One of ``RAW_DTYPES``.

    Returns:
        Shape ``shape``, uint8 or uint16 in native byte order, read-only.

    Raises:
        ImageError: shape, type or number of bytes is wrong; the message begins with ``shape``, ``dtype`` or
            ``body``.
    """
    described = RawFormat(*shape, dtype)
    nbytes = memoryview(data).nbytes
    if nbytes != described.nbytes:
        raise ImageError(
            f"body: {shape[0]} x {shape[1]} pixels of {dtype} are {described.nbytes} bytes, got {nbytes}"
        )
    return checked_pixels(np.frombuffer(data, RAW_DTYPES[dtype]).reshape(shape))
