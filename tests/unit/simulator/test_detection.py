"""Counting electrons, amplifying and quantising."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import skew

from focusd.simulator.detection import Amplifier, count_electrons, quantised


@pytest.mark.parametrize("mean", [0.0, 0.4, 3.0, 19.0, 21.0, 60.0, 624.0])
def test_counts_follow_the_poisson_law(mean: float) -> None:
    """Mean and variance are equal and the skewness is one over the root of the mean, whole numbers only."""
    counts = count_electrons(np.full((500, 500), mean, np.float32), np.random.default_rng(5))

    error = 5 * np.sqrt(max(mean, 0.01) / counts.size)
    assert counts.mean() == pytest.approx(mean, abs=error)
    assert counts.var() == pytest.approx(mean, rel=0.02)
    assert counts.min() >= 0
    np.testing.assert_array_equal(counts, np.rint(counts))
    if mean:
        assert skew(counts, axis=None) == pytest.approx(mean**-0.5, abs=0.03)


def test_dark_and_bright_places_of_one_image_are_each_counted_right() -> None:
    """Exact and fast draws meet in one image."""
    expected = np.tile(np.array([2.0, 200.0], np.float32), (300, 150))

    counts = count_electrons(expected, np.random.default_rng(5))

    assert counts[:, ::2].var() == pytest.approx(2.0, rel=0.03)
    assert counts[:, 1::2].var() == pytest.approx(200.0, rel=0.03)


def test_amplifier_maps_signal_to_grey_and_adds_its_noise() -> None:
    """Gain and offset act on the signal; the readout noise has the stated standard deviation."""
    amplifier = Amplifier(gain=2.0, offset_grey=-100.0, readout_noise_grey=3.0)

    out = amplifier.amplified(np.full((300, 300), 90.0, np.float32), np.random.default_rng(1))

    assert out.mean() == pytest.approx(80.0, abs=0.1)
    assert out.std() == pytest.approx(3.0, rel=0.02)


@pytest.mark.parametrize(
    ("bits", "expected"), [(8, [0, 0, 127, 255, 255]), (16, [0, 103, 32639, 65535, 65535])]
)
def test_grey_is_rounded_and_clipped_to_the_depth(bits: int, expected: list[int]) -> None:
    """255 grey is the top of 8 and of 16 bits, and nothing wraps round."""
    pixels = quantised(np.array([-5.0, 0.4, 127.0, 255.0, 300.0], np.float32), bits)

    assert pixels.dtype.itemsize * 8 == bits
    assert pixels.tolist() == expected
