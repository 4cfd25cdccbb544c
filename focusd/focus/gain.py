"""Did the detector's gain or brightness jump? Worth a note on the frame, no reason not to judge it.

The default drift metric divides gain and brightness out. Others do not, and an operator wants to know either
way. Defocus must not be taken for it, so what is watched is what blur leaves alone: the mean grey level; and
of frames in focus the noise, which grows with the gain. (The noise is read where a beam of a pixel leaves no
signal; a finer beam leaves some, which goes with the focus.)
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from focusd.focus.measure import Measurement

FRAMES = 50
"""Recent frames that count; after half as many with the new gain it is the norm."""
FRAMES_NEEDED = 5
JUMP = 6.0
"""Standard deviations of the recent frames that make a jump, ..."""
LEAST_MEAN_JUMP, LEAST_NOISE_JUMP = 0.15, 0.3
"""... and at least so much in the logarithm: content moves the mean, and with it the noise, by less."""
LEAST_NOISE_LEVEL = 1.0
"""Noise of fewer grey levels is the converter's, or the finest detail's."""
_NORMAL = 1.4826


class GainWatch:
    """Compares mean level and noise of each frame with those of recent ones."""

    def __init__(self) -> None:
        self._means: deque[float] = deque(maxlen=FRAMES)
        self._noises: deque[float] = deque(maxlen=FRAMES)

    def fold(self, measurement: Measurement, *, in_focus: bool) -> bool:
        """Take in a judgeable frame; tell whether its gain or brightness differs from the frames before."""
        jumped = _jumps(math.log(max(measurement.quality.mean_level, 1.0)), self._means, LEAST_MEAN_JUMP)
        if in_focus:
            noise_level = math.sqrt(max(measurement.spectrum.corner_power, 0.0))
            noise = math.log(max(noise_level, LEAST_NOISE_LEVEL))
            jumped = _jumps(noise, self._noises, LEAST_NOISE_JUMP) or jumped
        return jumped


def _jumps(value: float, recent: deque[float], least: float) -> bool:
    """Compare a value with the recent ones, and take it in."""
    is_far = _is_far(value, recent, least)
    recent.append(value)
    return is_far


def _is_far(value: float, recent: deque[float], least: float) -> bool:
    if len(recent) < FRAMES_NEEDED:
        return False
    middle = median(recent)
    scatter = _NORMAL * median(abs(one - middle) for one in recent)
    return abs(value - middle) > max(JUMP * scatter, least)
