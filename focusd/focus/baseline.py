"""How the reference sharpness of an imaging condition comes about, and what may change it.

One rule guards it: a baseline never gets worse but by an operator's act. Otherwise a run of slightly blurred
frames would become the norm, and the next run, slightly worse, after it. What frames are compared with may
follow the content of the specimen, but never far below the baseline, however long it goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median

from focusd.focus.spectrum import Score

VERIFIED_FRAMES = 10
"""As many frames as a verified picture counts for in the running reference, the baseline's own too."""
LOWEST = 0.8
"""How far below the baseline the running reference may go, as a factor. Content scatters by 0.1 to 0.4 in the
logarithm (one sigma), and 1.3 depths of field take ``band_ratio`` down to 0.8."""


class BaselineLearner:
    """Takes the median of the first judgeable frames of an imaging condition.

    Args:
        frames_needed: How many frames; the median shrugs off nearly half of them being odd.
    """

    def __init__(self, frames_needed: int) -> None:
        if frames_needed < 1:
            raise ValueError(f"frames_needed must be at least 1, got {frames_needed}")
        self.frames_needed = frames_needed
        self._frames: list[Mapping[str, Score]] = []

    def fold(self, scores: Mapping[str, Score]) -> Mapping[str, float] | None:
        """Add a judgeable frame's scores; give the medians by metric once there are enough frames.

        Frames beyond those needed change nothing.
        """
        if len(self._frames) < self.frames_needed:
            self._frames.append(scores)
        if len(self._frames) < self.frames_needed:
            return None
        names = [name for name in self._frames[0] if all(name in frame for frame in self._frames)]
        return {name: median(frame[name].value for frame in self._frames) for name in names}


class RunningReference:
    """What frames are compared with: the median of recent frames in focus, but never far below the baseline.

    A baseline from one verified picture is as far from the rest of the specimen as its content happens to be:
    where textures wander in simulation, one frame as the reference raised twice the false alarms that this
    does. Downwards it may go as far as content alone makes one picture differ, so a slow loss of focus can
    take it along no farther than that. Upwards nothing holds it: no loss of focus makes frames sharper, and a
    poor first picture must not hide one.

    Args:
        anchor: The baseline's sharpness; it counts as ``VERIFIED_FRAMES`` frames.
        frames: Recent frames that count; 0 keeps the reference at the anchor.

    Raises:
        ValueError: the anchor is not positive, or the number negative.
    """

    def __init__(self, anchor: float, frames: int) -> None:
        if not anchor > 0.0:
            raise ValueError(f"a baseline's sharpness must be positive, got {anchor:g}")
        self.anchor = anchor
        self._recent: deque[float] = deque(maxlen=frames)
        self.value = anchor

    def learn(self, sharpness: float, *, verified: bool = False) -> None:
        """Take in a frame that was found in focus.

        Args:
            sharpness: Of the frame.
            verified: Whether other scans of its field have shown that it is in focus, not only its own score.
        """
        if self._recent.maxlen == 0 or not sharpness > 0.0:
            return
        self._recent.extend([sharpness] * (VERIFIED_FRAMES if verified else 1))
        middle = median([*self._recent, *[self.anchor] * VERIFIED_FRAMES])
        self.value = max(middle, LOWEST * self.anchor)
