"""Has focus been lost? A sequential detector over the frames of one imaging condition."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from focusd.focus.spectrum import Score

EXPLAINED_BY_NOISE = 1.0
"""A score less than so many standard errors under the threshold may be noise and is not counted as below.
None would double the false alarms at low dose, two would miss a step of 2 depths of field in six."""


class DriftState(StrEnum):
    """What a detector says of a frame."""

    IN_FOCUS = "in_focus"
    SUSPECT = "suspect"
    OUT_OF_FOCUS = "out_of_focus"


@dataclass(frozen=True, slots=True)
class DriftDecision:
    """The verdict on one frame."""

    verdict: DriftState
    ratio: float
    """Sharpness over the baseline's."""
    first_below: int | None
    """The first frame of the run of frames below the baseline that this one belongs to."""


class DriftDetector(Protocol):
    """Folds judgeable frames, in order, into a verdict."""

    def fold(self, frame_id: int, score: Score, reference: float) -> DriftDecision:
        """Judge one frame against the baseline's sharpness."""

    def reset(self) -> None:
        """Forget all frames, e.g. after a refocus."""


class RatioDetector:
    """Focus is lost when so many of the last judgeable frames are below a share of the baseline.

    A frame is below when its score is under ``threshold_ratio * reference`` by more than its own noise
    explains (one standard error). A run begins with a frame below and ends when the window holds none.

    Args:
        threshold_ratio: Share of the baseline, between 0 and 1.
        frames_below: Frames below that mean focus is lost ...
        frames_window: ... among this many judgeable frames.
    """

    def __init__(self, threshold_ratio: float, frames_below: int, frames_window: int) -> None:
        if not 0.0 < threshold_ratio < 1.0:
            raise ValueError(f"threshold_ratio must be between 0 and 1, got {threshold_ratio:g}")
        if not 1 <= frames_below <= frames_window:
            raise ValueError(f"frames_below must be 1 to frames_window = {frames_window}, got {frames_below}")
        self._threshold_ratio = threshold_ratio
        self._frames_below = frames_below
        self._window: deque[bool] = deque(maxlen=frames_window)
        self._first_below: int | None = None

    def fold(self, frame_id: int, score: Score, reference: float) -> DriftDecision:
        """Judge one frame; out of focus only if it is itself below, so a good frame never raises an alarm.

        Raises:
            ValueError: the reference is not positive.
        """
        if reference <= 0.0:
            raise ValueError(f"a baseline's sharpness must be positive, got {reference:g}")
        highest = score.value + EXPLAINED_BY_NOISE * score.standard_error
        below = highest < self._threshold_ratio * reference
        self._window.append(below)
        if below and self._first_below is None:
            self._first_below = frame_id
        if not any(self._window):
            self._first_below = None
        verdict = DriftState.IN_FOCUS
        if below:
            lost = sum(self._window) >= self._frames_below
            verdict = DriftState.OUT_OF_FOCUS if lost else DriftState.SUSPECT
        return DriftDecision(verdict, score.value / reference, self._first_below)

    def reset(self) -> None:
        """Forget all frames."""
        self._window.clear()
        self._first_below = None
