"""Drive one of focusd's searches as the service does, without the service: no event loop, link or journal.

Mirrors ``focusd/service/refocus.py`` step by step: a look at the start and whether it can be judged, the
search by ask and tell in the region that a refocus scans, every place approached from below, a fresh scan at
the answer that decides, and the lens put back where it stood unless that scan says better. A test holds the
two to the same course.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from focusd.config import DriftSettings, RefocusSettings, ScanSettings
from focusd.focus.acceptance import decide
from focusd.focus.measure import Measurement, measure
from focusd.focus.search import METHODS, Search, SearchOutcome, SearchResult, make_search
from focusd.frame import Pixels, ScanRegion
from focusd.records import RefocusResult
from focusd.service.refocus import APPROACH_DEPTHS, CONFIRMED_WITHIN_DEPTHS
from focusd.sources.scan import ScanSource
from tests.benchmarks.world import Scope

MAX_CHANGE_DEPTHS = 100.0
"""``max_change_um`` over the depth of field; the defaults of both have this ratio."""

DRIFT_METRIC = DriftSettings().metric
"""The monitor scores the frames of a refocus by this metric too, so that they can make a baseline."""


@dataclass(slots=True)
class Driven:
    """How a search ended, and its cost in computing."""

    result: RefocusResult | None = None
    reason: str = ""
    verified: Measurement | None = None
    places_mm: list[float] = field(default_factory=list)
    """Where each scan was taken."""
    cpu_s: float = 0.0
    """Time of this process in measuring, asking, telling and deciding; rendering the images is not in it."""


def settings_for(method: str, scope: Scope) -> RefocusSettings:
    """The service's default settings, in the microscope's depth of field, for any method there is.

    Raises:
        ValueError: the method is not known.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known are {', '.join(METHODS)}")
    depth_um = scope.depth_mm * 1000.0
    change_um = MAX_CHANGE_DEPTHS * depth_um
    # Not validated again: a method may be new in the search and not yet in the configuration.
    return RefocusSettings(depth_of_field_um=depth_um, max_change_um=change_um).model_copy(
        update={"method": method}
    )


def focus_region(scope: Scope) -> ScanRegion | None:
    """The part of the frame that the service scans in a refocus unless told otherwise."""
    frame = scope.request
    settings = ScanSettings(width=frame.width, height=frame.height, dwell_time_us=frame.dwell_time_us)
    return ScanSource(settings).focus_request.region


def refocus(
    scope: Scope, settings: RefocusSettings, *, first: Pixels | None = None, whole_frames: bool = False
) -> Driven:
    """Refocus the microscope from where it stands.

    Args:
        scope: The microscope.
        settings: As the service has them.
        first: The whole frame that raised the alarm, just taken here: it serves as the scan at the start.
        whole_frames: Whether to scan whole frames, ``scan.focus_region = "frame"``.
    """
    run = _Run(scope, settings, first, None if whole_frames else focus_region(scope))
    run.carry_out()
    return run.driven


class _Run:
    def __init__(
        self, scope: Scope, settings: RefocusSettings, first: Pixels | None, region: ScanRegion | None
    ) -> None:
        self.driven = Driven()
        self._scope = scope
        self._settings = settings
        self._first = first
        self._region = region
        self._depth_mm = settings.depth_of_field_um / 1000.0
        self._start_mm = scope.working_distance_mm

    def carry_out(self) -> None:
        result, reason = self._search_and_prove()
        self.driven.result, self.driven.reason = result, reason
        if not result.is_success:
            self._put_back()

    def _search_and_prove(self) -> tuple[RefocusResult, str]:
        start = self._scan() if self._first is None else self._measure(self._cut(self._first))
        if not start.quality.judgeable:
            return RefocusResult.NO_PEAK, f"nothing to focus on: {start.quality.reason}"
        search = self._make_search()
        while (target_mm := self._ask(search)) is not None:
            if target_mm == self._start_mm:
                self._tell(search, target_mm, start)
                continue
            self._move(target_mm)
            self._tell(search, target_mm, self._scan())
        return self._prove(search.outcome, start)

    def _prove(self, outcome: SearchOutcome, start: Measurement) -> tuple[RefocusResult, str]:
        best_mm = outcome.working_distance_mm
        if best_mm is None or outcome.result in {SearchResult.NO_PEAK, SearchResult.EDGE_OF_RANGE}:
            return RefocusResult(outcome.result.value), outcome.reason
        if abs(best_mm - self._start_mm) <= CONFIRMED_WITHIN_DEPTHS * self._depth_mm:
            self._put_back()
            self.driven.verified = self._scan()
            return RefocusResult.CONFIRMED_IN_FOCUS, "the sharpest picture is the one at the start"
        self._move(best_mm)
        end = self._scan()
        with self._timed():
            acceptance = decide(start, end, metric=self._settings.metric)
        if acceptance.accepted:
            self.driven.verified = end
            return RefocusResult.REFOCUSED, acceptance.reason
        if outcome.result is SearchResult.BUDGET:
            return RefocusResult.BUDGET_EXCEEDED, outcome.reason
        return RefocusResult.WORSE_THAN_START, acceptance.reason

    def _make_search(self) -> Search:
        settings, start_mm = self._settings, self._start_mm
        low_mm, high_mm = self._scope.limits_mm
        change_mm = settings.max_change_um / 1000.0
        if settings.method != "brent-wide":
            low_mm, high_mm = max(low_mm, start_mm - change_mm), min(high_mm, start_mm + change_mm)
        return make_search(
            settings.method,
            start_mm=start_mm,
            low_mm=low_mm,
            high_mm=high_mm,
            depth_of_field_um=settings.depth_of_field_um,
            max_scans=settings.max_scans - 1,
            metric=settings.metric,
            wide_maxiter=settings.wide_maxiter,
        )

    def _ask(self, search: Search) -> float | None:
        with self._timed():
            return search.ask()

    def _tell(self, search: Search, place_mm: float, measurement: Measurement) -> None:
        with self._timed():
            search.tell(place_mm, measurement)

    def _move(self, target_mm: float) -> None:
        if target_mm < self._scope.working_distance_mm:
            below_mm = max(target_mm - APPROACH_DEPTHS * self._depth_mm, self._scope.limits_mm[0])
            if below_mm < target_mm:
                self._scope.move(below_mm)
        self._scope.move(target_mm)

    def _put_back(self) -> None:
        if abs(self._scope.working_distance_mm - self._start_mm) > 1e-9:
            self._move(self._start_mm)

    def _scan(self) -> Measurement:
        self.driven.places_mm.append(self._scope.working_distance_mm)
        return self._measure(self._scope.scan(self._region))

    def _measure(self, pixels: Pixels) -> Measurement:
        with self._timed():
            return measure(pixels, (DRIFT_METRIC, self._settings.metric))

    def _cut(self, frame: Pixels) -> Pixels:
        """What a refocus would have scanned of a frame."""
        region = self._region
        if region is None:
            return frame
        return frame[region.y : region.y + region.height, region.x : region.x + region.width]

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.process_time()
        try:
            yield
        finally:
            self.driven.cpu_s += time.process_time() - began
