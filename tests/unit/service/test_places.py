"""A place that was looked at in vain is left alone for a while, and only that place."""

from __future__ import annotations

import numpy as np
import pytest

from focusd.frame import Frame, ImagingConditions, StagePosition
from focusd.service.places import SeenPlaces


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def frame(x_mm: float | None, y_mm: float | None = 0.0, detector: str = "SE") -> Frame:
    """Make a frame of a field 1 um wide."""
    return Frame(
        np.zeros((100, 100), np.uint8),
        ImagingConditions(100, 100, 8, pixel_size_nm=10.0, detector=detector),
        working_distance_mm=9.0,
        acquired_at=0.0,
        stage_position=None if x_mm is None else StagePosition(x_mm, y_mm),
    )


@pytest.mark.parametrize(
    ("other", "known"),
    [
        (frame(1.0), True),
        (frame(1.0009), True),
        (frame(1.0011), False),
        (frame(1.0, 0.002), False),
        (frame(1.0, detector="BSE"), False),
        (frame(None), False),
    ],
)
def test_a_place_is_a_field_of_view_wide(other: Frame, known: bool) -> None:
    """Frames within a field of view under the same condition are the same place."""
    places = SeenPlaces(60.0, 0.75)
    places.remember(frame(1.0), 0.7)

    assert places.knows(other, 0.7) is known


def test_a_place_is_forgotten_after_its_time_or_when_told() -> None:
    """The memory fades, and a success wipes it."""
    clock = Clock()
    places = SeenPlaces(60.0, 0.75, clock)
    places.remember(frame(1.0), 0.7)

    clock.now += 59
    assert places.knows(frame(1.0), 0.7)
    clock.now += 2
    assert not places.knows(frame(1.0), 0.7)

    places.remember(frame(1.0), 0.7)
    places.forget()
    assert not places.knows(frame(1.0), 0.7)


def test_without_a_stage_the_condition_is_one_place() -> None:
    """A microscope that does not tell its position is not looked at again and again either."""
    places = SeenPlaces(60.0, 0.75)
    places.remember(frame(None), 0.7)

    assert places.knows(frame(None), 0.7)


@pytest.mark.parametrize(
    ("before", "now", "known"),
    [
        (0.7, 0.55, True),
        (0.7, 0.5, False),
        (0.7, 0.9, True),
        (0.7, None, False),
        (None, 0.5, True),
        (None, None, True),
    ],
)
def test_a_place_that_falls_on_is_looked_at_again(
    before: float | None, now: float | None, known: bool
) -> None:
    """Content explains a place as it was; clearly less sharp than that, it may be focus after all."""
    places = SeenPlaces(60.0, 0.75)
    places.remember(frame(1.0), before)

    assert places.knows(frame(1.0), now) is known
