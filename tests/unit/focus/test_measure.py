"""One call reads everything off a frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from focusd.errors import ImageError
from focusd.focus.laplacian import laplacian_variance
from focusd.focus.measure import measure
from focusd.focus.metrics import METRICS
from tests.unit.focus.optics import exposed, texture


def test_all_is_read_off_one_frame() -> None:
    """The named scores, the published score, the quality and the spectrum come together."""
    pixels = exposed(texture("cells"), 20.0, np.random.default_rng(0))[:200]

    found = measure(pixels, ["log_energy", "band_ratio"])

    assert found.shape == (200, 256)
    assert set(found.scores) == {"log_energy", "band_ratio", "laplacian_variance"}
    assert found.laplacian_variance == laplacian_variance(pixels) == found.scores["laplacian_variance"].value
    assert found.quality.judgeable
    assert found.scores["log_energy"] == METRICS["log_energy"].score(pixels, found.spectrum)


def test_other_layouts_are_taken_too() -> None:
    """A big-endian, strided view measures as its plain copy does."""
    pixels = exposed(texture("cells"), 20.0, np.random.default_rng(0)).astype(">u2")[::-1, ::2]

    found = measure(pixels, METRICS)

    assert found.scores == measure(np.ascontiguousarray(pixels.astype(np.uint16)), METRICS).scores


def test_what_is_no_image_is_refused() -> None:
    """Floats are no grey levels."""
    floats: Any = np.zeros((64, 64), np.float32)

    with pytest.raises(ImageError):
        measure(floats, ["log_energy"])


def test_an_unknown_metric_is_refused() -> None:
    """A misspelt metric is an error, not a missing score."""
    with pytest.raises(ValueError, match="unknown metric"):
        measure(np.zeros((64, 64), np.uint8), ["sharpness"])
