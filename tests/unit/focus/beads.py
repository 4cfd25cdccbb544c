"""Fluorescent beads as Micro-Manager's demo camera draws them: blur widens them, and their peak stays.

So the farther from focus, the brighter the field: no blur that only spreads light does that. Each micrometre
adds half a pixel to the standard deviation of a bead, in quadrature, which is a radius of blur of one pixel:
the depth of field is 1 um.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from focusd.frame import Pixels

SIDE_PX = 256
DEPTH_UM = 1.0
BEADS = 40
SHARP_SD_PX = 2.5


class BeadCamera:
    """A camera over beads, in focus at 0 um.

    Args:
        seed: Decides where the beads are, and the noise.
        noise: Standard deviation in grey levels.
        keeps_light: Whether a widened bead pales, as real ones do.
        brightness: Multiplies the light of each image in turn, by its number.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        noise: float = 0.0,
        keeps_light: bool = False,
        brightness: Callable[[int], float] = lambda _: 1.0,
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._centre_px = self._rng.uniform(0.0, SIDE_PX, (2, BEADS))
        self._peak = self._rng.uniform(80.0, 200.0, BEADS)
        self._noise = noise
        self._keeps_light = keeps_light
        self._brightness = brightness
        self._taken = 0

    def image(self, z_um: float) -> Pixels:
        """Take an image of 8 bits with the drive at a position."""
        variance = SHARP_SD_PX**2 + (0.5 * z_um) ** 2
        pixel = np.arange(SIDE_PX)[:, np.newaxis]
        # A Gaussian bead is the product of its profiles down and across.
        down, across = (np.exp(-np.square(pixel - centre) / (2.0 * variance)) for centre in self._centre_px)
        peak = self._peak * self._brightness(self._taken)
        self._taken += 1
        if self._keeps_light:
            peak = peak * SHARP_SD_PX**2 / variance
        grey = (down * peak) @ across.T + 10.0 + self._noise * self._rng.standard_normal((SIDE_PX, SIDE_PX))
        pixels: Pixels = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
        return pixels
