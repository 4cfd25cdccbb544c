"""The radial spectrum measures power as it is, and the scores read off it are free of noise."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from focusd.errors import ImageError
from focusd.focus.spectrum import log_energy, radial_spectrum, signal_to_noise
from focusd.frame import Pixels
from tests.unit.focus.optics import blurred, exposed, texture


def noise(shape: tuple[int, int], deviation: float, seed: int) -> Pixels:
    """White noise round mid grey."""
    rng = np.random.default_rng(seed)
    return np.clip(np.rint(128.0 + deviation * rng.standard_normal(shape)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(64, 64), (64, 500), (129, 97), (512, 512), (700, 1100)])
def test_white_noise_has_its_variance_in_every_ring(shape: tuple[int, int]) -> None:
    """The power of white noise is its variance at every frequency, in patches of every shape."""
    spectrum = radial_spectrum(noise(shape, 20.0, 1))

    deviations = (spectrum.power / 400.0 - 1.0) * np.sqrt(spectrum.modes)
    assert abs(deviations).max() < 5.0
    assert spectrum.corner_power == pytest.approx(400.0, rel=5.0 / math.sqrt(spectrum.corner_modes))
    assert np.all(np.diff(spectrum.frequency) > 0.0)
    assert spectrum.frequency[-1] <= 0.5


def test_the_number_of_modes_tells_the_scatter() -> None:
    """Over many frames the power of several rings together scatters as the root of their modes says."""
    powers = np.array([radial_spectrum(noise((128, 128), 20.0, seed)).power for seed in range(200)])
    modes = radial_spectrum(noise((128, 128), 20.0, 0)).modes

    together = powers[:, -8:] @ modes[-8:] / modes[-8:].sum()

    assert together.std() / 400.0 * math.sqrt(modes[-8:].sum()) == pytest.approx(1.0, abs=0.2)


def test_a_wave_shows_at_its_frequency() -> None:
    """The ring with the most power is the one that holds a wave's frequency."""
    columns = np.arange(256)
    pixels = np.tile(np.rint(128.0 + 50.0 * np.sin(2.0 * np.pi * 0.11 * columns)), (256, 1)).astype(np.uint8)

    spectrum = radial_spectrum(pixels)

    assert spectrum.frequency[int(np.argmax(spectrum.power))] == pytest.approx(0.11, rel=0.12)


def test_a_large_frame_is_sampled_all_over() -> None:
    """Detail in one corner of a large frame only still shows, at the share of the patches that see it."""
    pixels = np.full((2048, 2048), 128, np.uint8)
    pixels[1024:, 1024:] = noise((1024, 1024), 20.0, 2)

    spectrum = radial_spectrum(pixels)

    assert spectrum.corner_power == pytest.approx(100.0, rel=0.03)


def test_a_small_image_is_refused() -> None:
    """Under 64 px a side the rings hold too little."""
    with pytest.raises(ImageError, match="at least 64 px"):
        radial_spectrum(np.zeros((63, 64), np.uint8))


def test_energy_without_noise_is_the_variance_of_the_laplacian_of_gaussian() -> None:
    """The energy read off the spectrum is that of the filtered image."""
    image = texture("cells").astype(np.float32)
    log = cv2.Laplacian(cv2.GaussianBlur(image, (0, 0), 2.0, borderType=cv2.BORDER_REFLECT_101), cv2.CV_32F)

    energy = log_energy(radial_spectrum(np.rint(image).astype(np.uint8)), 2.0, floor=1.0 / 12.0)

    # The five-point Laplacian is a little weaker than the true one, and the window weighs the field.
    assert energy.value == pytest.approx(float(log.var()), rel=0.15)


@pytest.mark.parametrize("sigma_px", [1.0, 2.0, 4.0, 8.0])
def test_noise_has_no_energy(sigma_px: float) -> None:
    """The energy of pure noise is zero within the standard error it states, frame after frame."""
    scores = [log_energy(radial_spectrum(noise((256, 256), 25.0, seed)), sigma_px) for seed in range(60)]

    deviations = np.array([score.value / score.standard_error for score in scores])

    assert abs(deviations.mean()) < 0.5
    assert 0.6 < deviations.std() < 1.4


def test_the_standard_error_tells_the_scatter_of_scans_of_one_field() -> None:
    """Scans of one field differ by what their standard error says."""
    rng = np.random.default_rng(4)
    image = blurred(texture("cells"), 2.0)

    scores = [log_energy(radial_spectrum(exposed(image, 20.0, rng)), 2.0) for _ in range(60)]

    scatter = float(np.std([score.value for score in scores]))
    assert scatter == pytest.approx(scores[0].standard_error, rel=0.4)


def test_coarse_signal_survives_blur() -> None:
    """Strong defocus leaves a texture's coarse detail clear of noise; an empty field has none."""
    rng = np.random.default_rng(5)
    far = radial_spectrum(exposed(blurred(texture("cells"), 12.0), 20.0, rng))
    empty = radial_spectrum(exposed(np.full((256, 256), 128.0), 20.0, rng))

    assert signal_to_noise(far, 8.0) > 20.0
    assert signal_to_noise(empty) < 5.0


def test_a_constant_image_has_neither_signal_nor_noise() -> None:
    """A frame of one grey level gives zeros, not divisions by zero."""
    spectrum = radial_spectrum(np.full((64, 64), 77, np.uint8))

    assert signal_to_noise(spectrum) == pytest.approx(0.0, abs=1.0)
    assert log_energy(spectrum, 2.0).value == pytest.approx(0.0, abs=1e-6)
