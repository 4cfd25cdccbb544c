"""When and how soon to connect again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from focusd.errors import LinkError

GROWTH = 1.5
"""Slow enough that a microscope which is switched on in the first minute is found within seconds."""


def is_transient(error: BaseException) -> bool:
    """Tell whether connecting again may help: the network or the other side failed, not focusd."""
    return isinstance(error, (LinkError, OSError))


def backoff(
    *, first_s: float = 0.5, cap_s: float = 30.0, fraction: Callable[[], float] = random.random
) -> Iterator[float]:
    """Give pauses between attempts, for ever: anything up to a bound that grows by half each time.

    Args:
        first_s: Bound of the first pause.
        cap_s: Bound that is not passed.
        fraction: Source of random numbers in ``[0, 1)``; the whole pause is drawn from it, so that
            several daemons do not knock in step.
    """
    bound_s = min(first_s, cap_s)
    while True:
        yield fraction() * bound_s
        bound_s = min(GROWTH * bound_s, cap_s)
