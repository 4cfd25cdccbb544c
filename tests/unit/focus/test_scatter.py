"""The scatter of log scores shrugs off odd frames and stays within its bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focusd.focus.scatter import FRAMES, LEAST, MOST, UNKNOWN, RobustScatter, log_score
from focusd.focus.spectrum import Score


def scatter_of(values: list[float]) -> float:
    """Learn values."""
    scatter = RobustScatter()
    for value in values:
        scatter.learn(value)
    return scatter.value


def test_it_measures_a_normal_scatter() -> None:
    """Frames that scatter by 0.2 are found to, also when a third of them is far off."""
    values = np.random.default_rng(1).normal(3.0, 0.2, FRAMES)

    assert scatter_of(values.tolist()) == pytest.approx(0.2, rel=0.25)
    values[::4] = -9.0
    assert scatter_of(values.tolist()) == pytest.approx(0.2, rel=0.6)


@given(st.lists(st.floats(-20.0, 20.0), max_size=80))
def test_it_stays_within_bounds(values: list[float]) -> None:
    """Neither calm nor wild frames take it out of its bounds."""
    assert LEAST <= scatter_of(values) <= MOST


def test_few_frames_say_nothing() -> None:
    """Before five frames have been seen an ordinary texture is assumed."""
    assert scatter_of([1.0, 9.0, 4.0, 0.0]) == UNKNOWN


def test_it_follows_the_specimen() -> None:
    """Old frames are forgotten."""
    wild = np.random.default_rng(2).normal(0.0, 0.4, FRAMES).tolist()

    assert scatter_of(wild) > 0.3
    assert scatter_of(wild + [1.0] * FRAMES) == LEAST


def test_a_score_lost_in_noise_has_a_logarithm() -> None:
    """Noise takes an energy below zero; it counts as half its error then."""
    assert log_score(Score(-3.0, 2.0)) == 0.0
    assert np.isfinite(log_score(Score(0.0, 0.0)))
