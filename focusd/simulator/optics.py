"""What a defocused beam does to an image: two models of the point-spread function.

*Physical.* The beam is a cone of half angle ``a``: at a distance ``dz`` from its focus it covers a disk of
radius ``dz * a``. The focused beam itself is a Gaussian of radius ``r0`` (twice its standard deviation).
A disk of radius R has the variance R**2 / 4 along each axis and a Gaussian of radius r the variance
r**2 / 4, so the two together have exactly the second moment of one beam with ``r = hypot(r0, dz * a)``.
With astigmatism the cone is elliptical and meets in two lines, half their distance before and after the
focus. The model is applied as an optical transfer function, so radii under one pixel are exact. Source of
the disk's transfer function ``2 J1(q) / q``: Goodman, Introduction to Fourier Optics, 1968, section 6-4.

*Seed.* The published reference model: a disk of whole pixels through ``cv2.filter2D``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import j1

from focusd.frame import Pixels
from focusd.simulator.options import PsfShape

_TABLE_STEPS = 1 << 15
SEED_PX_PER_MM = 0.1
"""Blur radius that each millimetre of defocus adds in the reference model."""


@dataclass(frozen=True, slots=True)
class Blur:
    """The beam's footprint, in pixels of the scan."""

    core_px: float
    """Radius of the focused beam."""
    along_px: float
    """Half axis of the defocused cone along ``angle_rad``."""
    across_px: float
    """Half axis at right angles to it."""
    angle_rad: float = 0.0
    """Direction of ``along_px``, from x (right) towards y (down)."""
    shape: PsfShape = "disk"
    """Whether the cone is evenly filled or Gaussian."""

    @property
    def radius_px(self) -> float:
        """Radius of a round beam with the same second moment."""
        return math.hypot(self.core_px, self.along_px / math.sqrt(2), self.across_px / math.sqrt(2))

    @property
    def extent_px(self) -> float:
        """Farthest that the beam reaches from its centre with any weight that shows."""
        cone = max(self.along_px, self.across_px)
        return 2.0 * self.core_px + (2.0 * cone if self.shape == "gaussian" else cone)

    def scaled(self, factor: float) -> Blur:
        """The same beam in pixels ``1 / factor`` times as large."""
        return Blur(
            self.core_px * factor, self.along_px * factor, self.across_px * factor, self.angle_rad, self.shape
        )


def transfer_function(blur: Blur, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Give the optical transfer function on the grid of ``scipy.fft.rfft2``, 1 at zero frequency.

    Args:
        blur: The beam.
        shape: Rows and columns of the image.

    Returns:
        Real and even, shape ``(rows, columns // 2 + 1)``.
    """
    fy = np.fft.fftfreq(shape[0]).astype(np.float32)
    fx = np.fft.rfftfreq(shape[1]).astype(np.float32)
    core = -0.5 * (np.pi * blur.core_px) ** 2
    gaussian: NDArray[np.float32] = np.outer(np.exp(core * fy**2), np.exp(core * fx**2))
    if not max(blur.along_px, blur.across_px):
        return gaussian
    cosine, sine = math.cos(blur.angle_rad), math.sin(blur.angle_rad)
    u = np.float32(blur.along_px) * (np.float32(cosine) * fx + np.float32(sine) * fy[:, np.newaxis])
    v = np.float32(blur.across_px) * (np.float32(cosine) * fy[:, np.newaxis] - np.float32(sine) * fx)
    squared = u * u + v * v
    if blur.shape == "gaussian":
        cone: NDArray[np.float32] = gaussian * np.exp(np.float32(-0.5 * np.pi**2) * squared)
        return cone
    disk: NDArray[np.float32] = gaussian * _jinc(np.float32(2.0 * np.pi) * np.sqrt(squared))
    return disk


def _jinc(argument: NDArray[np.float32]) -> NDArray[np.float32]:
    """``2 J1(q) / q`` from a table: the grid holds a million arguments, the table thirty thousand."""
    top = max(float(argument.max()), 1e-6)
    points = np.linspace(0.0, top, _TABLE_STEPS + 1)
    points[0] = 1.0
    table = 2.0 * j1(points) / points
    table[0] = 1.0
    index = np.rint(argument * np.float32(_TABLE_STEPS / top)).astype(np.int32)
    values: NDArray[np.float32] = table.astype(np.float32)[index]
    return values


class Spectrum:
    """An image ready to be seen through any beam; it counts as periodic, so give it a margin to lose."""

    def __init__(self, image: NDArray[np.float32]) -> None:
        self._shape = (image.shape[0], image.shape[1])
        self._values = fft.rfft2(image)

    def through(self, blur: Blur) -> NDArray[np.float32]:
        """Give the image that this beam sees."""
        seen: NDArray[np.float32] = fft.irfft2(
            self._values * transfer_function(blur, self._shape), s=self._shape, overwrite_x=True
        )
        return seen


def seed_blur(image: Pixels, working_distance_mm: float, best_focus_mm: float) -> Pixels:
    """Blur as the published reference model does, bit for bit.

    Args:
        image: The specimen, 8 or 16 bits.
        working_distance_mm: Where the lens stands.
        best_focus_mm: Where it would be in focus.

    Returns:
        The image convolved with a disk of ``round(abs(working_distance_mm - best_focus_mm) * 0.1)`` px of
        equal weights, borders reflected; the image itself where that radius is 0.
    """
    radius = round(abs(working_distance_mm - best_focus_mm) * SEED_PX_PER_MM)
    if radius == 0:
        return image
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    kernel = (x * x + y * y <= radius * radius).astype(np.float64)
    return cast("Pixels", cv2.filter2D(image, -1, kernel / kernel.sum()))
