"""Periodic images: random fields, filters and stamps from which the textures are made.

Everything wraps round: the right edge continues at the left one and the bottom at the top.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

Image = NDArray[np.float32]
_COARSE_PX = 8.0


def smooth_field(rng: np.random.Generator, side: int, size_px: float) -> Image:
    """A Gaussian field that changes over ``size_px``: mean 0, standard deviation 1.

    A coarse field has no fine waves, so only its coarse ones are drawn.
    """
    drawn = side if size_px < _COARSE_PX else min(side, 2 * (side // 8))
    fy = np.fft.fftfreq(drawn, 1 / drawn).astype(np.float32) / np.float32(side)
    fx = np.fft.rfftfreq(drawn, 1 / drawn).astype(np.float32) / np.float32(side)
    factor = np.float32(-2.0 * (np.pi * size_px) ** 2)
    waves = fft.rfft2(rng.standard_normal((drawn, drawn), dtype=np.float32))
    waves *= np.outer(np.exp(factor * fy**2), np.exp(factor * fx**2))
    waves[0, 0] = 0.0
    spectrum = np.zeros((side, side // 2 + 1), np.complex64)
    half = drawn // 2
    spectrum[:half, : half + 1] = waves[:half]
    spectrum[half - drawn :, : half + 1] = waves[half:]
    values: Image = fft.irfft2(spectrum, s=(side, side))
    values /= values.std()
    return values


def padded(image: Image, margin: int) -> Image:
    """The image with what lies beyond its edges."""
    return cv2.copyMakeBorder(image, margin, margin, margin, margin, cv2.BORDER_WRAP).astype(
        np.float32, copy=False
    )


def softened(image: Image, sigma_px: float) -> Image:
    """Gaussian blur."""
    margin = int(4 * sigma_px) + 2
    blurred = cv2.GaussianBlur(padded(image, margin), (0, 0), sigma_px)
    return blurred[margin:-margin, margin:-margin].astype(np.float32)


def slopes(height: Image) -> tuple[Image, Image]:
    """Rise to the right and rise downwards, per pixel."""
    right = (np.roll(height, -1, 1) - np.roll(height, 1, 1)) * np.float32(0.5)
    down = (np.roll(height, -1, 0) - np.roll(height, 1, 0)) * np.float32(0.5)
    return right, down


class Window:
    """A small square of a periodic image around a place, and each pixel's offset from that place."""

    def __init__(self, side: int, x: float, y: float, reach_px: float) -> None:
        reach = int(np.ceil(reach_px))
        columns = np.arange(int(x) - reach, int(x) + reach + 1)
        rows = np.arange(int(y) - reach, int(y) + reach + 1)
        self.dx = (columns - x).astype(np.float32)[np.newaxis, :]
        self.dy = (rows - y).astype(np.float32)[:, np.newaxis]
        self.index = np.ix_(rows % side, columns % side)


def scattered(side: int, places: NDArray[np.float64], stamp: Image) -> Image:
    """Lay a small odd-sided stamp over every place, rows of (x, y), summing where they overlap."""
    marks = np.zeros((side, side), np.float32)
    columns, rows = places.astype(np.intp).T % side
    np.add.at(marks, (rows, columns), 1.0)
    margin = max(stamp.shape)
    laid = cv2.filter2D(padded(marks, margin), cv2.CV_32F, stamp[::-1, ::-1])
    return laid[margin:-margin, margin:-margin].astype(np.float32)
