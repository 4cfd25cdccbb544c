"""Progress that can be checked: the owner says by when it will be heard of next, and a watchdog asks."""

from __future__ import annotations

import time
from collections.abc import Callable


class Heartbeat:
    """A promise of progress that is renewed step by step.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = clock() + 60.0

    def expect(self, within_s: float) -> None:
        """Promise to be heard of again within so many seconds."""
        self._due = self._clock() + within_s

    @property
    def is_alive(self) -> bool:
        """Whether the last promise still stands."""
        return self._clock() <= self._due
