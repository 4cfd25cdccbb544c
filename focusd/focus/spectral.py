"""The search that needs three to five scans: ask the spectra where focus is, go there, and see.

1. A scan at the start (or the frame that raised the alarm), and one 6 depths of field away; with a stored
   spectrum of an in-focus picture of like material, as far away as that says that focus is.
2. From two scans the posterior (``posterior``) gives focus with an error of a tenth of the way there. Scan
   at its vertex; when all scans so far lie on one side of it, somewhat past it, so that focus is bracketed
   at once.
3. Again, until the vertex lies near a scan, the posterior is narrow and the next nearest scan is near enough
   for an error of a tenth not to matter.
4. Finish with the vertex of the parabola in ``V**-0.5`` through the scans next to it: this step of Brent's
   method, with its bracket at hand, trusts no model of the spot and no depth of field.

Where the clearest scan so far shows too little above noise, the next ones are asked to last longer: of one
and the same dose, a long look at a part of the field tells more of blur than a short one at all of it, since
the noise in a ring falls with the dwell time and only with the root of the number of pixels.

Where the scans are no blurred copies of one picture, by chi-square, and free gains do not explain it either,
the model gets no last word: before any answer, and from the fourth scan on, Brent's method goes on from the
scans there are, by a measure in which brightness cancels (``brent``).

It gives up when the posterior stays wide and no scan differs from another, for then there is nothing to focus
on; and says so when focus lies beyond the range.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np

from focusd.focus.asking import Scan, Search
from focusd.focus.blur import relative_blur
from focusd.focus.brent import brent_by_shape
from focusd.focus.compare import SCALES_PX, finest_clear_px, sharper, times_longer
from focusd.focus.depth import LearnedDepth
from focusd.focus.finish import finished
from focusd.focus.measure import Measurement
from focusd.focus.outcome import SearchOutcome, SearchResult
from focusd.focus.posterior import (
    DEPTH_LOG_SD,
    MISFIT,
    FocusPosterior,
    FocusPrior,
    Observation,
    focus_posterior,
)
from focusd.focus.spectrum import RadialSpectrum

MAX_SCANS = 8
SECOND_SCAN_DEPTHS = 6.0
REFERENCE_DEPTHS = (3.0, 15.0)
"""Shortest and longest second step that a reference spectrum may ask for."""
REFERENCE_SLACK = 0.3
"""How far the spectra of two fields of like material differ, ring by ring."""
PAST_VERTEX_DEPTHS = (1.0, 3.0)
"""Least and most that a scan goes past the vertex to bracket it ..."""
PAST_VERTEX_SDS = 0.3
"""... and how far in standard deviations of the posterior."""
NEAR_DEPTHS = 0.6
"""A scan this near to the vertex shows what the vertex would show."""
NEAR_BRACKETED_DEPTHS = 2.2
"""The same where scans on both sides pin the vertex down."""
BRACKET_DEPTHS = (0.6, 12.0)
"""How far to the side of the vertex a scan must and may be to bracket it."""
BRACKETING_STEP_DEPTHS = 3.0
NARROW_DEPTHS = 0.8
"""Standard deviation of a posterior that has settled."""
ERROR_OF_DISTANCE = 0.1
"""Error of the vertex as a share of the distance to the scans that tell it."""
WIDE_DEPTHS = 10.0
"""Standard deviation of a posterior that knows nothing ..."""
GIVE_UP_AFTER = 4
"""... after how many scans that is taken for an answer ..."""
DIFFERENT = 3.0
"""... unless two of them differ by so many standard errors."""
UNSETTLED_DEPTHS = 2.0
"""Standard deviation with which a search that has spent its budget has found nothing."""
SURE = 0.95
"""Probability with which focus must lie beyond a bound before a scan inside it is spared."""
IN_DOUBT_REACH = 2.0
"""How far beyond the scans to look while the model of blur is in doubt, as a share of their span."""
SAME_PLACE_DEPTHS = 0.5
"""Nearer than this to a scan no other is taken."""
VERIFIED_DEPTHS = 2.2
"""A scan no farther than this from the answer shows what the answer is worth; not so the one at the start."""
EXPLORING_DEPTHS = 8.0
"""Standard deviation of a posterior that is too wide to jump by ..."""
LONG_STEP_DEPTHS = 24.0
"""... and the step out from the start, when it does not even know the side."""
STEP_PER_SCALE = 1.5
"""Second step in depths of field for each pixel of the finest scale that stands clear of noise."""
CLEAR_SIGNAL_TO_NOISE = 16.0
"""Coarse detail so clear lets the model of blur, not noise, decide how well focus is known."""
DWELL_FACTORS = (1.0, 2.0, 4.0)
"""How many times as long as the first a scan may be asked to last."""
_NEARLY = 0.85
"""A factor that comes so near to what is wanted will do."""


class SpectralSearch(Search):
    """The search by relative blur; see the module's text.

    Args:
        start_mm: Where the lens stands.
        low_mm: Lowest working distance that may be asked for.
        high_mm: Highest.
        depth_of_field_um: Defocus that adds one pixel of blur.
        max_scans: Most scans asked for; never more than ``MAX_SCANS``.
        prior: The depth of field as past runs have it; replaces ``depth_of_field_um``.
        reference: Spectrum of an in-focus picture of like material under the same condition.
    """

    def __init__(
        self,
        *,
        start_mm: float,
        low_mm: float,
        high_mm: float,
        depth_of_field_um: float,
        max_scans: int = MAX_SCANS,
        prior: LearnedDepth | None = None,
        reference: RadialSpectrum | None = None,
    ) -> None:
        super().__init__(min(max_scans, MAX_SCANS))
        depth_um = depth_of_field_um if prior is None else prior.depth_of_field_um
        log_sd = DEPTH_LOG_SD if prior is None else prior.log_sd
        self._start_mm = min(max(start_mm, low_mm), high_mm)
        self._prior = FocusPrior(self._start_mm, low_mm, high_mm, depth_um, log_sd)
        self._depth_mm = depth_um / 1000.0
        self._reference = reference
        self._least_scans = 3
        self._scans: list[Scan] = []
        self._posterior: FocusPosterior | None = None

    def _take_in(self, scan: Scan) -> None:
        self._scans.append(scan)
        seen = [Observation(one.working_distance_mm, one.measurement.spectrum) for one in self._scans]
        self._posterior = focus_posterior(seen, self._prior)

    @property
    def dwell_factor(self) -> float:
        """How many times as long as the first the next scan should last: until what shows is clear."""
        if not self._scans:
            return 1.0
        seen = [scan.measurement for scan in self._scans]
        clearest = max(
            one.quality.signal_to_noise / times_longer(one.spectrum, seen[0].spectrum) for one in seen
        )
        wanted = _NEARLY * CLEAR_SIGNAL_TO_NOISE
        return next((n for n in DWELL_FACTORS if n * clearest >= wanted), DWELL_FACTORS[-1])

    @property
    def posterior(self) -> FocusPosterior | None:
        """What is believed so far."""
        return self._posterior

    def _next(self) -> float | SearchOutcome:
        """Give the next place to scan, or the end."""
        posterior = self._posterior
        if posterior is None:
            return self._start_mm
        if len(self._scans) == 1:
            return self._second_place()
        if len(self._scans) >= GIVE_UP_AFTER and posterior.misfit > MISFIT:
            return self._without_model(posterior)
        return self._by_posterior(posterior)

    def _by_posterior(self, posterior: FocusPosterior) -> float | SearchOutcome:
        """Look around, at a bound or near the vertex, by how much is known."""
        wide = posterior.sd_mm > WIDE_DEPTHS * self._depth_mm
        if len(self._scans) >= GIVE_UP_AFTER and wide and not self._differ():
            return self._nothing_to_see(posterior)
        if posterior.sd_mm > EXPLORING_DEPTHS * self._depth_mm:
            return self._exploring(posterior)
        beyond = self._beyond(posterior)
        if beyond is not None:
            return beyond
        return self._towards(posterior)

    def _second_place(self) -> float | SearchOutcome:
        """A step away from the nearer bound."""
        here_mm = self._scans[0].working_distance_mm
        step_mm = self._second_step_depths() * self._depth_mm
        up = self._prior.high_mm - here_mm >= here_mm - self._prior.low_mm
        place_mm = self._clipped(here_mm + (step_mm if up else -step_mm))
        if not self._is_new(place_mm):
            return self._ended(
                here_mm, SearchResult.EDGE_OF_RANGE, "the range is narrower than the depth of field"
            )
        return place_mm

    def _second_step_depths(self) -> float:
        """As far as focus is by the reference; else the farther, the coarser the finest detail that shows."""
        seen = self._scans[0].measurement.spectrum
        by_scale = max(SECOND_SCAN_DEPTHS, STEP_PER_SCALE * (finest_clear_px(seen) or SCALES_PX[-1]))
        if self._reference is None or not np.array_equal(seen.frequency, self._reference.frequency):
            return by_scale
        blur = relative_blur(seen, self._reference, slack=REFERENCE_SLACK, free_gain=True)
        if blur.value_px2 < 2.0 * blur.standard_error_px2:
            return by_scale
        self._least_scans = 2
        shortest, longest = REFERENCE_DEPTHS
        return min(max(math.sqrt(blur.value_px2), shortest), longest)

    def _exploring(self, posterior: FocusPosterior) -> float | SearchOutcome:
        """The posterior hardly knows more than the side: go far, where a scan must look different."""
        likely_mm = self._clipped(posterior.overall_mean_mm)
        long_mm = LONG_STEP_DEPTHS * self._depth_mm
        if posterior.probability_beyond(self._start_mm, above=True) < 0.5:
            long_mm = -long_mm
        sides = [self._start_mm + long_mm, self._start_mm - long_mm]
        if self._differ():
            # Something is seen already: look on from the scan that is likely the nearest to focus.
            near_mm = self._nearest(likely_mm).working_distance_mm
            step_mm = math.copysign(SECOND_SCAN_DEPTHS * self._depth_mm, likely_mm - near_mm)
            sides = [near_mm + step_mm, near_mm - step_mm, *sides]
        for place_mm in map(self._clipped, (likely_mm, *sides, posterior.mean_mm)):
            if self._distance_mm(place_mm) >= (1.0 - 1e-9) * SECOND_SCAN_DEPTHS * self._depth_mm:
                return place_mm
        return self._nothing_to_see(posterior)

    def _differ(self) -> bool:
        """Whether any scan is clearly sharper than another."""
        spectra = [scan.measurement.spectrum for scan in self._scans]
        return any(abs(sharper(one, other)) > DIFFERENT for one, other in combinations(spectra, 2))

    def _beyond(self, posterior: FocusPosterior) -> float | SearchOutcome | None:
        """Where focus seems to lie over a bound: scan at the bound, and believe it then."""
        vertex_mm = self._reachable(posterior)
        bound_mm = self._clipped(vertex_mm)
        if bound_mm == vertex_mm:
            return None
        if self._is_new(bound_mm):
            return bound_mm
        if posterior.probability_beyond(bound_mm, above=vertex_mm > bound_mm) < SURE:
            inside_mm = math.copysign(BRACKETING_STEP_DEPTHS * self._depth_mm, bound_mm - vertex_mm)
            if self._is_new(self._clipped(bound_mm + inside_mm)):
                return self._clipped(bound_mm + inside_mm)
        return self._ended(
            bound_mm,
            SearchResult.EDGE_OF_RANGE,
            f"focus seems to lie at {vertex_mm:.6g} mm, beyond the edge of the range at {bound_mm:.6g} mm",
        )

    def _towards(self, posterior: FocusPosterior) -> float | SearchOutcome:
        """Go on to the vertex, past it, or to its other side; or settle there."""
        vertex_mm = self._reachable(posterior)
        offset = np.array([s.working_distance_mm - vertex_mm for s in self._scans]) / self._depth_mm
        nearest, next_nearest = np.sort(np.abs(offset))[:2]
        bracketed = _brackets(offset)
        pinned = nearest < NEAR_DEPTHS or (bracketed and nearest < NEAR_BRACKETED_DEPTHS)
        if self._nearest(vertex_mm).working_distance_mm == self._start_mm:
            # To stay needs a look at both sides: no model of blur is good enough to tell from one.
            pinned = pinned and min(-offset.min(), offset.max()) > NEAR_DEPTHS
        sure = (
            posterior.sd_mm < NARROW_DEPTHS * self._depth_mm
            and ERROR_OF_DISTANCE * next_nearest < NEAR_DEPTHS
            and len(self._scans) >= self._least_scans
        )
        if pinned and sure:
            return self._found(posterior)
        wanted = vertex_mm
        if nearest < NEAR_DEPTHS:
            wanted = vertex_mm - self._open_side(offset) * BRACKETING_STEP_DEPTHS * self._depth_mm
        elif (offset < 0.0).all() or (offset > 0.0).all():
            least, most = PAST_VERTEX_DEPTHS
            past = min(max(least, PAST_VERTEX_SDS * posterior.sd_mm / self._depth_mm), most)
            wanted = vertex_mm - math.copysign(past, offset[0]) * self._depth_mm
        other_side = 2.0 * vertex_mm - wanted
        for place_mm in (wanted, other_side, vertex_mm):
            if self._is_new(self._clipped(place_mm)):
                return self._clipped(place_mm)
        return self._found(posterior)

    def _without_model(self, posterior: FocusPosterior) -> float | SearchOutcome:
        """The model leaves too much unexplained: go on from these scans by Brent's method."""
        brent = brent_by_shape(self._scans, self._prior, posterior, max_scans=self._max_scans)
        place_mm = brent.ask()
        if place_mm is not None:
            return place_mm
        found = brent.outcome
        if found.working_distance_mm is None:
            return self._nothing_to_see(posterior)
        seen, seen_mm = self._shown(found.working_distance_mm)
        return replace(found, verified_by=seen, verified_at_mm=seen_mm, by_shape=True)

    def _reachable(self, posterior: FocusPosterior) -> float:
        """Where focus is, but not far beyond the scans where the model of blur is in doubt."""
        if not posterior.by_shape and posterior.misfit < MISFIT:
            return posterior.mean_mm
        low_mm, *_, high_mm = sorted(scan.working_distance_mm for scan in self._scans)
        reach_mm = IN_DOUBT_REACH * (high_mm - low_mm)
        return min(max(posterior.mean_mm, low_mm - reach_mm), high_mm + reach_mm)

    def _open_side(self, offset: np.ndarray) -> float:
        """1 where the scans that matter lie above the vertex, so that the next belongs below, else -1."""
        if _brackets(offset):
            return -math.copysign(1.0, offset[np.argmax(np.abs(offset))])
        return math.copysign(1.0, offset[np.argsort(np.abs(offset))[1]])

    def _found(self, posterior: FocusPosterior) -> float | SearchOutcome:
        if posterior.misfit > MISFIT:
            return self._without_model(posterior)
        answer_mm = self._finished(posterior)
        return self._ended(
            answer_mm,
            SearchResult.FOUND,
            f"settled after {len(self._scans)} scans, within {1000.0 * posterior.sd_mm:.3g} um",
        )

    def _spent(self) -> SearchOutcome:
        """The budget is spent: the vertex if it was seen, else the scan that is likely the nearest to it."""
        posterior = self._posterior
        if posterior is None:
            return SearchOutcome(None, SearchResult.BUDGET, "nothing was scanned")
        if self._asked >= self._max_scans and posterior.sd_mm > UNSETTLED_DEPTHS * self._depth_mm:
            return self._nothing_to_see(posterior)
        reason = f"not settled after {len(self._scans)} scans"
        scan = self._nearest(posterior.mean_mm)
        near = abs(scan.working_distance_mm - posterior.mean_mm) < VERIFIED_DEPTHS * self._depth_mm
        settled = posterior.sd_mm < NARROW_DEPTHS * self._depth_mm
        answer_mm = self._finished(posterior) if near or settled else scan.working_distance_mm
        return self._ended(self._clipped(answer_mm), SearchResult.BUDGET, reason)

    def _nothing_to_see(self, posterior: FocusPosterior) -> SearchOutcome:
        reason = f"{len(self._scans)} scans leave focus uncertain by {1000.0 * posterior.sd_mm:.3g} um"
        return self._ended(self._start_mm, SearchResult.NO_PEAK, reason)

    def _ended(self, answer_mm: float, result: SearchResult, reason: str) -> SearchOutcome:
        """Give the answer with all its evidence."""
        posterior = self._posterior
        if posterior is None:
            return SearchOutcome(answer_mm, result, reason)
        seen, seen_mm = self._shown(answer_mm)
        return SearchOutcome(
            working_distance_mm=answer_mm,
            result=result,
            reason=reason,
            verified_by=seen,
            verified_at_mm=seen_mm,
            mean_mm=posterior.mean_mm,
            sd_um=1000.0 * posterior.sd_mm,
            depth_of_field_um=posterior.depth_of_field_um,
            depth_of_field_sd_um=posterior.depth_of_field_um * posterior.depth_log_sd,
            by_shape=posterior.by_shape,
            probability_nearer=posterior.probability_nearer(answer_mm, self._start_mm),
        )

    def _shown(self, answer_mm: float) -> tuple[Measurement | None, float | None]:
        """Give the scan that shows what an answer is worth, and its place, if there is one."""
        scan = self._nearest(answer_mm)
        away_mm = abs(scan.working_distance_mm - answer_mm)
        within = NEAR_DEPTHS if scan.working_distance_mm == self._start_mm else VERIFIED_DEPTHS
        if away_mm > within * self._depth_mm:
            return None, None
        return scan.measurement, scan.working_distance_mm

    def _finished(self, posterior: FocusPosterior) -> float:
        return finished(self._scans, posterior.mean_mm, self._depth_mm, by_shape=posterior.by_shape)

    def _nearest(self, place_mm: float) -> Scan:
        return min(self._scans, key=lambda scan: abs(scan.working_distance_mm - place_mm))

    def _distance_mm(self, place_mm: float) -> float:
        """From a place to the nearest scan."""
        return abs(self._nearest(place_mm).working_distance_mm - place_mm)

    def _is_new(self, place_mm: float) -> bool:
        return self._distance_mm(place_mm) >= SAME_PLACE_DEPTHS * self._depth_mm

    def _clipped(self, place_mm: float) -> float:
        return min(max(place_mm, self._prior.low_mm), self._prior.high_mm)


def _brackets(offset: np.ndarray) -> bool:
    """Whether scans lie well to either side of the vertex."""
    least, most = BRACKET_DEPTHS
    below = (offset < -least) & (offset > -most)
    above = (offset > least) & (offset < most)
    return bool(below.any() and above.any())
