"""How the reference sharpness of an imaging condition comes about, and what may change it.

One rule guards it: a baseline never gets worse but by an operator's act. Otherwise a run of slightly blurred
frames would become the norm, and the next run, slightly worse, after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from focusd.focus.quality import Quality
from focusd.focus.spectrum import Score


class BaselineLearner:
    """Takes the median of the first judgeable frames of an imaging condition.

    Args:
        frames_needed: How many frames; the median shrugs off nearly half of them being odd.
    """

    def __init__(self, frames_needed: int) -> None:
        if frames_needed < 1:
            raise ValueError(f"frames_needed must be at least 1, got {frames_needed}")
        self._needed = frames_needed
        self._frames: list[Mapping[str, Score]] = []

    def fold(self, scores: Mapping[str, Score]) -> Mapping[str, float] | None:
        """Add a judgeable frame's scores; give the medians by metric once there are enough frames.

        Frames beyond those needed change nothing.
        """
        if len(self._frames) < self._needed:
            self._frames.append(scores)
        if len(self._frames) < self._needed:
            return None
        names = [name for name in self._frames[0] if all(name in frame for frame in self._frames)]
        return {name: median(frame[name].value for frame in self._frames) for name in names}


def may_teach(quality: Quality, *, source: str, known: bool) -> bool:
    """Tell whether a frame may make or better a baseline.

    Args:
        quality: Of the frame; an unjudgeable one never teaches.
        source: ``refocus`` (a verified picture), ``operator``, or ``learned`` (nobody vouches for it: only
            while nothing is known).
        known: Whether the condition has a baseline.
    """
    return quality.judgeable and (source in {"refocus", "operator"} or not known)


def merge(
    old: Mapping[str, float] | None, new: Mapping[str, float], *, by_operator: bool
) -> Mapping[str, float]:
    """Give the baseline that holds after new scores: the operator's as they are, else the better of each."""
    if old is None or by_operator:
        return dict(new)
    return {name: max(value, old.get(name, value)) for name, value in {**old, **new}.items()}
