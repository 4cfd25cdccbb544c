"""The depth of field is learnt from run to run, slowly and within bounds."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.focus.depth import BOUND_FACTOR, LEAST_LOG_SD, LearnedDepth
from focusd.focus.posterior import DEPTH_LOG_SD


def run_with(belief: LearnedDepth, true_um: float, own_log_sd: float) -> LearnedDepth:
    """Give what a run leaves behind that saw the truth with some error, combined with its prior."""
    told, known = own_log_sd**-2, belief.log_sd**-2
    mean = (told * math.log(true_um) + known * math.log(belief.depth_of_field_um)) / (told + known)
    estimate_um = math.exp(mean)
    return belief.after(estimate_um, estimate_um * (told + known) ** -0.5)


def test_runs_lead_to_the_truth() -> None:
    """A configured value 30 % too large is put right within five runs, and known better than before."""
    belief = LearnedDepth.configured(2.6)
    rng = np.random.default_rng(0)
    for _ in range(5):
        belief = run_with(belief, 2.0 * math.exp(0.05 * rng.standard_normal()), 0.05)

    assert belief.depth_of_field_um == pytest.approx(2.0, rel=0.08)
    assert LEAST_LOG_SD <= belief.log_sd < 0.15
    assert belief.runs == 5


def test_a_run_that_saw_nothing_teaches_nothing() -> None:
    """An estimate that is only the belief it began with leaves that as it was."""
    belief = LearnedDepth.configured(2.0)

    assert belief.after(2.0, 2.0 * DEPTH_LOG_SD) == belief
    assert belief.after(5.0, math.nan) == belief
    assert belief.after(-1.0, 0.1) == belief


def test_one_freak_does_not_overthrow_many() -> None:
    """After ten runs that agree, one that is off by a factor of 2 moves the belief by under 15 %."""
    belief = LearnedDepth.configured(2.0)
    for _ in range(10):
        belief = run_with(belief, 2.0, 0.05)

    assert run_with(belief, 4.0, 0.05).depth_of_field_um == pytest.approx(2.0, rel=0.15)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1.0)), max_size=12), st.floats(0.1, 100.0))
def test_never_beyond_a_factor_of_two(runs: list[tuple[float, float]], configured_um: float) -> None:
    """Whatever is seen, the belief stays within bounds and no better known than is allowed."""
    belief = LearnedDepth.configured(configured_um)
    for estimate_um, relative_sd in runs:
        belief = belief.after(estimate_um, relative_sd * estimate_um)

    ratio = belief.depth_of_field_um / configured_um
    assert 1.0 / BOUND_FACTOR - 1e-9 <= ratio <= BOUND_FACTOR + 1e-9
    assert LEAST_LOG_SD <= belief.log_sd <= DEPTH_LOG_SD


def test_it_goes_through_json() -> None:
    """Plain numbers: what is stored comes back as it was."""
    belief = LearnedDepth.configured(2.0).after(1.8, 0.1)

    assert LearnedDepth(**json.loads(json.dumps(asdict(belief)))) == belief


@pytest.mark.parametrize("depth_um", [0.0, -1.0, math.nan, 5.0])
def test_stored_nonsense_is_refused(depth_um: float) -> None:
    """Numbers that cannot have been learnt are not believed."""
    with pytest.raises(ValueError, match="must be"):
        LearnedDepth(2.0, depth_um)
