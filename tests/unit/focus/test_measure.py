"""One call reads everything off a frame."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.errors import ImageError
from focusd.focus import laplacian, spectrum
from focusd.focus.classics import Mask
from focusd.focus.laplacian import laplacian_variance
from focusd.focus.measure import measure
from focusd.focus.metrics import METRICS
from focusd.frame import Pixels, ScanRegion
from tests.unit.focus.memory import peak_bytes
from tests.unit.focus.optics import blurred, exposed, texture


def test_all_is_read_off_one_frame() -> None:
    """The named scores, the published score, the quality and the spectrum come together."""
    pixels = exposed(texture("cells"), 20.0, np.random.default_rng(0))[:200]

    found = measure(pixels, ["log_energy", "band_ratio"])

    assert found.shape == (200, 256)
    assert set(found.scores) == {"log_energy", "band_ratio", "laplacian_variance"}
    assert found.laplacian_variance == laplacian_variance(pixels) == found.scores["laplacian_variance"].value
    assert found.quality.judgeable
    assert found.scores["log_energy"] == METRICS["log_energy"].score(pixels, found.spectrum)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_memory_taken_does_not_grow_with_the_frame(dtype: type[np.unsignedinteger[Any]]) -> None:
    """What the monitor asks of a frame takes a few MiB beside it, also of clipped, empty and large frames."""
    small, large = (np.zeros((side, side), dtype) for side in (1024, 4096))
    small[::3, ::5] = large[::3, ::5] = np.iinfo(dtype).max

    peaks = []
    for pixels in (small, large):
        laplacian._SPARE.clear()
        spectrum._plan.cache_clear()
        peaks.append(peak_bytes(partial(measure, pixels, ["log_energy", "band_ratio"])))

    assert peaks[1] < peaks[0] + 2**20
    assert peaks[1] < 10 * 2**20


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


def half_empty(rng: np.random.Generator) -> tuple[Pixels, Pixels, Mask]:
    """Give a frame, the same with an empty left part of another brightness, and a mask of the right part."""
    frame = exposed(blurred(texture("cells"), 1.0), 50.0, rng)
    spoilt = frame.copy()
    spoilt[:, :90] = exposed(np.full((256, 90), 40.0), 50.0, rng)
    mask = np.ones(frame.shape, np.bool_)
    mask[:, :90] = False
    return frame, spoilt, mask


@pytest.mark.parametrize("high_pass_px", [None, 6.0])
def test_pixels_that_a_mask_leaves_out_change_nothing(high_pass_px: float | None) -> None:
    """Whatever stands in an empty border, scores and quality are the same; the filter may see its rim."""
    frame, spoilt, mask = half_empty(np.random.default_rng(1))

    one, other = (
        measure(pixels, METRICS, mask=mask, high_pass_px=high_pass_px) for pixels in (frame, spoilt)
    )

    if high_pass_px is None:
        assert one.scores == other.scores
    else:
        assert one.laplacian_variance == pytest.approx(other.laplacian_variance, rel=0.02)
    assert one.quality == other.quality


@pytest.mark.parametrize("name", METRICS)
def test_a_masked_frame_scores_as_what_is_left_of_it(name: str) -> None:
    """A mask that leaves a rectangle scores as that rectangle does, within noise and the window's shape."""
    frame, spoilt, mask = half_empty(np.random.default_rng(2))

    masked = measure(spoilt, [name], mask=mask).scores[name]
    cut = measure(frame, [name], region=ScanRegion(90, 0, 166, 256)).scores[name]

    assert masked.value == pytest.approx(cut.value, rel=0.15)


@given(st.integers(64, 200), st.integers(64, 200), st.integers(0, 56), st.integers(0, 56), st.booleans())
@settings(max_examples=15, deadline=None)
def test_a_region_is_its_own_frame(width: int, height: int, x: int, y: int, deep: bool) -> None:
    """A region of 8 or 16 bits measures as the same pixels by themselves."""
    grey = exposed(texture("powder"), 20.0, np.random.default_rng(3))
    frame = grey.astype(np.uint16) if deep else grey
    part = frame[y : y + height, x : x + width]

    found = measure(frame, METRICS, region=ScanRegion(x, y, width, height))

    assert found.shape == (height, width)
    assert found.scores == measure(part, METRICS).scores


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_a_mask_of_everything_is_no_mask(seed: int) -> None:
    """To count every pixel is the plain measurement, to the last digit."""
    frame = exposed(texture("cells"), 20.0, np.random.default_rng(seed))[:100]

    masked = measure(frame, METRICS, mask=np.ones(frame.shape, np.bool_))

    assert masked.scores == measure(frame, METRICS).scores


def test_the_high_pass_takes_shading_out_of_the_variance() -> None:
    """Brightness that changes slowly over the field no longer counts; fine detail hardly changes."""
    frame = exposed(texture("cells"), 50.0, np.random.default_rng(4))
    ramp = np.linspace(0.0, 60.0, 256)[np.newaxis]
    shaded = np.clip(frame * 0.5 + ramp, 0, 255).astype(np.uint8)
    even = np.clip(frame * 0.5 + 30.0, 0, 255).astype(np.uint8)

    plain = [measure(pixels, ["normalized_variance"]).scores for pixels in (shaded, even)]
    passed = [measure(pixels, ["normalized_variance"], high_pass_px=8.0).scores for pixels in (shaded, even)]

    assert plain[0]["normalized_variance"].value > 1.3 * plain[1]["normalized_variance"].value
    assert passed[0]["normalized_variance"].value == pytest.approx(
        passed[1]["normalized_variance"].value, rel=0.05
    )
    assert passed[1]["laplacian_variance"].value == pytest.approx(
        plain[1]["laplacian_variance"].value, rel=0.1
    )


EMPTY_MASK, SMALL_MASK = np.zeros((128, 128), np.bool_), np.zeros((128, 128), np.bool_)
SMALL_MASK[:30, :30] = True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"region": ScanRegion(100, 0, 64, 64)}, "region must lie inside"),
        ({"region": ScanRegion(-1, 0, 64, 64)}, "region must lie inside"),
        ({"region": ScanRegion(0, 0, 63, 64)}, "between 64"),
        ({"mask": EMPTY_MASK[:, 1:]}, "mask must be bool"),
        ({"mask": EMPTY_MASK.astype(np.uint8)}, "mask must be bool"),
        ({"mask": EMPTY_MASK}, "no pixel counts"),
        ({"mask": SMALL_MASK}, "too few pixels"),
        ({"high_pass_px": 0.0}, "high_pass_px"),
        ({"high_pass_px": 33.0}, "high_pass_px"),
        ({"high_pass_px": float("nan")}, "high_pass_px"),
    ],
)
def test_what_does_not_fit_the_frame_is_refused(arguments: dict[str, Any], message: str) -> None:
    """Region, mask and filter are checked before anything is scored."""
    frame = exposed(texture("cells"), 20.0, np.random.default_rng(0))[:128, :128]

    with pytest.raises((ImageError, ValueError), match=message):
        measure(frame, ["log_energy"], **arguments)
