"""Many frames without signal, where there used to be plenty, are a suspicion; empty places are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from focusd.focus.lost_signal import SignalWatch
from focusd.focus.quality import Quality

GOOD = Quality(True, None, 0.0, 0.0, 120.0, 0.2, 60.0)
FAINT = replace(GOOD, signal_to_noise=9.0)
EMPTY = replace(GOOD, judgeable=False, reason="no_signal", signal_to_noise=1.0)
BLANK = replace(EMPTY, reason="blank")


def answers(watch: SignalWatch, *frames: Quality) -> list[int | None]:
    """Fold frames numbered from 0."""
    return [watch.fold(i, frame) for i, frame in enumerate(frames)]


def test_a_lasting_loss_is_named_from_its_first_frame() -> None:
    """After five frames without signal the first of them is given, and again when they have doubled."""
    found = answers(SignalWatch(5), *[GOOD] * 3, *[EMPTY] * 25)

    assert {i: first for i, first in enumerate(found) if first is not None} == {7: 3, 12: 3, 22: 3}


def test_short_empty_places_are_passed_over() -> None:
    """Any frame with signal ends the run."""
    assert not any(answers(SignalWatch(5), *([GOOD] + [EMPTY] * 4) * 10))


@pytest.mark.parametrize("before", [[], [FAINT] * 10])
def test_without_plenty_before_nothing_was_lost(before: list[Quality]) -> None:
    """On an empty specimen, or one that is faint anyway, nothing is said."""
    assert not any(answers(SignalWatch(5), *before, *[EMPTY] * 40))


def test_a_blanked_beam_is_no_lost_signal() -> None:
    """Frames that say nothing for another reason neither count nor end the count."""
    assert not any(answers(SignalWatch(5), GOOD, *[BLANK] * 40))
    assert answers(SignalWatch(2), GOOD, EMPTY, BLANK, EMPTY)[-1] == 1


def test_reset_begins_anew() -> None:
    """After a refocus the count starts at nothing."""
    watch = SignalWatch(2)
    answers(watch, GOOD, EMPTY)
    watch.reset()

    assert watch.fold(7, EMPTY) is None
    assert watch.fold(8, EMPTY) == 7


def test_zero_frames_mean_never() -> None:
    """The rule can be switched off."""
    assert not any(answers(SignalWatch(0), GOOD, *[EMPTY] * 200))
    with pytest.raises(ValueError, match="negative"):
        SignalWatch(-1)
