"""Every metric rises towards focus; the noise-robust ones do so at low dose."""

from __future__ import annotations

import numpy as np
import pytest

from focusd.focus.metrics import METRICS, metric
from focusd.focus.spectrum import Score, radial_spectrum
from focusd.frame import Pixels
from tests.unit.focus.optics import blurred, exposed, texture

CLASSICS = ["laplacian_variance", "tenengrad", "brenner", "normalized_variance", "vollath_f4"]
TEXTURES = ["cells", "powder", "particles"]


def score(name: str, pixels: Pixels) -> Score:
    """Score one frame."""
    return metric(name).score(pixels, radial_spectrum(pixels))


def through_focus(
    name: str, kind: str, dose: float, radii_px: tuple[float, ...], scans: int = 4
) -> list[float]:
    """Mean score of a few scans at each blur."""
    rng = np.random.default_rng(11)
    image = texture(kind)
    return [
        float(np.mean([score(name, exposed(blurred(image, r), dose, rng)).value for _ in range(scans)]))
        for r in radii_px
    ]


@pytest.mark.parametrize("kind", TEXTURES)
@pytest.mark.parametrize("name", METRICS)
def test_without_noise_every_metric_falls_with_blur(name: str, kind: str) -> None:
    """On a clean picture each metric orders frames by their blur."""
    image = texture(kind)
    values = [
        score(name, np.clip(np.rint(blurred(image, r)), 0, 255).astype(np.uint8)).value
        for r in (0.0, 1.0, 2.0, 4.0)
    ]

    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    ("dose", "radii_px"), [(20.0, (0.0, 2.0, 3.0, 5.0, 8.0)), (5.0, (0.0, 3.0, 5.0, 8.0))]
)
@pytest.mark.parametrize("kind", TEXTURES)
def test_log_energy_falls_with_blur_at_low_dose(kind: str, dose: float, radii_px: tuple[float, ...]) -> None:
    """The search's metric orders frames by their blur at 20 and at 5 electrons a pixel."""
    values = through_focus("log_energy", kind, dose, radii_px)

    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("dose", [50.0, 20.0])
@pytest.mark.parametrize("kind", TEXTURES)
def test_band_ratio_falls_with_blur_and_stays_down(kind: str, dose: float) -> None:
    """The drift metric is under 0.7 of its value in focus from 2.5 depths of field to far out."""
    in_focus, *out = through_focus("band_ratio", kind, dose, (0.0, 2.5, 4.0, 8.0, 16.0, 40.0))

    assert max(out) < 0.7 * in_focus


@pytest.mark.parametrize("kind", TEXTURES)
def test_band_ratio_is_not_taken_in_by_noise_that_is_not_white(kind: str) -> None:
    """Noise an eighth stronger at low frequencies than in the corners is no detail that blur cannot touch."""
    rng = np.random.default_rng(5)
    side_px = 512
    frequency = np.hypot(np.fft.fftfreq(side_px)[:, np.newaxis], np.fft.rfftfreq(side_px))
    rise = np.sqrt(1.0 + 0.3 * np.maximum(0.575 - frequency, 0.0))

    def seen(radius_px: float) -> float:
        white = np.fft.rfft2(rng.standard_normal((side_px, side_px)))
        noise = 28.0 * np.fft.irfft2(white * rise, s=(side_px, side_px))
        faint = 128.0 + (blurred(texture(kind, side_px), radius_px) - 128.0) / 2.0
        frame = np.clip(np.rint(faint + noise), 0, 255)
        return score("band_ratio", frame.astype(np.uint8)).value

    values = [float(np.mean([seen(radius_px) for _ in range(3)])) for radius_px in (0.0, 2.0, 4.0, 8.0)]

    assert values[:3] == sorted(values[:3], reverse=True)
    assert max(values[2:]) < 0.5 * values[0]


def test_band_ratio_does_not_know_contrast() -> None:
    """The same picture at a third of the contrast has the same ratio, where the energy is a ninth."""
    image = blurred(texture("cells"), 0.5)
    faint = 128.0 + (image - 128.0) / 3.0
    rng = np.random.default_rng(2)
    strong, weak = exposed(image, 2000.0, rng), exposed(faint, 2000.0, rng)

    assert score("band_ratio", weak).value == pytest.approx(score("band_ratio", strong).value, rel=0.05)
    assert score("log_energy", weak).value == pytest.approx(score("log_energy", strong).value / 9.0, rel=0.05)


def test_published_score_cannot_tell_focus_at_low_dose() -> None:
    """At 5 electrons a pixel the published score hardly moves through focus: the reason for the others."""
    in_focus, out = through_focus("laplacian_variance", "cells", 5.0, (0.0, 8.0))

    assert in_focus == pytest.approx(out, rel=0.05)


@pytest.mark.parametrize("name", CLASSICS)
def test_the_standard_error_of_noise_is_what_it_says(name: str) -> None:
    """On pure noise the classics scatter as they say."""
    rng = np.random.default_rng(9)
    scores = [
        score(name, np.clip(np.rint(128.0 + 20.0 * rng.standard_normal((96, 96))), 0, 255).astype(np.uint8))
        for _ in range(80)
    ]

    scatter = float(np.std([one.value for one in scores]))

    assert scatter == pytest.approx(scores[0].standard_error, rel=0.35)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_constant_frame_scores_a_finite_number(name: str, level: int) -> None:
    """A blank frame gives neither NaN nor an exception."""
    result = score(name, np.full((64, 80), level, np.uint8))

    assert np.isfinite(result.value)
    assert np.isfinite(result.standard_error)


@pytest.mark.parametrize("name", METRICS)
def test_sixteen_bits_score_as_eight(name: str) -> None:
    """The same grey levels as uint16 score the same."""
    pixels = exposed(blurred(texture("cells"), 1.0), 50.0, np.random.default_rng(3))

    assert score(name, pixels.astype(np.uint16)).value == pytest.approx(score(name, pixels).value, rel=1e-6)


def test_an_unknown_name_lists_the_known() -> None:
    """A misspelt metric is answered with those there are."""
    with pytest.raises(
        ValueError, match="unknown metric 'sharp'; known are log_energy, band_ratio, laplacian"
    ):
        metric("sharp")
