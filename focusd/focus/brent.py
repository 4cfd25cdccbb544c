"""The search: bracket the focus by walking downhill from where the lens stands, then Brent's method in it.

1. Scan at the start, then one step of 4 depths of field away. From then on the spectra of all scans tell
   where focus should be (``posterior``): scan there, or just past it, so that it is bracketed. Where they
   cannot tell, or another metric is asked for, walk to the sharper side with steps that double, until the
   sharpest scan has a clearly blurrier one on either side. "Clearly" is two standard errors, so noise is not
   taken for a slope; where nothing differs, both sides are tried in turn.
2. Where an arm of this bracket is long, shorten it: far from focus the objective is no parabola.
3. Brent's bounded method (scipy's) minimises ``V**-0.5`` in the bracket. It opens with two golden-section
   points; its interval is laid so that these are the sharpest scan there is and the vertex of the parabola
   through the bracket, and no point is ever scanned twice.
4. Done when that vertex lies within half a depth of field of a scan.

Source of the method: R. P. Brent, Algorithms for Minimization Without Derivatives, 1973, chapter 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from focusd.focus.asking import Scan, Search
from focusd.focus.compare import SCALES_PX, Objective, comparison, finest_clear_px
from focusd.focus.depth import BOUND_FACTOR, LearnedDepth
from focusd.focus.outcome import SearchOutcome, SearchResult
from focusd.focus.parabola import parabola_vertex
from focusd.focus.posterior import FocusPosterior, FocusPrior, Observation, focus_posterior
from focusd.focus.replay import Step, next_step

FIRST_STEP_DEPTHS = 4.0
STEP_PER_SCALE = 1.5
"""First step in depths of field for each pixel of the finest scale that stands clear of noise."""
LONGEST_STEP_DEPTHS = 32.0
LONG_ARM_DEPTHS = 10.0
"""Beyond this distance from focus the objective is no parabola any more."""
NEAR_EDGE_DEPTHS = 1.5
"""A scan this close inside a bound and no sharper than the one at the bound proves the edge."""
TOLERANCE_DEPTHS = 0.5
SAME_PLACE_DEPTHS = 0.25
"""A working distance this near to a scanned one has been scanned."""
CLEARLY = 2.0
"""Standard errors that make one scan clearly sharper than another."""
FLAT_REACH_DEPTHS = 27.0
"""With nothing clear this far out on both sides, there is nothing to focus on."""
FORESEEN_DEPTHS = 4.0
"""Standard deviation of a posterior that may place the bracket."""
PAST_DEPTHS = 1.0
"""How far past the foreseen focus to scan when all scans lie on one side of it."""
_GOLDEN = (1.0 + math.sqrt(5.0)) / 2.0


@dataclass(frozen=True, slots=True)
class _Interval:
    """Where Brent's method works; ``sign`` turns the axis so that its first point is the one wanted."""

    bounds: tuple[float, float]
    sign: float
    objective: Objective


