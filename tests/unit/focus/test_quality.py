"""Frames that say nothing of focus are named so; frames merely out of focus never are."""

from __future__ import annotations

import numpy as np
import pytest

from focusd.focus.quality import Quality, assess
from focusd.focus.spectrum import radial_spectrum
from focusd.frame import Pixels
from tests.unit.focus.optics import blurred, exposed, texture


def quality(pixels: Pixels) -> Quality:
    """Assess a frame with its own spectrum."""
    return assess(pixels, radial_spectrum(pixels))


def frame(kind: str = "cells", radius_px: float = 0.0, dose: float = 20.0, seed: int = 0) -> Pixels:
    """One exposure of a texture."""
    return exposed(blurred(texture(kind), radius_px), dose, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("dose", "radius_px"),
    [(200.0, 0.0), (200.0, 16.0), (20.0, 0.0), (20.0, 8.0), (20.0, 16.0), (8.0, 4.0), (8.0, 10.0)],
)
@pytest.mark.parametrize("kind", ["cells", "powder", "particles"])
def test_a_defocused_frame_can_be_judged(kind: str, dose: float, radius_px: float) -> None:
    """Blur is what is to be judged: it is no reason to refuse a frame."""
    assert quality(frame(kind, radius_px, dose)).reason is None


@pytest.mark.parametrize("dose", [200.0, 20.0, 3.0])
def test_an_empty_field_has_no_signal(dose: float) -> None:
    """Noise alone is not judged, but a search may still start from it: focus may be far."""
    found = quality(exposed(np.full((256, 256), 120.0), dose, np.random.default_rng(1)))

    assert (found.judgeable, found.reason, found.is_searchable) == (False, "no_signal", True)


@pytest.mark.parametrize("level", [0, 17, 255])
def test_a_constant_frame_is_blank(level: int) -> None:
    """A blanked beam gives one grey level."""
    found = quality(np.full((64, 64), level, np.uint8))

    assert (found.judgeable, found.reason, found.is_searchable) == (False, "blank", False)


def test_a_flickering_converter_is_blank() -> None:
    """Two neighbouring grey levels are the converter's own."""
    pixels = np.random.default_rng(0).integers(40, 42, (128, 128)).astype(np.uint8)

    assert quality(pixels).reason == "blank"


def test_a_frame_clipped_at_white_is_saturated() -> None:
    """With more than a quarter of the pixels at the top, edges are made by clipping."""
    pixels = frame()
    pixels[:90] = 255

    found = quality(pixels)

    assert found.reason == "saturated"
    assert found.saturated_fraction == pytest.approx(90 / 256, abs=0.01)


def test_a_twelve_bit_detector_saturates_at_its_own_top() -> None:
    """A 16-bit image from a 12-bit converter is clipped at 4095."""
    pixels = frame().astype(np.uint16) * 16
    pixels[:, :80] = 4095

    assert quality(pixels).reason == "saturated"


@pytest.mark.parametrize("fill", [0, 60])
@pytest.mark.parametrize("scanned_px", [40_000, 30_000, 128 * 256])
def test_a_scan_that_broke_off_is_half_scanned(scanned_px: int, fill: int) -> None:
    """Rows of one value below an abrupt edge were never scanned, wherever in a row it stopped."""
    pixels = frame()
    pixels.reshape(-1)[scanned_px:] = fill

    assert quality(pixels).reason == "half_scanned"


def test_an_empty_bottom_is_not_half_scanned() -> None:
    """A part of the field clipped to black, which fades into the specimen, is part of the picture."""
    shade = np.clip((200.0 - np.arange(256.0)) / 60.0, 0.0, 1.0)[:, np.newaxis]
    pixels = (frame(dose=200.0) * shade).astype(np.uint8)
    assert not pixels[-40:].any()

    assert quality(pixels).reason is None


def test_a_few_missing_lines_do_no_harm() -> None:
    """Less than a thirty-second of the rows missing does not spoil a frame."""
    pixels = frame()
    pixels[-6:] = 0

    assert quality(pixels).reason is None


def test_the_figures_are_those_of_the_frame() -> None:
    """Mean level, contrast and dark share are what numpy says."""
    pixels = frame(dose=50.0)
    pixels[:10, :50] = 0

    found = quality(pixels)

    assert found.mean_level == pytest.approx(float(pixels.mean()))
    assert found.contrast == pytest.approx(float(pixels.std()) / 255.0)
    assert found.dark_fraction == pytest.approx(float((pixels == 0).mean()))


def test_the_figures_are_those_of_a_large_frame() -> None:
    """A frame that is looked at piece by piece has the figures of the whole; only its own top is clipping."""
    random = np.random.default_rng(2)
    pixels = random.integers(3, 1020, (1024, 1024)).astype(np.uint16)
    pixels[:40, :100] = 0
    pixels[:300] = np.where(pixels[:300] > 900, 1023, pixels[:300])
    pixels[900:905] = 4095

    found = quality(pixels)

    assert found.mean_level == pytest.approx(float(pixels.mean()))
    assert found.contrast == pytest.approx(float(pixels.std()) / 4095.0)
    assert found.dark_fraction == pytest.approx(4000 / pixels.size)
    assert found.saturated_fraction == pytest.approx(5 / 1024)
