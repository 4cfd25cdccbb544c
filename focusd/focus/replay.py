"""Drive scipy's bounded Brent minimiser from outside, one point at a time, without a thread.

``scipy.optimize.minimize_scalar`` wants a function to call; a search must instead hand out a working distance
and be told later what was seen there. The minimiser is deterministic, so it is run again from the start over
the points known so far, and stopped from inside the objective at the first point that is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """Either the next point the minimiser wants, or (``done``) its answer."""

    x: float
    done: bool


class _UnknownPointError(Exception):
    """The minimiser wants a point that has not been seen."""

    def __init__(self, x: float) -> None:
        self.x = x
        super().__init__(x)


def load() -> None:
    """Take the time for what ``next_step`` needs now, and not in the middle of a search."""
    import scipy.optimize  # noqa: F401, PLC0415 - 0.1 s and 20 MiB that the default method has no use for


def next_step(
    known: Callable[[float], float | None],
    bounds: tuple[float, float],
    *,
    maxiter: int = 500,
    tolerance: float = 1e-5,
) -> Step:
    """Run the bounded Brent method as far as the known points go.

    Args:
        known: Gives the objective at a point, or ``None`` where it is not known.
        bounds: The interval.
        maxiter: Most evaluations.
        tolerance: Distance from the minimum that is near enough; scipy's default unless given.
    """
    from scipy.optimize import minimize_scalar  # noqa: PLC0415 - as above

    def objective(x: float) -> float:
        value = known(float(x))
        if value is None:
            raise _UnknownPointError(float(x))
        return value

    try:
        result = minimize_scalar(
            objective, bounds=bounds, method="bounded", options={"maxiter": maxiter, "xatol": tolerance}
        )
    except _UnknownPointError as unknown:
        return Step(unknown.x, done=False)
    return Step(float(result.x), done=True)