class BrentSearch(Search):
    """Brent's method in a bracket around the present working distance; see the module's text.

    Args:
        start_mm: Where the lens stands.
        low_mm: Lowest working distance that may be asked for.
        high_mm: Highest.
        depth_of_field_um: Defocus that adds one pixel of blur.
        max_scans: Most scans asked for.
        metric: What is maximised.
        prior: The depth of field as past runs have it; replaces ``depth_of_field_um``.
    """

    def __init__(
        self,
        *,
        start_mm: float,
        low_mm: float,
        high_mm: float,
        depth_of_field_um: float,
        max_scans: int,
        metric: str,
        prior: LearnedDepth | None = None,
    ) -> None:
        super().__init__(max_scans)
        known = prior or LearnedDepth.configured(depth_of_field_um)
        self._start_mm = min(max(start_mm, low_mm), high_mm)
        self._low_mm = low_mm
        self._high_mm = high_mm
        self._depth_mm = known.depth_of_field_um / 1000.0
        self._foresees = metric == "log_energy"
        self._prior = FocusPrior(self._start_mm, low_mm, high_mm, known.depth_of_field_um, known.log_sd)
        self._posterior: FocusPosterior | None = None
        self._comparison = comparison(metric)
        self._scans: list[Scan] = []
        self._interval: _Interval | None = None

    def _take_in(self, scan: Scan) -> None:
        others = [one for one in self._scans if one.working_distance_mm != scan.working_distance_mm]
        self._scans = sorted([*others, scan], key=lambda one: one.working_distance_mm)
        if self._foresees:
            seen = [Observation(one.working_distance_mm, one.measurement.spectrum) for one in self._scans]
            self._posterior = focus_posterior(seen, self._prior)

    def _spent(self) -> SearchOutcome:
        """The sharpest scan so far."""
        best_mm = self._sharpest().working_distance_mm if self._scans else None
        reason = f"not settled after {len(self._scans)} scans"
        return self._with_evidence(SearchOutcome(best_mm, SearchResult.BUDGET, reason))

    def _next(self) -> float | SearchOutcome:
        step = self._step()
        return self._with_evidence(step) if isinstance(step, SearchOutcome) else step

    def _step(self) -> float | SearchOutcome:
        if not self._scans:
            return self._start_mm
        if len(self._scans) == 1:
            return self._first_step()
        return self._bracket()

    def _bracket(self) -> float | SearchOutcome:
        """Work in the bracket round the sharpest scan, or walk on until there is one."""
        best = self._sharpest()
        left, right = self._worse(best, below=True), self._worse(best, below=False)
        if left is not None and right is not None:
            return self._narrow(left, best, right)
        if len(self._scans) == 2 or left is not None or right is not None:
            foreseen_mm = self._foreseen(best)
            if foreseen_mm is not None:
                return foreseen_mm
        if right is not None:
            return self._walk(best, right, below=True)
        if left is not None:
            return self._walk(best, left, below=False)
        return self._look_around(best)

    def _sees(self) -> bool:
        """Whether the spectra tell where focus is."""
        return self._posterior is not None and self._posterior.sd_mm < FORESEEN_DEPTHS * self._depth_mm

    def _foreseen(self, best: Scan) -> float | None:
        """Where the spectra put the bracket's missing part; ``None`` when it is scanned or out of range."""
        if self._posterior is None or not self._sees():
            return None
        focus_mm = self._posterior.mean_mm
        inside = self._scans[0].working_distance_mm < focus_mm < self._scans[-1].working_distance_mm
        away = math.copysign(self._depth_mm, focus_mm - best.working_distance_mm)
        for depths in (0.0 if inside else PAST_DEPTHS, FIRST_STEP_DEPTHS, -FIRST_STEP_DEPTHS):
            place_mm = focus_mm + depths * away
            if not self._low_mm <= place_mm <= self._high_mm:
                return None
            if self._scanned_near(place_mm, 2 * TOLERANCE_DEPTHS) is None:
                return place_mm
        return None

    def _first_step(self) -> float | SearchOutcome:
        """One step to the side with more room."""
        here_mm = self._scans[0].working_distance_mm
        up = self._high_mm - here_mm >= here_mm - self._low_mm
        step_mm = self._first_step_depths() * self._depth_mm
        place_mm = self._clipped(here_mm + (step_mm if up else -step_mm))
        if self._scanned_near(place_mm, SAME_PLACE_DEPTHS) is None:
            return place_mm
        return SearchOutcome(
            here_mm, SearchResult.EDGE_OF_RANGE, "the range is narrower than the depth of field"
        )

    def _first_step_depths(self) -> float:
        """The coarser the finest detail that shows, the farther off is focus, and the less a step changes."""
        clear_px = finest_clear_px(self._scans[0].measurement.spectrum) or SCALES_PX[-1]
        return max(FIRST_STEP_DEPTHS, STEP_PER_SCALE * clear_px)

    def _look_around(self, best: Scan) -> float | SearchOutcome:
        """Nothing differs yet: step out on the side less explored."""
        sides = sorted((self._reach(below=below), below) for below in (False, True))
        for reach_mm, below in sides:
            place_mm = self._outward(below=below, slope=False)
            if reach_mm < FLAT_REACH_DEPTHS * self._depth_mm and place_mm is not None:
                return place_mm
        return SearchOutcome(
            best.working_distance_mm,
            SearchResult.NO_PEAK,
            "sharpness does not change with the working distance",
        )

    def _walk(self, best: Scan, worse: Scan, *, below: bool) -> float | SearchOutcome:
        """The sharpest scan has nothing clearly worse on one side: go on there."""
        place_mm = self._outward(below=below, slope=True)
        if place_mm is not None:
            return place_mm
        end = self._scans[0 if below else -1]
        if end is best:
            return self._edge(best, below=below)
        return self._narrow(end, best, worse) if below else self._narrow(worse, best, end)

    def _edge(self, best: Scan, *, below: bool) -> float | SearchOutcome:
        """The sharpest scan is at a bound: look close inside before giving up."""
        here_mm = best.working_distance_mm
        gap_mm = abs(self._scans[1 if below else -2].working_distance_mm - here_mm)
        if gap_mm > NEAR_EDGE_DEPTHS * self._depth_mm:
            inside_mm = min(gap_mm / 2.0, FIRST_STEP_DEPTHS * self._depth_mm)
            return here_mm + inside_mm if below else here_mm - inside_mm
        posterior = self._posterior
        if posterior is not None and self._sees() and self._low_mm < posterior.mean_mm < self._high_mm:
            return SearchOutcome(
                posterior.mean_mm,
                SearchResult.FOUND,
                "the spectra put focus just inside the edge of the range",
            )
        return SearchOutcome(
            here_mm,
            SearchResult.EDGE_OF_RANGE,
            f"the sharpest picture is at the edge of the range, {here_mm:.6g} mm",
        )

    def _narrow(self, left: Scan, best: Scan, right: Scan) -> float | SearchOutcome:
        """Work in a bracket."""
        bracket = (left, best, right)
        objective = self._comparison.objective([scan.measurement for scan in bracket])
        vertex_mm = parabola_vertex(
            [(scan.working_distance_mm, objective(scan.measurement)) for scan in bracket]
        )
        best_mm = best.working_distance_mm
        if vertex_mm is None or not left.working_distance_mm < vertex_mm < right.working_distance_mm:
            vertex_mm = best_mm
        arms = (best_mm - left.working_distance_mm, right.working_distance_mm - best_mm)
        if max(arms) > LONG_ARM_DEPTHS * self._depth_mm:
            foreseen_mm = self._posterior.mean_mm if self._posterior and self._sees() else vertex_mm
            inside = left.working_distance_mm < foreseen_mm < right.working_distance_mm
            place_mm = self._shortened(best_mm, foreseen_mm if inside else vertex_mm, arms)
            if place_mm is not None:
                return place_mm
        if self._scanned_near(vertex_mm, TOLERANCE_DEPTHS) is not None:
            return SearchOutcome(
                vertex_mm, SearchResult.FOUND, f"bracketed and settled after {len(self._scans)} scans"
            )
        step = self._brent(best_mm, vertex_mm, objective)
        if step.done:
            return SearchOutcome(
                step.x, SearchResult.FOUND, f"Brent's method settled after {len(self._scans)} scans"
            )
        return step.x

    def _shortened(self, best_mm: float, vertex_mm: float, arms: tuple[float, float]) -> float | None:
        """Where to scan to shorten a long arm: the vertex, or a step from the best into the longer arm."""
        into = 1.0 if arms[1] > arms[0] else -1.0
        for place_mm in (vertex_mm, best_mm + into * FIRST_STEP_DEPTHS * self._depth_mm):
            if self._scanned_near(place_mm, 2 * TOLERANCE_DEPTHS) is None:
                return place_mm
        return None

    def _brent(self, best_mm: float, vertex_mm: float, objective: Objective) -> Step:
        """Go on with Brent's method, in a new interval when the vertex has left the old one."""
        interval = self._interval
        if interval is None or not interval.bounds[0] < interval.sign * vertex_mm < interval.bounds[1]:
            interval = self._interval = self._laid(best_mm, vertex_mm, objective)
        chosen = interval

        def known(x: float) -> float | None:
            scan = self._scanned_near(chosen.sign * x, SAME_PLACE_DEPTHS)
            return None if scan is None else chosen.objective(scan.measurement)

        step = next_step(known, chosen.bounds, tolerance=TOLERANCE_DEPTHS * self._depth_mm)
        return Step(chosen.sign * step.x, step.done)

    def _with_evidence(self, outcome: SearchOutcome) -> SearchOutcome:
        """Add what the spectra say, where they say it."""
        answer_mm, posterior = outcome.working_distance_mm, self._posterior
        if answer_mm is None or posterior is None or not self._sees():
            return outcome
        return replace(
            outcome,
            mean_mm=posterior.mean_mm,
            sd_um=1000.0 * posterior.sd_mm,
            depth_of_field_um=posterior.depth_of_field_um,
            depth_of_field_sd_um=posterior.depth_of_field_um * posterior.depth_log_sd,
            by_shape=posterior.by_shape,
            probability_nearer=posterior.probability_nearer(answer_mm, self._start_mm),
        )

    def _laid(self, best_mm: float, vertex_mm: float, objective: Objective) -> _Interval:
        """An interval whose two golden-section points are the best scan and the vertex, in this order."""
        sign = 1.0 if vertex_mm >= best_mm else -1.0
        gap_mm = abs(vertex_mm - best_mm)
        low, high = sorted((sign * self._low_mm, sign * self._high_mm))
        bounds = (
            max(sign * best_mm - _GOLDEN * gap_mm, low),
            min(sign * best_mm + (1.0 + _GOLDEN) * gap_mm, high),
        )
        return _Interval(bounds, sign, objective)

    def _sharpest(self) -> Scan:
        best = self._scans[0]
        for scan in self._scans[1:]:
            if self._comparison.sharper(scan.measurement, best.measurement) > 0.0:
                best = scan
        return best

    def _worse(self, best: Scan, *, below: bool) -> Scan | None:
        """The scan next to the best on one side that is clearly blurrier."""
        index = self._scans.index(best)
        side = self._scans[:index][::-1] if below else self._scans[index + 1 :]
        for scan in side:
            if self._comparison.sharper(best.measurement, scan.measurement) > CLEARLY:
                return scan
        return None

    def _outward(self, *, below: bool, slope: bool) -> float | None:
        """The next place beyond the outermost scan, or ``None`` at the bound.

        Twice as far as the last step; on a ``slope``, less when a parabola through the last three scans has
        its vertex before that, for a place just past the vertex brackets it as well.
        """
        places = self._scans if below else self._scans[::-1]
        out = -1.0 if below else 1.0
        end_mm = places[0].working_distance_mm
        longest_mm, shortest_mm = (n * self._depth_mm for n in (LONGEST_STEP_DEPTHS, FIRST_STEP_DEPTHS))
        step_mm = min(max(2.0 * abs(end_mm - places[1].working_distance_mm), shortest_mm), longest_mm)
        outermost = sorted(places[:3], key=lambda scan: scan.working_distance_mm)
        vertex_mm = self._vertex(outermost) if slope else None
        if vertex_mm is not None:
            step_mm = min(step_mm, max(out * (vertex_mm - end_mm), 0.0) + shortest_mm)
        place_mm = self._clipped(end_mm + out * step_mm)
        return None if self._scanned_near(place_mm, SAME_PLACE_DEPTHS) else place_mm

    def _vertex(self, scans: list[Scan]) -> float | None:
        """Where the objective's parabola through three scans is lowest."""
        if len(scans) < 3:
            return None
        objective = self._comparison.objective([scan.measurement for scan in scans])
        return parabola_vertex([(scan.working_distance_mm, objective(scan.measurement)) for scan in scans])

    def _reach(self, *, below: bool) -> float:
        end_mm = self._scans[0 if below else -1].working_distance_mm
        return abs(end_mm - self._start_mm)

    def _scanned_near(self, place_mm: float, depths: float) -> Scan | None:
        scan = min(self._scans, key=lambda scan: abs(scan.working_distance_mm - place_mm))
        return scan if abs(scan.working_distance_mm - place_mm) <= depths * self._depth_mm else None

    def _clipped(self, place_mm: float) -> float:
        return min(max(place_mm, self._low_mm), self._high_mm)


def brent_by_shape(
    scans: Sequence[Scan], prior: FocusPrior, posterior: FocusPosterior, *, max_scans: int
) -> BrentSearch:
    """Go on by Brent's method from scans that no model of blur explains.

    What is maximised is fine detail over coarser detail, in which brightness and contrast cancel.

    Args:
        scans: All there are.
        prior: Where focus was looked for.
        posterior: What the model made of the scans; its depth of field counts where it is the finer one, by a
            factor of 2 at most.
        max_scans: Most scans asked for.
    """
    told_um = prior.depth_of_field_um
    search = BrentSearch(
        start_mm=prior.centre_mm,
        low_mm=prior.low_mm,
        high_mm=prior.high_mm,
        depth_of_field_um=min(told_um, max(posterior.depth_of_field_um, told_um / BOUND_FACTOR)),
        max_scans=max_scans,
        metric="band_ratio",
    )
    for scan in scans:
        search.tell(scan.working_distance_mm, scan.measurement)
    return search
