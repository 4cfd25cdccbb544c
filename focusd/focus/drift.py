"""Has focus been lost? Sequential detectors over the frames of one imaging condition, in one table.

``ratio`` counts frames below a share of the reference: it needs a marked fall and notices it soonest.
``cusum`` and ``ewma`` add up how far frames fall, in units of how much the content makes them differ: they
also notice a slow or small loss, later. ``both`` is ``ratio`` with ``cusum`` behind it. All see nothing but
frames that can be judged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from focusd.focus.charts import Chart, Cusum, Ewma
from focusd.focus.scatter import RobustScatter, log_score
from focusd.focus.spectrum import Score

EXPLAINED_BY_NOISE = 1.0
"""A score less than so many standard errors under the threshold may be noise and is not counted as below.
None would double the false alarms at low dose, two would miss a step of 2 depths of field in six."""
SUSPECT_SHARE = 0.5
"""Share of a chart's limit from which on a frame that is below the reference is suspect."""
MOST_DEVIATION = 3.0
"""One frame counts for at most so many units of scatter: content has heavy tails, and a few odd frames in a
row must not raise a chart's alarm."""


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
    """The frame since which there has been evidence of a loss without a break, if there is any."""
    may_teach: bool
    """Whether the frame may be taken for one in focus: a suspicion alone does not yet speak against that."""


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
        suspect_ratio: Share under which one frame is suspect; ``threshold_ratio`` unless given.
    """

    def __init__(
        self,
        threshold_ratio: float,
        frames_below: int,
        frames_window: int,
        *,
        suspect_ratio: float | None = None,
    ) -> None:
        if not 0.0 < threshold_ratio < 1.0:
            raise ValueError(f"threshold_ratio must be between 0 and 1, got {threshold_ratio:g}")
        self._suspect_ratio = threshold_ratio if suspect_ratio is None else suspect_ratio
        if not threshold_ratio <= self._suspect_ratio < 1.0:
            raise ValueError(f"suspect_ratio must be {threshold_ratio:g} to 1, got {suspect_ratio:g}")
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
        highest = score.value + EXPLAINED_BY_NOISE * score.standard_error
        below = highest < self._threshold_ratio * _positive(reference)
        self._window.append(below)
        if below and self._first_below is None:
            self._first_below = frame_id
        if not any(self._window):
            self._first_below = None
        verdict = DriftState.IN_FOCUS
        if highest < self._suspect_ratio * reference:
            lost = below and sum(self._window) >= self._frames_below
            verdict = DriftState.OUT_OF_FOCUS if lost else DriftState.SUSPECT
        first = frame_id if verdict is DriftState.SUSPECT and self._first_below is None else self._first_below
        return DriftDecision(verdict, score.value / reference, first, may_teach=not below)

    def reset(self) -> None:
        """Forget all frames."""
        self._window.clear()
        self._first_below = None


class ChartDetector:
    """Focus is lost when a control chart of the log scores says so.

    The scatter that the chart is scaled by is learned from frames that are not suspect, and kept over
    ``reset``: it belongs to the specimen.

    Args:
        chart: Adds up the deviations.
    """

    def __init__(self, chart: Chart) -> None:
        self._chart = chart
        self._scatter = RobustScatter()
        self._first_below: int | None = None

    def fold(self, frame_id: int, score: Score, reference: float) -> DriftDecision:
        """Judge one frame; out of focus only if it is itself below the reference.

        Raises:
            ValueError: the reference is not positive.
        """
        value, middle = log_score(score), log_score(Score(_positive(reference), 0.0))
        deviation = (value - middle) / self._scatter.value
        share = self._chart.fold(min(max(deviation, -MOST_DEVIATION), MOST_DEVIATION))
        if share == 0.0:
            self._first_below = None
        elif self._first_below is None:
            self._first_below = frame_id
        verdict = DriftState.IN_FOCUS
        if share < SUSPECT_SHARE:
            self._scatter.learn(value)
        elif deviation < 0.0:
            verdict = DriftState.OUT_OF_FOCUS if share >= 1.0 else DriftState.SUSPECT
        may_teach = verdict is DriftState.IN_FOCUS
        return DriftDecision(verdict, score.value / reference, self._first_below, may_teach)

    def reset(self) -> None:
        """Forget the evidence, but not the scatter."""
        self._chart.reset()
        self._first_below = None


class EitherDetector:
    """Focus is lost when one of two detectors says so, suspect when one is suspicious.

    Args:
        quick: Notices a marked loss.
        patient: Notices a small one, later.
    """

    def __init__(self, quick: DriftDetector, patient: DriftDetector) -> None:
        self._detectors = quick, patient

    def fold(self, frame_id: int, score: Score, reference: float) -> DriftDecision:
        """Judge one frame; the decision is that of the detector that is more alarmed.

        Raises:
            ValueError: the reference is not positive.
        """
        quick, patient = (detector.fold(frame_id, score, reference) for detector in self._detectors)
        decision = patient if _ALARM[patient.verdict] > _ALARM[quick.verdict] else quick
        return replace(decision, may_teach=quick.may_teach and patient.may_teach)

    def reset(self) -> None:
        """Forget the evidence of both."""
        for detector in self._detectors:
            detector.reset()


_ALARM = {state: level for level, state in enumerate(DriftState)}
"""How alarming each state is: they are listed in rising order."""


class DriftParameters(Protocol):
    """What the detectors are made from; ``focusd.config.DriftSettings`` says what each means."""

    @property
    def threshold_ratio(self) -> float:
        """Of ``ratio``."""

    @property
    def suspect_ratio(self) -> float:
        """Of ``ratio``."""

    @property
    def frames_below(self) -> int:
        """Of ``ratio``."""

    @property
    def frames_window(self) -> int:
        """Of ``ratio``."""

    @property
    def cusum_reference(self) -> float:
        """Of ``cusum``."""

    @property
    def cusum_limit(self) -> float:
        """Of ``cusum``."""

    @property
    def ewma_weight(self) -> float:
        """Of ``ewma``."""

    @property
    def ewma_limit(self) -> float:
        """Of ``ewma``."""


def _ratio(parameters: DriftParameters) -> DriftDetector:
    return RatioDetector(
        parameters.threshold_ratio,
        parameters.frames_below,
        parameters.frames_window,
        suspect_ratio=max(parameters.suspect_ratio, parameters.threshold_ratio),
    )


def _cusum(parameters: DriftParameters) -> DriftDetector:
    return ChartDetector(Cusum(parameters.cusum_reference, parameters.cusum_limit))


DETECTORS: Mapping[str, Callable[[DriftParameters], DriftDetector]] = MappingProxyType(
    {
        "both": lambda with_: EitherDetector(_ratio(with_), _cusum(with_)),
        "ratio": _ratio,
        "cusum": _cusum,
        "ewma": lambda with_: ChartDetector(Ewma(with_.ewma_weight, with_.ewma_limit)),
    }
)


def make_detector(name: str, parameters: DriftParameters) -> DriftDetector:
    """Make a detector for one imaging condition.

    Raises:
        ValueError: there is none of that name, and the message lists those there are; or a parameter cannot
            work.
    """
    try:
        make = DETECTORS[name]
    except KeyError:
        raise ValueError(f"unknown detector {name!r}; known are {', '.join(DETECTORS)}") from None
    return make(parameters)


def _positive(reference: float) -> float:
    if not reference > 0.0:
        raise ValueError(f"a baseline's sharpness must be positive, got {reference:g}")
    return reference
