"""Places where a look has shown that focus is not the matter, so that nobody looks there again and again."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from focusd.frame import Frame

MOST_PLACES = 1000


@dataclass(frozen=True, slots=True)
class _Place:
    condition: str
    x_mm: float | None
    y_mm: float | None
    seen_at: float


class SeenPlaces:
    """Remembers places by imaging condition, for a while.

    A frame within a field of view of a place counts as that place. Where the stage does not tell its
    position, the whole condition counts as one place.

    Args:
        cool_down_s: How long a place is remembered; 0 remembers none.
        clock: Monotonic seconds.
    """

    def __init__(self, cool_down_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._cool_down_s = cool_down_s
        self._clock = clock
        self._places: deque[_Place] = deque(maxlen=MOST_PLACES)

    def remember(self, frame: Frame) -> None:
        """Note that a look at this place has been taken in vain."""
        x_mm, y_mm = _position(frame)
        self._places.append(_Place(frame.conditions.key, x_mm, y_mm, self._clock()))

    def knows(self, frame: Frame) -> bool:
        """Tell whether a look at this place was taken not long ago."""
        now = self._clock()
        return any(
            now - place.seen_at < self._cool_down_s
            and place.condition == frame.conditions.key
            and _is_near(place, frame)
            for place in self._places
        )

    def forget(self) -> None:
        """Look everywhere again: focus was found, or an operator has spoken."""
        self._places.clear()


def _position(frame: Frame) -> tuple[float | None, float | None]:
    stage = frame.stage_position
    return (stage.x_mm, stage.y_mm) if stage else (None, None)


def _is_near(place: _Place, frame: Frame) -> bool:
    x_mm, y_mm = _position(frame)
    if x_mm is None or y_mm is None or place.x_mm is None or place.y_mm is None:
        return (x_mm is None) == (place.x_mm is None)
    pixel_size_nm = frame.conditions.pixel_size_nm or 0.0
    field_mm = pixel_size_nm * 1e-6 * max(frame.conditions.rows, frame.conditions.columns)
    return math.hypot(x_mm - place.x_mm, y_mm - place.y_mm) <= field_mm
