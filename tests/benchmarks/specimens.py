"""The specimens that focus is looked for on.

All procedural textures of the simulator, resin with a few specks in it, and real pictures where they are at
hand. Real frames are taken with larger pixels than they had, so that neither their own blur nor their own
noise counts as the finest detail of the specimen.
"""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from focusd.simulator import textures
from focusd.simulator.options import SpecimenOptions
from focusd.simulator.specimen import Specimen

SPECKS = "specks"
BLANK_IMAGES = ("resin", SPECKS)
"""Specimens with nothing, or next to nothing, to focus on; they are counted apart from the others."""

_REAL_FRAMES = {
    "real-rough": ("rough_surface.tif", 2),
    "real-neuropil": ("neuropil_wd_error_-13.324um_plus5um.png", 4),
}
"""File, and by how much its pixels are enlarged: the sharpest neuropil frame is itself blurred by 7 px."""
_SPECKS_SHARE = 0.015
_SPECK_SIZE_MM = 5e-4


def data_directory() -> Path:
    """Where real images lie: ``FOCUSD_TEST_DATA``, else ``shared/data`` beside the checkout."""
    given = os.environ.get("FOCUSD_TEST_DATA")
    return Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data"


def image_names() -> tuple[str, ...]:
    """Every specimen that can be had here, the blank ones last."""
    real = [name for name, (file, _) in _REAL_FRAMES.items() if (data_directory() / file).is_file()]
    drawn = [name for name in textures.NAMES if name not in BLANK_IMAGES]
    return (*drawn, *real, *BLANK_IMAGES)


@lru_cache(maxsize=32)
def specimen(name: str) -> Specimen:
    """Make a flat specimen, or give it again.

    Raises:
        ValueError: there is none of that name.
    """
    if name == SPECKS:
        return Specimen(
            SpecimenOptions(texture="gold", blank_fraction=1.0 - _SPECKS_SHARE, patch_size_mm=_SPECK_SIZE_MM)
        )
    if name in _REAL_FRAMES:
        file, larger = _REAL_FRAMES[name]
        return _from_grey(_enlarged_pixels(_read(data_directory() / file), larger))
    return Specimen(SpecimenOptions(texture=name))


def _read(path: Path) -> NDArray[np.uint8]:
    """Read a grey image; not by focusd's reader: some of these files are bitmaps by content."""
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise ValueError(f"{path} is no image")
    return image.astype(np.uint8, copy=False)


def _enlarged_pixels(frame: NDArray[np.uint8], larger: int) -> NDArray[np.uint8]:
    """Average blocks of pixels, take out what noise is left, and stretch the contrast."""
    size = (frame.shape[1] // larger, frame.shape[0] // larger)
    binned = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    quiet = cv2.fastNlMeansDenoising(binned, None, 5.0, 5, 15).astype(np.float32)
    low, high = np.percentile(quiet, (0.3, 99.7))
    stretched = 25.0 + (quiet - low) * (205.0 / (high - low))
    grey: NDArray[np.uint8] = np.clip(np.rint(stretched), 2, 253).astype(np.uint8)
    return grey


def _from_grey(grey: NDArray[np.uint8]) -> Specimen:
    """Make a specimen of a picture; the simulator reads pictures from files only."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "specimen.png"
        cv2.imwrite(str(path), grey)
        return Specimen(SpecimenOptions(image=path))
