"""From the beam's electrons to grey levels: counting, amplifying, quantising."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from focusd.frame import Pixels

ELECTRONS_PER_PA_US = 6.241509
"""Electrons that one picoampere delivers in one microsecond: 1e-18 C / 1.602177e-19 C."""
MID_GREY = 128.0
_EXACT_BELOW = 20.0


def count_electrons(expected: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw Poisson counts.

    From 20 electrons on, a normal deviate ``z`` is bent to the Poisson law's skewness by the first term of
    the Cornish-Fisher expansion, ``n = m + sqrt(m) z + (z**2 - 1) / 6``: mean, variance and third moment are
    right, and it is several times as fast as drawing exactly. Source: Abramowitz and Stegun, 26.2.49.
    """
    z = rng.standard_normal(expected.shape, dtype=np.float32)
    counts = np.sqrt(expected)
    counts *= z
    counts += expected
    z *= z
    z -= 1.0
    z *= np.float32(1.0 / 6.0)
    counts += z
    np.rint(counts, out=counts)
    few = expected < _EXACT_BELOW
    if few.any():
        counts[few] = rng.poisson(expected[few])
    return counts


@dataclass(frozen=True, slots=True)
class Amplifier:
    """What becomes of the detector's signal, and how noisy that is.

    A mid-grey specimen gives the signal 128 whatever the dose; the amplifier maps a signal to
    ``gain * signal + offset_grey``.
    """

    gain: float = 1.0
    offset_grey: float = 0.0
    readout_noise_grey: float = 0.0

    def amplified(self, signal: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Signal to grey, with the amplifier's own noise."""
        grey = signal * np.float32(self.gain) + np.float32(self.offset_grey)
        if self.readout_noise_grey:
            grey += np.float32(self.readout_noise_grey) * rng.standard_normal(grey.shape, dtype=np.float32)
        return grey


def quantised(grey: NDArray[np.float32], bits: int) -> Pixels:
    """Round to whole levels of an 8 or 16 bit image and clip; 255 grey is the top of either."""
    if bits == 8:
        low: NDArray[np.uint8] = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
        return low
    high: NDArray[np.uint16] = np.clip(np.rint(grey * np.float32(257.0)), 0, 65_535).astype(np.uint16)
    return high
