"""The last step of the search by spectra: the vertex of a parabola through the scans next to focus.

This step of Brent's method, with its bracket at hand, trusts no model of the spot and no depth of field.
"""

from __future__ import annotations

from collections.abc import Sequence

from focusd.focus.asking import Scan
from focusd.focus.compare import comparison, finest_clear_px
from focusd.focus.parabola import parabola_vertex

REACH_DEPTHS = 7.0
"""Farther from focus than this the objective is no parabola."""
MOVES_DEPTHS = 0.7
"""Most that it moves the answer."""
APART_DEPTHS = 0.6
"""How far apart the scans must be."""


def finished(scans: Sequence[Scan], vertex_mm: float, depth_mm: float, *, by_shape: bool) -> float:
    """Move the vertex that a model gives to that of the parabola, by a little at most.

    Args:
        scans: At least one.
        vertex_mm: Where the model has focus.
        depth_mm: Depth of field.
        by_shape: Whether brightness differs between the scans and must cancel.
    """
    triple = _triple(scans, vertex_mm, depth_mm)
    if triple is None or finest_clear_px(*(scan.measurement.spectrum for scan in triple)) is None:
        return vertex_mm
    compared = comparison("band_ratio" if by_shape else "log_energy")
    objective = compared.objective([scan.measurement for scan in triple])
    points = [(scan.working_distance_mm, objective(scan.measurement)) for scan in triple]
    lowest_mm = parabola_vertex(points)
    if lowest_mm is None or not points[0][0] < lowest_mm < points[2][0]:
        return vertex_mm
    most_mm = MOVES_DEPTHS * depth_mm
    return min(max(lowest_mm, vertex_mm - most_mm), vertex_mm + most_mm)


def _triple(scans: Sequence[Scan], vertex_mm: float, depth_mm: float) -> list[Scan] | None:
    """The scan nearest to the vertex and the nearest well to either side of it, in rising order."""
    by_distance = sorted(scans, key=lambda scan: abs(scan.working_distance_mm - vertex_mm))
    here_mm, apart_mm = by_distance[0].working_distance_mm, APART_DEPTHS * depth_mm
    near = [s for s in by_distance if abs(s.working_distance_mm - vertex_mm) < REACH_DEPTHS * depth_mm]
    below = [scan for scan in near if scan.working_distance_mm < here_mm - apart_mm]
    above = [scan for scan in near if scan.working_distance_mm > here_mm + apart_mm]
    return [below[0], by_distance[0], above[0]] if below and above else None
