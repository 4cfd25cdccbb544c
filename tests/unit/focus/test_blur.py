"""The theory of blur against spectra made from it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from focusd.focus.blur import SpotShape, noise_free, relative_blur, transfer_power, transfer_rows
from focusd.focus.spectrum import radial_spectrum
from tests.unit.focus.optics import blurred, exposed, measured, texture


@pytest.mark.parametrize("shape", SpotShape)
def test_every_spot_begins_with_its_second_moment(shape: SpotShape) -> None:
    """For small x the power passed is 1 - x**2 whatever the shape."""
    x = np.array([0.0, 0.05, 0.1])

    # The smear of the radii widens the disk by a hundredth, and the table has steps of 0.005.
    assert transfer_power(x, shape) == pytest.approx(1.0 - x**2, abs=5e-4)


@pytest.mark.parametrize("shape", SpotShape)
def test_power_passed_is_never_nothing(shape: SpotShape) -> None:
    """Far out the transfer is small but positive, so its logarithm exists."""
    power = transfer_power(np.linspace(0.0, 500.0, 2000), shape)

    assert power.min() > 0.0
    assert power.max() == 1.0


@pytest.mark.parametrize("shape", SpotShape)
def test_the_table_of_rows_agrees_with_the_curve(shape: SpotShape) -> None:
    """Looking a radius up gives what the curve gives, near focus and far from it."""
    frequency = np.geomspace(0.003, 0.49, 20)
    radius = np.array([0.0, 0.3, 2.0, 17.0, 80.0])

    looked_up = transfer_rows(frequency, shape).at(radius)

    assert looked_up == pytest.approx(transfer_power(math.pi * np.outer(radius, frequency), shape), abs=0.015)


@pytest.mark.parametrize(("one", "other"), [(3.0, 0.0), (0.0, 3.0), (6.0, 4.0), (12.0, 6.0)])
def test_relative_blur_of_made_spectra(one: float, other: float) -> None:
    """The slope of the log ratio gives the difference of the squared radii within its error and 15 %."""
    rng = np.random.default_rng(3)
    spectra = [measured(radius, noise=20.0, rng=rng).spectrum for radius in (one, other)]

    blur = relative_blur(*spectra)

    expected = one**2 - other**2
    assert abs(blur.value_px2 - expected) < 3.0 * blur.standard_error_px2 + 0.15 * abs(expected)


def test_relative_blur_of_pictures() -> None:
    """From noisy 8-bit pictures too, and independent of what is in them."""
    rng = np.random.default_rng(1)
    for kind in ("cells", "powder", "particles"):
        image = texture(kind)
        sharp, soft = (radial_spectrum(exposed(blurred(image, radius), 50.0, rng)) for radius in (2.0, 5.0))

        assert relative_blur(soft, sharp).value_px2 == pytest.approx(21.0, rel=0.3)


def test_relative_blur_with_free_gain_ignores_contrast() -> None:
    """With the gain free, a change of contrast alone is no blur; else it is taken for some."""
    dim = measured(3.0, noise=20.0).spectrum
    bright = replace(dim, power=dim.power * 1.09, corner_power=dim.corner_power * 1.09)

    assert abs(relative_blur(dim, bright, free_gain=True).value_px2) < 0.1
    assert relative_blur(dim, bright).value_px2 > 0.3


def test_noise_alone_tells_nothing() -> None:
    """Two frames of nothing but noise have an infinite error."""
    rng = np.random.default_rng(2)
    frames = [measured(400.0, noise=1e5, rng=rng).spectrum for _ in range(2)]

    assert relative_blur(*frames).standard_error_px2 == math.inf


def test_each_dwell_time_has_its_floor() -> None:
    """A long dwell's lower noise is not taken off the short dwell's frames, nor the other way round."""
    short, long = measured(1.0, noise=400.0).spectrum, measured(1.0, noise=40.0).spectrum

    together = noise_free([short, long])
    apart = noise_free([replace(short, dwell_time_us=1.0), replace(long, dwell_time_us=10.0)])

    assert together.floor[:, 0] == pytest.approx([44.0, 40.0])
    assert apart.floor[:, 0] == pytest.approx([400.0, 40.0])


def test_a_longer_dwell_is_never_the_noisier() -> None:
    """What stands in the corners above a shorter frame's noise is picture, whatever the dwell."""
    short, long = measured(1.0, noise=40.0).spectrum, measured(1.0, noise=400.0).spectrum

    floors = noise_free([replace(short, dwell_time_us=1.0), replace(long, dwell_time_us=4.0)]).floor

    assert floors[:, 0] == pytest.approx([40.0, 44.0])


def test_spectra_of_different_shapes_are_refused() -> None:
    """Ring by ring needs the same rings."""
    small, large = (radial_spectrum(np.zeros((side, side), np.uint8)) for side in (64, 128))

    with pytest.raises(ValueError, match="different shapes"):
        noise_free([small, large])
