"""Control charts add up small falls, and forget them when frames are well again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focusd.focus.charts import Chart, Cusum, Ewma

CHARTS = [Cusum(0.5, 20.0), Ewma(0.2, 7.0)]
deviations = st.lists(st.floats(-6.0, 6.0), max_size=60)


def folded(chart: Chart, values: list[float]) -> list[float]:
    """Fold values into a fresh chart."""
    chart.reset()
    return [chart.fold(value) for value in values]


@given(deviations)
def test_cusum_is_pages_sum(values: list[float]) -> None:
    """The statistic is ``max(0, S - deviation - reference)`` over the limit, held at the limit."""
    expected, total = [], 0.0
    for value in values:
        total = min(max(0.0, total - value - 0.5), 20.0)
        expected.append(total / 20.0)

    assert folded(Cusum(0.5, 20.0), values) == pytest.approx(expected)


@given(st.floats(-6.0, -0.1), st.floats(0.01, 1.0))
def test_ewma_tends_to_the_shift(shift: float, weight: float) -> None:
    """Frames that all fall by as much bring the average there, in its own standard deviations."""
    limit = -1.5 * shift / math.sqrt(weight / (2.0 - weight))
    count = math.ceil(10.0 / weight)

    last = folded(Ewma(weight, limit), [shift] * count)[-1]

    assert last == pytest.approx(1.0 / 1.5, rel=1e-3)


def test_an_average_a_little_below_is_at_rest() -> None:
    """Frames that are always a little below their reference are not the beginning of a loss."""
    assert set(folded(Ewma(0.2, 7.0), [-0.2] * 100)) == {0.0}


@given(deviations, st.sampled_from(CHARTS))
def test_a_deeper_fall_never_is_less_evidence(values: list[float], chart: Chart) -> None:
    """Lowering every frame raises the statistic everywhere, and it stays between 0 and 1."""
    gentle, steep = folded(chart, values), folded(chart, [value - 1.0 for value in values])

    assert all(0.0 <= one <= other <= 1.0 for one, other in zip(gentle, steep, strict=True))


@pytest.mark.parametrize("chart", CHARTS)
def test_a_small_lasting_fall_is_noticed_and_chance_is_not(chart: Chart) -> None:
    """Two sigma down is found within 25 frames; 2,000 frames of mere scatter are not an alarm."""
    scatter = np.random.default_rng(5).normal(size=2000).tolist()

    assert max(folded(chart, scatter)) < 1.0
    assert folded(chart, [-2.4] * 25)[-1] == 1.0


@pytest.mark.parametrize("chart", CHARTS)
def test_recovery_does_not_depend_on_how_long_the_loss_lasted(chart: Chart) -> None:
    """After ten frames lost or after a thousand, good frames bring the statistic down alike."""
    good = [1.0] * 30
    short, long = (folded(chart, [-6.0] * lost + good)[lost:] for lost in (10, 1000))

    assert short == pytest.approx(long)
    assert short[-1] == 0.0


@pytest.mark.parametrize("settings", [(-0.1, 20.0), (0.5, 0.0), (math.nan, 1.0)])
def test_a_cusum_that_cannot_work_is_refused(settings: tuple[float, float]) -> None:
    """A sum needs an allowance that is none too small, and a limit."""
    with pytest.raises(ValueError, match="reference must be"):
        Cusum(*settings)


@pytest.mark.parametrize("settings", [(0.0, 7.0), (1.1, 7.0), (0.2, 0.0), (math.nan, 1.0)])
def test_an_ewma_that_cannot_work_is_refused(settings: tuple[float, float]) -> None:
    """A weight is a share; a limit is positive."""
    with pytest.raises(ValueError, match="weight must be"):
        Ewma(*settings)
