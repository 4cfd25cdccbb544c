"""When and how soon to connect again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from focusd.errors import LinkError

SHARE_OF_OUTAGE = 0.5
"""No pause is longer than half of the pauses before it together, and the first one: so an outage is made
longer by at most half, and that half second."""


def is_transient(error: BaseException) -> bool:
    """Tell whether connecting again may help: the network or the other side failed, not focusd."""
    return isinstance(error, (LinkError, OSError))


def backoff(
    *, first_s: float = 0.5, cap_s: float = 30.0, fraction: Callable[[], float] = random.random
) -> Iterator[float]:
    """Give pauses between attempts, for ever: anything up to a bound that grows as the outage lasts.

    It grows with time and not with the number of attempts: a few short pauses, drawn one after another, do
    not bring a long one soon after the microscope was lost.

    Args:
        first_s: Bound of the first pause.
        cap_s: Bound that is not passed.
        fraction: Source of random numbers in ``[0, 1)``; the whole pause is drawn from it, so that
            several daemons do not knock in step.
    """
    paused_s = 0.0
    while True:
        pause_s = fraction() * min(first_s + SHARE_OF_OUTAGE * paused_s, cap_s)
        yield pause_s
        paused_s += pause_s
