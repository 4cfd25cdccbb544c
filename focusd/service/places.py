"""Places where a look has shown that focus is not the matter, so that nobody looks there again and again.

A place that falls on is no longer the place that was looked at: then focus may be the matter after all.
"""

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
    ratio: float | None
    seen_at: float


class SeenPlaces:
    """Remembers places by imaging condition, for a while.

    A frame within a field of view of a place counts as that place, unless it is clearly less sharp than the
    one that was looked at. Where the stage does not tell its position, the whole condition counts as one
    place.

    Args:
        cool_down_s: How long a place is remembered; 0 remembers none.
        fallen_to: Share of the sharpness at the last look under which a place is looked at again.
        clock: Monotonic seconds.
    """

    def __init__(
        self, cool_down_s: float, fallen_to: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cool_down_s = cool_down_s
        self._fallen_to = fallen_to
        self._clock = clock
        self._places: deque[_Place] = deque(maxlen=MOST_PLACES)

    def remember(self, frame: Frame, ratio: float | None) -> None:
        """Note that a look at this place has been taken in vain.

        Args:
            frame: The frame that raised the suspicion.
            ratio: Its sharpness over the baseline's; ``None`` if it was too faint to judge.
        """
        x_mm, y_mm = _position(frame)
        self._places.append(_Place(frame.conditions.key, x_mm, y_mm, ratio, self._clock()))

    def knows(self, frame: Frame, ratio: float | None) -> bool:
        """Tell whether a look at this place, as sharp as it is now, was taken not long ago."""
        now = self._clock()
        return any(
            now - place.seen_at < self._cool_down_s
            and place.condition == frame.conditions.key
            and _is_near(place, frame)
            and not self._has_fallen(place.ratio, ratio)
            for place in self._places
        )

    def _has_fallen(self, before: float | None, now: float | None) -> bool:
        """Whether a place is clearly less sharp than it was; one too faint to judge is the least sharp."""
        if before is None:
            return False
        return now is None or now < self._fallen_to * before

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
