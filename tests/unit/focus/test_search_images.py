"""The whole chain on images: blur and shot noise in, the focus out."""

from __future__ import annotations

import pytest

from focusd.focus.acceptance import decide
from focusd.focus.measure import Measurement, measure
from focusd.focus.search import SearchResult, make_search
from tests.unit.focus.optics import DEPTH_MM, DEPTH_UM, Column

FOCUS_MM = 9.0


def refocus(kind: str, start_depths: float, *, dose: float, seed: int) -> tuple[float, int]:
    """Search, verify, put back if refused; give the end's distance from focus in depths, and the scans."""
    column = Column(kind, focus_mm=FOCUS_MM, dose=dose, seed=seed)
    start_mm = FOCUS_MM + start_depths * DEPTH_MM

    def scan(place_mm: float) -> Measurement:
        return measure(column.scan(place_mm), ["log_energy"])

    start = scan(start_mm)
    search = make_search(
        "brent",
        start_mm=start_mm,
        low_mm=FOCUS_MM - 0.2,
        high_mm=FOCUS_MM + 0.2,
        depth_of_field_um=DEPTH_UM,
        max_scans=13,
        metric="log_energy",
        wide_maxiter=5,
    )
    scans = 0
    while (place_mm := search.ask()) is not None:
        search.tell(place_mm, start if place_mm == start_mm else scan(place_mm))
        scans += 1
    end_mm = search.outcome.working_distance_mm
    if end_mm is None or search.outcome.result is not SearchResult.FOUND:
        return abs(start_depths), scans
    accepted = decide(start, scan(end_mm), metric="log_energy").accepted
    return abs((end_mm if accepted else start_mm) - FOCUS_MM) / DEPTH_MM, scans + 1


@pytest.mark.parametrize(
    ("dose", "starts", "most_scans"),
    [
        (20.0, (2.0, 4.0, 6.0), 6.0),
        (20.0, (8.0, 12.0, 16.0), 8.0),
        (50.0, (24.0, 35.0), 10.0),
    ],
    ids=["small", "medium", "far"],
)
def test_focus_is_found_at_low_dose(dose: float, starts: tuple[float, ...], most_scans: float) -> None:
    """From near and far, on three textures and both sides, every search ends in focus with few scans."""
    runs = [
        refocus(kind, sign * start, dose=dose, seed=seed)
        for seed, kind in enumerate(("cells", "powder", "particles"))
        for start in starts
        for sign in (-1.0, 1.0)
    ]

    ends, scans = [end for end, _ in runs], [count for _, count in runs]

    assert max(ends) < 1.1, f"ends {ends}"
    assert sum(scans) / len(scans) <= most_scans, f"scans {scans}"


def test_from_focus_the_lens_is_left_there() -> None:
    """A search that starts in focus ends within half a depth of field of it."""
    for seed, kind in enumerate(("cells", "powder", "particles")):
        end, scans = refocus(kind, 0.0, dose=20.0, seed=seed)

        assert end < 0.5
        assert scans <= 5
