"""A baseline is learnt from several frames and never gets worse by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from focusd.focus.baseline import BaselineLearner, may_teach, merge
from focusd.focus.quality import Quality
from focusd.focus.spectrum import Score

GOOD = Quality(True, None, 0.0, 0.0, 120.0, 0.2, 60.0)
SHARPNESS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.floats(0.01, 100.0))


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


@pytest.mark.parametrize(
    ("source", "known", "expected"),
    [
        ("refocus", True, True),
        ("operator", True, True),
        ("learned", False, True),
        ("learned", True, False),
    ],
)
def test_unverified_frames_teach_only_while_nothing_is_known(
    source: str, known: bool, expected: bool
) -> None:
    """Frames nobody vouches for make a first baseline at most; unjudgeable ones never teach."""
    assert may_teach(GOOD, source=source, known=known) is expected
    assert not may_teach(replace(GOOD, judgeable=False, reason="no_signal"), source=source, known=known)


@given(SHARPNESS, SHARPNESS)
def test_a_baseline_never_gets_worse_but_by_the_operator(
    old: dict[str, float], new: dict[str, float]
) -> None:
    """Merging keeps the better of each metric; the operator's word replaces all."""
    merged = merge(old, new, by_operator=False)

    assert set(merged) == {*old, *new}
    assert all(merged[name] >= value for scores in (old, new) for name, value in scores.items())
    assert merge(old, new, by_operator=True) == new
    assert merge(None, new, by_operator=False) == new
