"""When to stop trying: failed automatic refocuses in a row, then a pause."""

from __future__ import annotations

import time
from collections.abc import Callable

ELSEWHERE = 3
"""So many times as many failures in a row are borne if each is at another place: it may be the place."""


class Attempts:
    """Counts failures in a row; exhausted after ``allowed`` of them, until the cool-down has passed.

    Args:
        allowed: Failures in a row at one place that are borne.
        cool_down_s: Pause after the last of them; one more try is allowed then.
        clock: Monotonic seconds.
    """

    def __init__(self, allowed: int, cool_down_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._allowed = allowed
        self._cool_down_s = cool_down_s
        self._clock = clock
        self._here = 0
        self._anywhere = 0
        self._last_failure = 0.0

    @property
    def exhausted(self) -> bool:
        """Whether no automatic try is due."""
        if self._here < self._allowed and self._anywhere < ELSEWHERE * self._allowed:
            return False
        return self._clock() - self._last_failure < self._cool_down_s

    def failed(self, *, elsewhere: bool = False) -> None:
        """Count a failure, at another place than the last or at the same."""
        self._here = 1 if elsewhere else self._here + 1
        self._anywhere += 1
        self._last_failure = self._clock()

    def reset(self) -> None:
        """Forget the failures: a success, or an operator's word."""
        self._here = self._anywhere = 0
