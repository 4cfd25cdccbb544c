"""Frames too faint to judge, where there used to be plenty of signal, are a suspicion; empty ones are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from focusd.focus.lost_signal import FAINT as LEAST_FAINT
from focusd.focus.lost_signal import SignalWatch
from focusd.focus.measure import measure
from focusd.focus.quality import Quality
from tests.unit.focus.optics import blurred, exposed, texture

GOOD = Quality(True, None, 0.0, 0.0, 120.0, 0.2, 60.0)
MODEST = replace(GOOD, signal_to_noise=9.0)
FAINT = replace(GOOD, judgeable=False, reason="no_signal", signal_to_noise=5.0)
EMPTY = replace(FAINT, signal_to_noise=1.0)
BLANK = replace(FAINT, reason="blank")


def answers(watch: SignalWatch, *frames: Quality) -> list[int | None]:
    """Fold frames numbered from 0."""
    return [watch.fold(i, frame) for i, frame in enumerate(frames)]


def test_a_lasting_loss_is_named_from_its_first_frame() -> None:
    """After five faint frames the first of them is given, and again when they have doubled."""
    found = answers(SignalWatch(5), *[GOOD] * 3, *[FAINT] * 25)

    assert {i: first for i, first in enumerate(found) if first is not None} == {7: 3, 12: 3, 22: 3}


def test_short_faint_places_are_passed_over() -> None:
    """Any frame with signal ends the run."""
    assert not any(answers(SignalWatch(5), *([GOOD] + [FAINT] * 4) * 10))


@pytest.mark.parametrize("before", [[], [MODEST] * 10])
def test_without_plenty_before_nothing_was_lost(before: list[Quality]) -> None:
    """On a specimen that never showed much nothing is said."""
    assert not any(answers(SignalWatch(5), *before, *[FAINT] * 40))


@pytest.mark.parametrize("other", [EMPTY, BLANK])
def test_empty_and_blank_frames_are_no_lost_signal(other: Quality) -> None:
    """Frames that say nothing at all neither count nor end the count."""
    assert not any(answers(SignalWatch(5), GOOD, *[other] * 40))
    assert answers(SignalWatch(2), GOOD, FAINT, other, FAINT)[-1] == 1


def test_reset_begins_anew() -> None:
    """After a refocus the count starts at nothing."""
    watch = SignalWatch(2)
    answers(watch, GOOD, FAINT)
    watch.reset()

    assert watch.fold(7, FAINT) is None
    assert watch.fold(8, FAINT) == 7


def test_zero_frames_mean_never() -> None:
    """The rule can be switched off."""
    assert not any(answers(SignalWatch(0), GOOD, *[FAINT] * 200))
    with pytest.raises(ValueError, match="negative"):
        SignalWatch(-1)


@pytest.mark.parametrize("dose", [8.0, 20.0, 50.0])
def test_empty_frames_stay_under_what_counts_as_faint(dose: float) -> None:
    """Of a hundred frames of noise alone hardly one looks like a texture far out of focus."""
    random = np.random.default_rng(7)
    empty = np.full((256, 256), 120.0)
    found = [measure(exposed(empty, dose, random), []).quality.signal_to_noise for _ in range(100)]

    assert sum(one >= LEAST_FAINT for one in found) <= 1


def test_a_texture_far_out_of_focus_is_faint_and_not_empty() -> None:
    """At 24 depths of field cells at 8 electrons a pixel are past judging, but show more than noise does."""
    random = np.random.default_rng(8)
    image = blurred(texture("cells"), 24.0)
    found = [measure(exposed(image, 8.0, random), []).quality for _ in range(10)]

    assert np.median([one.signal_to_noise for one in found]) >= LEAST_FAINT
