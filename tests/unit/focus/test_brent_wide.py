"""The published search gives scipy's own sequence and answer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from focusd.focus.laplacian import laplacian_variance
from focusd.focus.measure import measure
from focusd.focus.search import Search, SearchResult, make_search
from focusd.frame import Pixels
from tests.unit.focus.optics import scored, texture


def wide(*, low_mm: float = 10.0, high_mm: float = 100.0, maxiter: int = 5, max_scans: int = 50) -> Search:
    """Start the published search."""
    return make_search(
        "brent-wide",
        start_mm=10.0,
        low_mm=low_mm,
        high_mm=high_mm,
        depth_of_field_um=10_000.0,
        max_scans=max_scans,
        metric="laplacian_variance",
        wide_maxiter=maxiter,
    )


def seed_model(working_distance_mm: float) -> Pixels:
    """The published model: a box of whole pixels that grows by a tenth of a pixel a millimetre."""
    image = np.rint(texture("cells")).astype(np.uint8)
    radius = round(abs(working_distance_mm - 50.0) * 0.1)
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    kernel = (x * x + y * y <= radius * radius).astype(float)
    blurred = np.zeros(image.shape)
    for dy, dx in np.argwhere(kernel) - radius:
        blurred += np.roll(image, (dy, dx), (0, 1))
    pixels: Pixels = np.rint(blurred / kernel.sum()).astype(np.uint8)
    return pixels


@pytest.mark.parametrize("maxiter", [2, 5, 9])
def test_it_asks_what_scipy_asks_and_ends_where_scipy_ends(maxiter: int) -> None:
    """Asked and told, the search visits exactly the points that scipy visits with a callable."""
    visited: list[float] = []

    def objective(x: float) -> float:
        visited.append(float(x))
        return 1.0 / laplacian_variance(seed_model(float(x)))

    direct = minimize_scalar(objective, bounds=(10.0, 100.0), method="bounded", options={"maxiter": maxiter})
    search, asked = wide(maxiter=maxiter), []
    while (place_mm := search.ask()) is not None:
        asked.append(place_mm)
        search.tell(place_mm, measure(seed_model(place_mm), []))

    assert asked == visited
    assert search.outcome.working_distance_mm == float(direct.x)
    assert search.outcome.result is SearchResult.FOUND


def test_the_published_case_ends_near_focus() -> None:
    """With the published model, range and five evaluations, the answer is near 50 mm."""
    search = wide()
    while (place_mm := search.ask()) is not None:
        search.tell(place_mm, measure(seed_model(place_mm), []))

    assert search.outcome.working_distance_mm == pytest.approx(50.0, abs=5.0)


def test_asking_twice_gives_the_same() -> None:
    """Until told, the search wants the same scan."""
    search = wide()

    assert search.ask() == search.ask()


def test_the_budget_ends_it() -> None:
    """With fewer scans than evaluations, the best so far is the answer."""
    search = wide(maxiter=9, max_scans=2)
    for sharpness in (1.0, 5.0):
        place_mm = search.ask()
        assert place_mm is not None
        search.tell(place_mm, scored(sharpness))

    assert search.ask() is None
    assert search.outcome.result is SearchResult.BUDGET
    assert search.outcome.working_distance_mm == place_mm


def test_nothing_told_has_no_answer() -> None:
    """Before any scan there is no best working distance."""
    assert wide().outcome.working_distance_mm is None


def test_a_blank_picture_does_not_stop_it() -> None:
    """A variance of zero is the worst score, not a division by zero."""
    search = wide(maxiter=3)
    scans = 0
    while (place_mm := search.ask()) is not None:
        search.tell(place_mm, scored(0.0))
        scans += 1

    assert scans == 3
