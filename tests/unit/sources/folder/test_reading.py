"""From a file to a frame: what it tells of itself, and what is done when it is not what it was."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tifffile import imwrite

from focusd.config import FolderSettings
from focusd.errors import ImageError
from focusd.frame import Frame, ImagingConditions
from focusd.imagefile.vendors import ZEISS_TAG
from focusd.sources.folder.listing import sighting_of
from focusd.sources.folder.readiness import Sighting
from focusd.sources.folder.reading import read_frame
from tests.unit.imagefile.headers import ZEISS

PIXELS = np.arange(64 * 80, dtype=np.uint16).reshape(64, 80)


def seen(path: Path) -> Sighting:
    """See a file as it is now."""
    return sighting_of(str(path), path.lstat())


def read(path: Path, **settings: object) -> Frame | None:
    """Read a file that has just been seen."""
    return read_frame(seen(path), FolderSettings.model_validate(settings))


def test_a_file_tells_of_itself_before_the_configuration_does(tmp_path: Path) -> None:
    """What the header says counts; only what it does not say is taken from the settings."""
    path = tmp_path / "zeiss.tif"
    imwrite(path, PIXELS, extratags=[(ZEISS_TAG, "s", 0, ZEISS, True)])
    os.utime(path, ns=(0, 1_700_000_000_500_000_000))

    frame = read(path, pixel_size_nm=77.0, dwell_time_us=77.0, detector="none", label="mouse")

    assert frame is not None
    assert (frame.conditions.pixel_size_nm, frame.conditions.dwell_time_us) == (0.5582, 0.1)
    assert (frame.conditions.detector, frame.conditions.label) == ("InLens", "mouse")
    assert (frame.conditions.accelerating_voltage_kv, frame.working_distance_mm) == (1.5, 5.012)
    assert frame.stage_position is not None
    # SmartSEM names no time zone, so the file's own time is taken.
    assert frame.acquired_at == 1_700_000_000.5
    assert frame.file == seen(path).file
    np.testing.assert_array_equal(frame.pixels, PIXELS)


def test_what_nobody_tells_is_not_known(tmp_path: Path) -> None:
    """A bare image and no settings."""
    path = tmp_path / "bare.png"
    assert cv2.imwrite(str(path), PIXELS)

    frame = read(path)

    assert frame is not None
    assert frame.conditions == ImagingConditions(rows=64, columns=80, bits_per_pixel=16)
    assert (frame.working_distance_mm, frame.stage_position) == (None, None)


@pytest.mark.parametrize("change", ["grown", "shorter", "touched", "gone", "replaced", "pipe", "socket"])
def test_a_file_that_is_not_as_it_was_seen_is_not_read(tmp_path: Path, change: str) -> None:
    """A pipe in its place is not waited for."""
    path = tmp_path / "a.tif"
    imwrite(path, PIXELS)
    sighting = seen(path)
    if change in {"grown", "touched"}:
        os.utime(path, ns=(0, 7))
        if change == "grown":
            with path.open("ab") as stream:
                stream.write(b"more")
    elif change == "shorter":
        os.truncate(path, 100)
    else:
        path.unlink()
    if change == "replaced":
        imwrite(path, PIXELS[:, ::2])
    elif change == "pipe":
        os.mkfifo(path)
    elif change == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            with pytest.raises(OSError, match="No such device"):
                read_frame(sighting, FolderSettings())
        return

    assert read_frame(sighting, FolderSettings()) is None


def test_a_link_put_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Not even to a file of the same size and time."""
    path, other = tmp_path / "a.tif", tmp_path / "b.tif"
    imwrite(other, PIXELS)
    sighting = replace(seen(other), path=str(path))
    path.symlink_to(other)

    with pytest.raises(OSError, match="symbolic links"):
        read_frame(sighting, FolderSettings())


def test_too_large_a_file_is_refused_unread(tmp_path: Path) -> None:
    """A sparse file claims a terabyte and has no bytes."""
    path = tmp_path / "a.tif"
    path.touch()
    os.truncate(path, 2**40)

    with pytest.raises(ImageError, match=r"1048576 MiB, at most 1 MiB .*folder\.max_file_mib"):
        read(path, max_file_mib=1)
