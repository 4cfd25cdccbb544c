"""Periodic random fields: the raw material of the textures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft


def smooth_field(rng: np.random.Generator, side: int, size_px: float) -> NDArray[np.float32]:
    """A Gaussian field that changes over ``size_px``: mean 0, standard deviation 1, edges that fit."""
    fy = np.fft.fftfreq(side).astype(np.float32)
    fx = np.fft.rfftfreq(side).astype(np.float32)
    factor = np.float32(-2.0 * (np.pi * size_px) ** 2)
    spectrum = fft.rfft2(rng.standard_normal((side, side), dtype=np.float32))
    spectrum *= np.outer(np.exp(factor * fy**2), np.exp(factor * fx**2))
    spectrum[0, 0] = 0.0
    values: NDArray[np.float32] = fft.irfft2(spectrum, s=(side, side))
    values /= values.std()
    return values
