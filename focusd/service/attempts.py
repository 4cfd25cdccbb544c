"""When to stop trying: failed automatic refocuses in a row, then a pause."""

from __future__ import annotations

import time
from collections.abc import Callable


class Attempts:
    """Counts failures in a row; exhausted after ``allowed`` of them, until the cool-down has passed.

    Args:
        allowed: Failures in a row that are borne.
        cool_down_s: Pause after the last of them; one more try is allowed then.
        clock: Monotonic seconds.
    """

    def __init__(self, allowed: int, cool_down_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._allowed = allowed
        self._cool_down_s = cool_down_s
        self._clock = clock
        self._failures = 0
        self._last_failure = 0.0

    @property
    def exhausted(self) -> bool:
        """Whether no automatic try is due."""
        if self._failures < self._allowed:
            return False
        return self._clock() - self._last_failure < self._cool_down_s

    def failed(self) -> None:
        """Count a failure."""
        self._failures += 1
        self._last_failure = self._clock()

    def reset(self) -> None:
        """Forget the failures: a success, or an operator's word."""
        self._failures = 0
