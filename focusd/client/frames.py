"""Frames as they are sent: bare pixels of an array, or an image file as it is."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from focusd.client.failures import FrameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FrameLike: TypeAlias = "NDArray[Any] | bytes | bytearray | memoryview[Any] | str | os.PathLike[str]"
"""Pixels as a 2-D array of 8 or 16 bit, an image file, its bytes, or bare pixels with their shape."""

RAW = "application/octet-stream"
_FILE_TYPES = (
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"BM", "image/bmp"),
)
_DTYPES = {"B": "uint8", "H": "uint16"}
_ITEM_BYTES = {"uint8": 1, "uint16": 2}


class Conditions(TypedDict, total=False):
    """What a script may know of a frame; what it leaves out is taken from the file's header, if any."""

    working_distance_mm: float | None
    pixel_size_nm: float | None
    dwell_time_us: float | None
    accelerating_voltage_kv: float | None
    detector: str | None
    label: str | None
    acquired_at: float | None
    x_mm: float | None
    y_mm: float | None
    z_mm: float | None
    rotation_deg: float | None
    tilt_deg: float | None


@dataclass(frozen=True, slots=True)
class FrameContent:
    """A frame ready to be sent; ``said`` describes bare pixels."""

    data: memoryview
    content_type: str
    said: dict[str, str]


def read_frame(frame: FrameLike, shape: tuple[int, int] | None, dtype: str) -> FrameContent:
    """Make a frame ready to be sent; reads the file if it is one.

    Args:
        frame: See ``FrameLike``.
        shape: Rows and columns of bare pixels in ``bytes``.
        dtype: Theirs, ``uint8`` or ``uint16`` (little-endian).

    Raises:
        FrameError: it is no frame.
        OSError: the file cannot be read.
    """
    if isinstance(frame, str | os.PathLike):
        return _file(memoryview(Path(frame).read_bytes()), f"{os.fspath(frame)} is")
    try:
        view = memoryview(frame)  # type: ignore[arg-type]  # numpy declares its buffers from Python 3.12 on
    except (TypeError, ValueError) as error:
        raise FrameError(f"a frame is an array, bytes or a path, not {type(frame).__name__}") from error
    if shape is not None:
        return _bare(view, shape, dtype)
    if view.ndim == 1 and view.itemsize == 1:
        return _file(view.cast("B"), "bytes without a shape are")
    return _array(view)


def _file(data: memoryview, what: str) -> FrameContent:
    start = bytes(data[:8])
    content_type = next((kind for magic, kind in _FILE_TYPES if start.startswith(magic)), None)
    if content_type is None:
        raise FrameError(f"{what} no TIFF, PNG, JPEG or BMP image")
    return FrameContent(data, content_type, {})


def _bare(view: memoryview, shape: tuple[int, int], dtype: str) -> FrameContent:
    rows, columns = shape
    expected = rows * columns * _ITEM_BYTES.get(dtype, 0)
    if min(rows, columns) < 1 or view.nbytes != expected:
        raise FrameError(f"{rows} x {columns} pixels of {dtype!r} do not make {view.nbytes} bytes")
    return FrameContent(_flat(view), RAW, {"shape": f"{rows},{columns}", "dtype": dtype})


def _array(view: memoryview) -> FrameContent:
    order, code = view.format[:-1], view.format[-1:]
    dtype = _DTYPES.get(code)
    if dtype is None or order not in {"", "@", "=", "<", ">"} or view.ndim != 2:
        message = f"a frame has 2 dimensions of uint8 or uint16, not {view.ndim} of format {view.format!r}"
        raise FrameError(message)
    rows, columns = view.shape or (0, 0)
    data = _flat(view)
    is_big_endian = order == ">" or (order in {"", "@", "="} and sys.byteorder == "big")
    if code == "H" and is_big_endian:
        swapped = bytearray(len(data))
        swapped[0::2], swapped[1::2] = data[1::2], data[0::2]
        data = memoryview(swapped)
    return FrameContent(data, RAW, {"shape": f"{rows},{columns}", "dtype": dtype})


def _flat(view: memoryview) -> memoryview:
    """The bytes in row order; copied only if they do not lie so, or Python cannot recast their format."""
    is_native = len(view.format.removeprefix("@")) == 1
    return view.cast("B") if view.c_contiguous and is_native else memoryview(view.tobytes())


def read_conditions(conditions: Conditions) -> dict[str, str]:
    """Give what is known of a frame as a query.

    Raises:
        FrameError: a name that focusd does not know, or a number that is none.
    """
    unknown = conditions.keys() - Conditions.__annotations__.keys()
    if unknown:
        raise FrameError(f"focusd knows no {', '.join(sorted(unknown))} of a frame")
    said: dict[str, str] = {}
    for name, value in conditions.items():
        if isinstance(value, str):
            said[name] = value
        elif value is not None:
            try:
                # Numbers of numpy have a ``repr`` of their own, which nobody else reads.
                said[name] = repr(float(value))  # type: ignore[arg-type]  # a TypedDict's items are objects
            except (TypeError, ValueError) as error:
                raise FrameError(f"{name} must be a number, got {value!r}") from error
    return said
