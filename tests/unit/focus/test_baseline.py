"""A baseline is learnt from several frames and never gets worse by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.focus.baseline import LOWEST, BaselineLearner, RunningReference
from focusd.focus.drift import DriftState, RatioDetector
from focusd.focus.spectrum import Score


def test_the_median_comes_with_the_last_frame_needed() -> None:
    """Two odd frames of five do not move the median."""
    learner = BaselineLearner(5)

    answers = [learner.fold({"m": Score(value, 0.1)}) for value in (5.0, 500.0, 4.0, 0.0, 6.0)]

    assert answers == [None, None, None, None, {"m": 5.0}]


def test_more_frames_change_nothing() -> None:
    """Once learnt, frames that follow cannot drag the baseline along."""
    learner = BaselineLearner(1)
    learner.fold({"m": Score(5.0, 0.1)})

    assert learner.fold({"m": Score(1.0, 0.1)}) == {"m": 5.0}


def test_only_metrics_of_all_frames_are_learnt() -> None:
    """A metric that was changed on the way has no median."""
    learner = BaselineLearner(2)
    learner.fold({"m": Score(5.0, 0.1), "old": Score(1.0, 0.1)})

    assert learner.fold({"m": Score(7.0, 0.1), "new": Score(1.0, 0.1)}) == {"m": 6.0}


def test_no_frames_teach_nothing() -> None:
    """A baseline of no frames is a mistake."""
    with pytest.raises(ValueError, match="at least 1"):
        BaselineLearner(0)


def test_the_reference_follows_what_frames_in_focus_are_like() -> None:
    """A baseline of one lucky frame gives way to the median of the frames that follow."""
    reference = RunningReference(1.1, frames=50)

    for value in np.random.default_rng(3).normal(1.0, 0.05, 200):
        reference.learn(value)

    assert reference.value == pytest.approx(1.0, abs=0.03)
    assert reference.anchor == 1.1


@given(
    st.floats(0.1, 10.0),
    st.lists(st.tuples(st.floats(0.0, 100.0), st.booleans()), max_size=80),
    st.integers(0, 30),
)
@settings(max_examples=50, deadline=None)
def test_nothing_takes_the_reference_far_below_the_baseline(
    anchor: float, frames: list[tuple[float, bool]], follow: int
) -> None:
    """However many frames of whatever kind come, verified or not, the reference hardly sinks."""
    reference = RunningReference(anchor, follow)

    for value, verified in frames:
        reference.learn(value, verified=verified)
        assert LOWEST * anchor <= reference.value <= max(anchor, *[value for value, _ in frames])


def test_a_poor_first_picture_does_not_hide_a_loss() -> None:
    """A baseline of a tenth of what frames are like gives way to them altogether."""
    reference = RunningReference(0.1, frames=100)

    for _ in range(30):
        reference.learn(1.0)

    assert reference.value == 1.0


def test_a_verified_frame_counts_as_much_as_the_baseline() -> None:
    """Two frames that a probe has vouched for outvote the baseline and a few others."""
    reference = RunningReference(1.0, frames=100)
    for _ in range(5):
        reference.learn(1.0)

    for _ in range(2):
        reference.learn(0.85, verified=True)

    assert reference.value == 0.85


def test_ten_odd_frames_hardly_move_the_reference() -> None:
    """The baseline counts as ten frames of its own, so a short run is outvoted."""
    reference = RunningReference(1.0, frames=100)

    for _ in range(9):
        reference.learn(0.8)

    assert reference.value == 1.0


def test_a_reference_may_be_kept_where_it_is() -> None:
    """With no frames to follow, frames are compared with the baseline itself."""
    reference = RunningReference(1.0, frames=0)

    reference.learn(0.9)

    assert reference.value == 1.0


@pytest.mark.parametrize("anchor", [0.0, -1.0, float("nan")])
def test_the_anchor_must_be_positive(anchor: float) -> None:
    """A band about nothing means nothing."""
    with pytest.raises(ValueError, match="must be positive"):
        RunningReference(anchor, frames=10)


def test_a_slow_loss_is_noticed_all_the_same() -> None:
    """Focus that goes by a hundredth a frame takes the reference along, but not past the alarm."""
    reference, detector = RunningReference(1.0, frames=100), RatioDetector(0.75, 3, 4)
    alarm = None

    for i in range(200):
        score = Score(0.99**i, 0.01)
        decision = detector.fold(i, score, reference.value)
        if decision.verdict is DriftState.IN_FOCUS:
            reference.learn(score.value)
        if decision.verdict is DriftState.OUT_OF_FOCUS:
            alarm = i
            break

    assert alarm is not None
    assert 0.99**alarm > 0.55
