"""How much a score differs from frame to frame while focus holds, because the content does."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from focusd.focus.spectrum import Score

FRAMES = 50
"""Recent frames that count: enough for a steady median, few enough to follow the specimen."""
FRAMES_NEEDED = 5
UNKNOWN = 0.15
"""Scatter of the logarithm that is assumed until so many frames have been seen; textures in simulation have
0.06 to 0.3."""
LEAST, MOST = 0.1, 0.5
"""Bounds of the scatter. Calm content must not turn noise into an alarm, and frames that slowly lose focus
must not teach that anything goes."""
_NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


def log_score(score: Score) -> float:
    """Give the logarithm of a score; one that noise took to zero or below counts as half its error."""
    return math.log(max(score.value, 0.5 * score.standard_error, 1e-12))


class RobustScatter:
    """Median absolute deviation of the log scores of recent frames, as a standard deviation, within bounds.

    Source: F. R. Hampel, "The influence curve and its role in robust estimation", Journal of the American
    Statistical Association 69, 1974: half of the frames may be anything.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=FRAMES)

    def learn(self, value: float) -> None:
        """Take in the log score of a frame in focus."""
        self._recent.append(value)

    @property
    def value(self) -> float:
        """Scatter of the log score, between ``LEAST`` and ``MOST``."""
        if len(self._recent) < FRAMES_NEEDED:
            return UNKNOWN
        middle = median(self._recent)
        deviation = median(abs(value - middle) for value in self._recent)
        return min(max(_NORMAL * deviation, LEAST), MOST)
