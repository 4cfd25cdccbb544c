"""The radial spectrum measures power as it is, and the scores read off it are free of noise."""

from __future__ import annotations

import math
from itertools import pairwise

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


@pytest.mark.parametrize(("top", "left"), [(0, 0), (512, 1536), (1536, 1536)])
def test_detail_anywhere_in_a_large_frame_counts(top: int, left: int) -> None:
    """Of 2048 x 2048 px every part is seen: detail in a sixteenth of it shows at a sixteenth of its power."""
    pixels = np.full((2048, 2048), 128, np.uint8)
    pixels[top : top + 512, left : left + 512] = noise((512, 512), 20.0, 2)

    spectrum = radial_spectrum(pixels)

    assert spectrum.corner_power == pytest.approx(25.0, rel=0.03)


@pytest.mark.parametrize("shape", [(4096, 4096), (8192, 8192), (3000, 10_000)])
def test_a_quarter_of_a_larger_frame_is_seen(shape: tuple[int, int]) -> None:
    """The number of independent modes tells how many patches of 512 px a large frame was sampled by."""
    patch = radial_spectrum(np.zeros((512, 512), np.uint8))

    spectrum = radial_spectrum(np.broadcast_to(np.uint8(0), shape))

    seen = float(spectrum.modes.sum() / patch.modes.sum()) * 512**2 / (shape[0] * shape[1])
    assert 0.23 < seen < 0.27


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("period_px", [512, 1024, 2048])
def test_a_large_periodic_frame_is_seen_in_all_its_phases(period_px: int, axis: int) -> None:
    """Where half of each period has detail, half of the power shows; a grid in step would see all or none."""
    pixels = np.full((4096, 4096), 128, np.uint8)
    stripe = noise((period_px // 2, 4096), 20.0, 3)
    for top in range(period_px // 4, 4096, period_px):
        pixels[top : top + period_px // 2] = stripe

    spectrum = radial_spectrum(np.ascontiguousarray(np.moveaxis(pixels, 0, axis)))

    assert spectrum.corner_power == pytest.approx(200.0, rel=0.25)


@pytest.mark.parametrize("shape", [(64, 64), (64, 65), (65, 64), (97, 129), (66, 70), (120, 500)])
def test_the_rings_are_those_of_the_whole_frequency_plane(shape: tuple[int, int]) -> None:
    """Each ring's power and modes are what an independent transform of the whole plane gives."""
    rng = np.random.default_rng(3)
    values = rng.normal(120.0, 20.0, shape) + 40.0 * np.sin(np.arange(shape[1]) / 4)
    pixels = np.clip(values, 0, 255).astype(np.uint8)
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in shape))
    mean = float((window * pixels).sum() / window.sum())
    power = np.abs(np.fft.fft2(window * (pixels - mean))) ** 2 / np.square(window).sum()
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(side) for side in shape), indexing="ij"))

    spectrum = radial_spectrum(pixels)

    edges = np.geomspace(1.6 / min(shape), 0.5, 37)
    rings = [(frequency >= low) & (frequency < high) for low, high in pairwise(edges)]
    rings[-1] |= frequency == 0.5
    rings = [ring for ring in rings if ring.any()]
    assert spectrum.power == pytest.approx([power[ring].mean() for ring in rings], rel=1e-4)
    assert spectrum.corner_power == pytest.approx(power[frequency > 0.5].mean(), rel=1e-4)
    shares = np.array([ring.sum() for ring in rings]) / sum(ring.sum() for ring in rings)
    assert spectrum.modes / spectrum.modes.sum() == pytest.approx(shares)


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
