"""Where real SEM images lie on a machine that has them: never a part of the project, and not needed by it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REAL_IMAGES = Path(os.environ.get("FOCUSD_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
needs_real_images = pytest.mark.skipif(not REAL_IMAGES.is_dir(), reason="no real SEM images on this machine")


def real_image_files() -> list[Path]:
    """Give every image there is; none where the folder is missing."""
    return sorted(path for path in REAL_IMAGES.glob("*") if path.suffix in {".png", ".tif", ".tiff"})
