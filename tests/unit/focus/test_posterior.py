"""What scans tell of focus: from spectra made by theory, and from a real through-focus triple."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from focusd.focus.posterior import FocusPosterior, FocusPrior, Observation, focus_posterior
from focusd.focus.spectrum import RadialSpectrum, radial_spectrum
from tests.unit.focus.optics import DEPTH_MM, DEPTH_UM, measured

PRIOR = FocusPrior(0.0, -0.18, 0.18, DEPTH_UM)
DATA = Path(os.environ.get("FOCUSD_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
STATED_UM = 13.324


def seen_from(
    *places: float, focus: float = 0.0, gains: tuple[float, ...] = (), seed: int = 0
) -> FocusPosterior:
    """Infer focus from scans at places in depths of field; gains multiply the grey levels."""
    rng = np.random.default_rng(seed)
    scans = []
    for k, place in enumerate(places):
        spectrum = measured(abs(place - focus), noise=40.0, rng=rng).spectrum
        power = gains[k] ** 2 if gains else 1.0
        spectrum = replace(spectrum, power=spectrum.power * power, corner_power=spectrum.corner_power * power)
        scans.append(Observation(place * DEPTH_MM, spectrum))
    return focus_posterior(scans, PRIOR)


@pytest.mark.parametrize("focus", [-5.0, -2.0, 0.5, 3.0, 8.0])
def test_three_scans_find_focus(focus: float) -> None:
    """Two scans near the start and one near focus give it within a third of a depth of field."""
    posterior = seen_from(0.0, 6.0, focus + 0.5, focus=focus)

    assert posterior.mean_mm / DEPTH_MM == pytest.approx(focus, abs=0.35)
    assert posterior.sd_mm < 0.7 * DEPTH_MM


@pytest.mark.parametrize("focus", [-12.0, -4.0, 5.0, 12.0])
def test_two_scans_tell_the_side_and_roughly_how_far(focus: float) -> None:
    """The side is certain and the distance right within a third: so well is the depth of field known."""
    posterior = seen_from(0.0, 6.0, focus=focus)

    assert posterior.probability_beyond(3.0 * DEPTH_MM, above=focus > 3.0) > 0.5
    assert posterior.mean_mm / DEPTH_MM == pytest.approx(focus, abs=1.0 + 0.33 * abs(focus))


def test_the_depth_of_field_is_learnt_on_the_way() -> None:
    """Told a depth of field a third too large, three scans around focus correct it."""
    scans = [
        Observation(place * DEPTH_MM, measured(abs(place)).spectrum) for place in (-7.0, -4.0, 0.3, 5.0, 8.0)
    ]

    posterior = focus_posterior(scans, replace(PRIOR, depth_of_field_um=1.3 * DEPTH_UM))

    assert posterior.depth_of_field_um == pytest.approx(DEPTH_UM, rel=0.1)
    assert posterior.depth_log_sd < 0.1


def test_unequal_gain_does_not_move_focus() -> None:
    """Brightness that wanders by 3 % between scans moves the answer by less than half a depth of field."""
    steady, wandering = (seen_from(-6.0, 5.0, 1.0, gains=gains) for gains in ((), (1.03, 0.97, 1.0)))

    assert wandering.mean_mm / DEPTH_MM == pytest.approx(steady.mean_mm / DEPTH_MM, abs=0.5)


def test_scans_of_different_dwell_go_together() -> None:
    """A scan of ten times the dwell, with a tenth of the noise, is no sharper for it."""
    rng = np.random.default_rng(5)
    noise_of = {1.0: 400.0, 10.0: 40.0}
    scans = []
    for place, dwell in ((-6.0, 1.0), (5.0, 10.0), (0.5, 10.0)):
        spectrum = measured(abs(place), noise=noise_of[dwell], rng=rng).spectrum
        scans.append(Observation(place * DEPTH_MM, replace(spectrum, dwell_time_us=dwell)))

    assert focus_posterior(scans, PRIOR).mean_mm / DEPTH_MM == pytest.approx(0.0, abs=0.5)


def test_noise_leaves_the_prior() -> None:
    """Scans of nothing leave focus as uncertain as it was."""
    rng = np.random.default_rng(4)
    scans = [Observation(k * 6.0 * DEPTH_MM, measured(400.0, noise=1e5, rng=rng).spectrum) for k in range(4)]

    posterior = focus_posterior(scans, PRIOR)

    assert posterior.sd_mm > 10.0 * DEPTH_MM
    assert posterior.depth_log_sd > 0.2


def test_probabilities_fit_together() -> None:
    """They sum to one, opposite questions to each other's rest, and grow with what they ask."""
    posterior = seen_from(0.0, 6.0, 2.5, focus=2.0)

    assert posterior.joint.sum() == pytest.approx(1.0)
    nearer = posterior.probability_nearer(2.0 * DEPTH_MM, 0.0)
    assert nearer + posterior.probability_nearer(0.0, 2.0 * DEPTH_MM) == pytest.approx(1.0, abs=0.02)
    assert nearer > 0.8
    assert posterior.probability_off(0.0, 0.5) >= posterior.probability_off(0.0, 3.0)


def test_no_scan_is_refused() -> None:
    """A posterior of nothing would be the prior by another name."""
    with pytest.raises(ValueError, match="at least one"):
        focus_posterior([], PRIOR)


@pytest.fixture(scope="module")
def triple() -> dict[float, RadialSpectrum]:
    """Spectra of one real field at three working distances, in um from the middle one."""
    if not DATA.is_dir():
        pytest.skip("the shared real images are not here")
    spectra = {}
    for offset_um, suffix in ((-5.0, "_minus5um"), (0.0, ""), (5.0, "_plus5um")):
        pixels = cv2.imread(str(DATA / f"neuropil_wd_error_-13.324um{suffix}.png"), cv2.IMREAD_GRAYSCALE)
        spectra[offset_um] = radial_spectrum(np.asarray(pixels, np.uint8))
    return spectra


@pytest.mark.parametrize("depth_of_field_um", [1.0, 1.25, 1.5])
@pytest.mark.parametrize(
    ("offsets_um", "within_um"), [((-5.0, 0.0, 5.0), 0.6), ((-5.0, 5.0), 2.0), ((0.0, 5.0), 2.0)]
)
def test_real_frames_tell_where_focus_was(
    triple: dict[float, RadialSpectrum],
    offsets_um: tuple[float, ...],
    within_um: float,
    depth_of_field_um: float,
) -> None:
    """All on one side, 8 to 18 um from a focus that was 13.3 um from the middle one, they point at it."""
    scans = [Observation(offset_um / 1000.0, triple[offset_um]) for offset_um in offsets_um]

    posterior = focus_posterior(scans, FocusPrior(0.0, -0.1, 0.1, depth_of_field_um))

    assert 1000.0 * posterior.mean_mm == pytest.approx(STATED_UM, abs=within_um)
