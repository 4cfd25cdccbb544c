"""A jump of gain or brightness is noticed; defocus and content are not taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from focusd.focus.gain import FRAMES, GainWatch
from focusd.focus.measure import measure
from focusd.frame import Pixels
from tests.unit.focus.optics import blurred, exposed, texture


def frame(radius_px: float = 0.0, *, kind: str = "cells", seed: int = 0) -> Pixels:
    """Take one frame."""
    return exposed(blurred(texture(kind), radius_px), 50.0, np.random.default_rng(seed))


def settled(count: int = 10) -> GainWatch:
    """Give a watch that has seen some frames."""
    watch = GainWatch()
    assert not any(watch.fold(measure(frame(seed=i), []), in_focus=True) for i in range(count))
    return watch


def changed(pixels: Pixels, *, gain: float = 1.0, brighter: float = 0.0) -> Pixels:
    """Turn the knobs of the detector."""
    grey = np.clip((pixels - 128.0) * gain + 128.0 + brighter, 0, 255)
    turned: Pixels = np.rint(grey).astype(np.uint8)
    return turned


@pytest.mark.parametrize(("gain", "brighter"), [(0.5, 0.0), (1.0, 30.0), (1.0, -30.0), (0.6, 20.0)])
def test_a_jump_of_gain_or_brightness_is_noticed(gain: float, brighter: float) -> None:
    """Half the gain, or thirty grey levels more or less."""
    assert settled().fold(measure(changed(frame(seed=99), gain=gain, brighter=brighter), []), in_focus=True)


@pytest.mark.parametrize("radius_px", [2.0, 6.0, 20.0])
def test_defocus_is_no_change_of_gain(radius_px: float) -> None:
    """Blur takes the contrast, but neither the mean nor the noise."""
    assert not settled().fold(measure(frame(radius_px, seed=99), []), in_focus=False)


@pytest.mark.parametrize("kind", ["powder", "particles"])
def test_other_content_is_no_change_of_gain(kind: str) -> None:
    """Another texture of the same mean is passed over."""
    assert not settled().fold(measure(frame(kind=kind, seed=99), []), in_focus=True)


def test_a_new_gain_becomes_the_norm() -> None:
    """What lasts is no longer a jump."""
    watch = settled()
    brighter = [measure(changed(frame(seed=i), brighter=30.0), []) for i in range(4)]

    answers = [watch.fold(brighter[i % 4], in_focus=True) for i in range(FRAMES)]

    assert answers[0]
    assert not answers[-1]
