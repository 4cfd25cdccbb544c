"""How fast the simulated microscope's time runs."""

from __future__ import annotations

import math


class Pace:
    """Turns durations of the microscope into durations of the real world.

    Args:
        time_scale: Simulated seconds in a real second; 0 or infinity: nothing takes any time.

    Raises:
        ValueError: ``time_scale`` is negative or not a number.
    """

    def __init__(self, time_scale: float) -> None:
        if not time_scale >= 0:
            raise ValueError(f"time_scale must be 0 or more, got {time_scale}")
        self._factor = 0.0 if time_scale == 0 or math.isinf(time_scale) else 1.0 / time_scale

    def real_s(self, simulated_s: float) -> float:
        """Give the real seconds that so many simulated ones take."""
        return simulated_s * self._factor
