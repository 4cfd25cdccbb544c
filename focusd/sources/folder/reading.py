"""From a file to a frame. Runs on the folder's thread."""

from __future__ import annotations

import errno
import os
import stat

from focusd.config import FolderSettings
from focusd.errors import ImageError
from focusd.frame import Frame, FrameFile, ImagingConditions
from focusd.imagefile.decode import DecodedImage, decode_image
from focusd.sources.folder.readiness import Sighting

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}


def read_frame(sighting: Sighting, settings: FolderSettings) -> Frame | None:
    """Read a file, if it still is as it was seen and stays so while it is read.

    Returns:
        The frame; ``None`` if the file has changed or is gone.

    Raises:
        ImageError: it is no image that can be judged, or not all of one.
        OSError: it cannot be read, which may pass.
    """
    max_bytes = settings.max_file_mib * 2**20
    try:
        # A pipe would be waited for, a link would lead elsewhere.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(sighting.path, flags)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        data = _content(stream.fileno(), sighting.file, max_bytes)
    if data is None:
        return None
    return _frame(decode_image(data, max_decoded_bytes=max_bytes), sighting.file, settings)


def _content(descriptor: int, file: FrameFile, max_bytes: int) -> bytearray | None:
    """Read the whole file, unless it is another one by now."""
    if not _is_still(descriptor, file):
        return None
    if file.size_bytes == 0:
        raise ImageError("is empty")
    if file.size_bytes > max_bytes:
        size_mib, max_mib = file.size_bytes / 2**20, max_bytes // 2**20
        raise ImageError(f"is {size_mib:.0f} MiB, at most {max_mib} MiB are read (folder.max_file_mib)")
    data = bytearray(file.size_bytes)
    view, done = memoryview(data), 0
    while done < len(data):
        count = os.readv(descriptor, [view[done:]])
        if count == 0:
            return None
        done += count
    return data if _is_still(descriptor, file) else None


def _is_still(descriptor: int, file: FrameFile) -> bool:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return False
    return (status.st_size, status.st_mtime_ns) == (file.size_bytes, file.mtime_ns)


def _frame(image: DecodedImage, file: FrameFile, settings: FolderSettings) -> Frame:
    """What the file says of itself goes before what the configuration says of all files."""
    said = image.metadata
    rows, columns = image.pixels.shape
    # A time without a zone is of a clock that nobody knows.
    told = said.acquired_at if said.acquired_at is not None and said.acquired_at.tzinfo else None
    return Frame(
        pixels=image.pixels,
        conditions=ImagingConditions(
            rows=rows,
            columns=columns,
            bits_per_pixel=8 * image.pixels.itemsize,
            dwell_time_us=said.dwell_time_us or settings.dwell_time_us,
            pixel_size_nm=said.pixel_size_nm or settings.pixel_size_nm,
            detector=said.detector or settings.detector,
            accelerating_voltage_kv=said.accelerating_voltage_kv or settings.accelerating_voltage_kv,
            label=settings.label,
        ),
        working_distance_mm=said.working_distance_mm,
        acquired_at=told.timestamp() if told is not None else file.mtime_ns / 1e9,
        stage_position=said.stage_position,
        file=file,
    )
