"""Height of the specimen's surface: tilt, smooth bumps and sheer steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from focusd.simulator.options import SpecimenOptions
from focusd.simulator.waves import Waves


class Relief:
    """The height map of one specimen, the same from the same options."""

    def __init__(self, options: SpecimenOptions) -> None:
        self._tilt = options.tilt_um_per_mm
        self._bumps_um = options.bumps_um
        self._bumps = Waves(options.bump_size_mm, options.seed, 1)
        self._plateaus = options.plateaus

    def height_um(self, x_mm: float, y_mm: float) -> float:
        """Height at one place, in micrometres towards the lens."""
        return float(self.on_grid(np.array([x_mm]), np.array([y_mm]))[0, 0])

    def on_grid(self, x_mm: NDArray[np.float64], y_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Heights at every (x, y) of a grid, micrometres, shape ``(len(y_mm), len(x_mm))``."""
        height = self._tilt[0] * x_mm[np.newaxis, :] + self._tilt[1] * y_mm[:, np.newaxis]
        if self._bumps_um:
            height = height + self._bumps_um * self._bumps.on_grid(x_mm, y_mm)
        for plateau in self._plateaus:
            inside_x = (x_mm >= plateau.left_mm) & (x_mm < plateau.right_mm)
            inside_y = (y_mm >= plateau.top_mm) & (y_mm < plateau.bottom_mm)
            height[np.ix_(inside_y, inside_x)] += plateau.height_um
        return height
