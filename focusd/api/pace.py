"""How fast clients may change things: a runaway script must not wear out the lens or the journal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from focusd.api.problems import TOO_FAST, ProblemError

BURST_S: Final = 5.0
"""So many seconds' worth may come at once."""


class ChangeRate:
    """A token bucket for all clients together.

    Args:
        per_s: Changes a second in the long run.
        clock: Monotonic seconds.
    """

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock = clock
        self._most = per_s * BURST_S
        self._left = self._most
        self._since = clock()

    def take(self) -> None:
        """Let one change through.

        Raises:
            ProblemError: 429, there were too many; it says when to come again.
        """
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._since) * self._per_s)
        self._since = now
        if self._left < 1.0:
            wait_s = (1.0 - self._left) / self._per_s
            raise ProblemError(
                TOO_FAST,
                f"at most {self._per_s:g} changes a second (http.max_changes_per_s)",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )
        self._left -= 1.0
