"""The parabola through three points: a step that two of the searches share."""

from __future__ import annotations

from collections.abc import Sequence


def parabola_vertex(points: Sequence[tuple[float, float]]) -> float | None:
    """Lowest point of the parabola through three points, in rising order of x; ``None`` if it has none."""
    (x0, y0), (x1, y1), (x2, y2) = points
    slope, next_slope = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    curvature = (next_slope - slope) / (x2 - x0)
    if curvature <= 0.0:
        return None
    return 0.5 * (x0 + x1) - 0.5 * slope / curvature
