"""Focus searches that others publish or ship, short versions after their descriptions.

Each takes the microscope as it stands and leaves it where it thinks focus is. Settings that a peer gives in
metres keep their ratio of range to step and are given in depths of field. None of them verifies its answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from focusd.focus.spectrum import RadialSpectrum, radial_spectrum
from focusd.frame import Pixels
from tests.benchmarks.world import Scope

Search = Callable[[Scope], None]
Sharpness = Callable[[Pixels], float]

PUBLISHED_MAXITER = (5, 6, 10)
PUBLISHED_REACH_DEPTHS = 10.0


def laplacian_variance(pixels: Pixels) -> float:
    """The published score."""
    return float(cv2.Laplacian(pixels, cv2.CV_64F).var())


def deviation(pixels: Pixels) -> float:
    """Odemis's score of an electron image: the standard deviation of its grey levels."""
    return float(pixels.std())


def edges(pixels: Pixels) -> float:
    """Micro-Manager's "Edges": mean gradient after a 3 x 3 median, over the mean grey level."""
    quiet = cv2.medianBlur(pixels, 3).astype(np.float32)
    return float(_gradient(quiet).mean() / max(float(quiet.mean()), 1e-6))


def energy_of_gradient(pixels: Pixels) -> float:
    """Mean squared gradient, as fibsem's sweeps use."""
    return float((_gradient(pixels.astype(np.float32)) ** 2).mean())


def central_edges(pixels: Pixels) -> float:
    """SBEMimage's edge score: mean gradient by Scharr's operator within a disk in the middle."""
    image = pixels.astype(np.float32)
    gradient = cv2.magnitude(cv2.Scharr(image, cv2.CV_32F, 1, 0), cv2.Scharr(image, cv2.CV_32F, 0, 1))
    rows, columns = image.shape
    y, x = np.ogrid[:rows, :columns]
    inside = (y - rows / 2) ** 2 + (x - columns / 2) ** 2 <= (min(rows, columns) / 3) ** 2
    return float(gradient[inside].mean())


def _gradient(image: NDArray[np.float32]) -> NDArray[np.float32]:
    right, down = cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1)
    return cv2.magnitude(right, down).astype(np.float32, copy=False)


def _score_at(scope: Scope, place_mm: float, sharpness: Sharpness) -> float:
    scope.move(place_mm)
    return sharpness(scope.scan())


def _range_mm(scope: Scope, half_range_depths: float) -> tuple[float, float]:
    """A range round the present working distance, within the limits."""
    here_mm, half_mm = scope.working_distance_mm, half_range_depths * scope.depth_mm
    low_mm, high_mm = scope.limits_mm
    return max(low_mm, here_mm - half_mm), min(high_mm, here_mm + half_mm)


def _bounded_brent(
    scope: Scope,
    objective: Callable[[Pixels], float],
    bounds_mm: tuple[float, float],
    *,
    maxiter: int = 100,
    tolerance_mm: float = 1e-5,
) -> None:
    result = minimize_scalar(
        lambda place_mm: _score_at(scope, place_mm, objective),
        bounds=bounds_mm,
        method="bounded",
        options={"maxiter": maxiter, "xatol": tolerance_mm},
    )
    scope.move(float(result.x))


def published(scope: Scope, *, maxiter: int, reach_depths: float | None = None) -> None:
    """The published call: bounded Brent on one over the Laplacian's variance, over the whole range.

    With ``reach_depths`` the range is so far to both sides of the present working distance instead.
    """
    bounds_mm = scope.limits_mm if reach_depths is None else _range_mm(scope, reach_depths)
    _bounded_brent(
        scope, lambda pixels: 1.0 / max(laplacian_variance(pixels), 1e-12), bounds_mm, maxiter=maxiter
    )


def micro_manager(scope: Scope, *, reach_depths: float) -> None:
    """OughtaFocus: bounded Brent on edges round the present place, range over tolerance as 10 to 1."""
    _bounded_brent(
        scope,
        lambda pixels: -edges(pixels),
        _range_mm(scope, reach_depths),
        tolerance_mm=reach_depths * scope.depth_mm / 10.0,
    )


def odemis(scope: Scope) -> None:
    """Odemis's "binary" autofocus on the standard deviation of grey levels.

    Compares the centre with a place on either side; moves to the best, and halves the distance when the
    centre is. Starts at 16 smallest steps, a smallest step being half a depth of field. Scans are kept for
    later comparisons only while the coarse phase lasts.
    """
    low_mm, high_mm = scope.limits_mm
    smallest_mm, steps, coarse = scope.depth_mm / 2.0, 16.0, True
    known: dict[float, float] = {}
    centre_mm = scope.working_distance_mm
    while steps >= 1.0:
        reach_mm = steps * smallest_mm
        places = (centre_mm, min(centre_mm + reach_mm, high_mm), max(centre_mm - reach_mm, low_mm))
        for place_mm in places:
            if not coarse or place_mm not in known:
                known[place_mm] = _score_at(scope, place_mm, deviation)
        best_mm = max(places, key=known.__getitem__)
        if best_mm == centre_mm:
            steps /= 2.0
            coarse = False
        elif not low_mm <= best_mm - reach_mm <= best_mm + reach_mm <= high_mm:
            steps /= 1.5
            coarse = coarse and steps > 8.0
        centre_mm = best_mm
    scope.move(centre_mm)


def fibsem(scope: Scope) -> None:
    """A coarse sweep of 11 places over 40 depths of field, then 11 over 8 round the sharpest of them."""
    best_score, best_mm = -math.inf, scope.working_distance_mm
    for half_range_depths in (20.0, 4.0):
        scope.move(best_mm)
        for place_mm in np.linspace(*_range_mm(scope, half_range_depths), 11):
            score = _score_at(scope, float(place_mm), energy_of_gradient)
            if score > best_score:
                best_score, best_mm = score, float(place_mm)
    scope.move(best_mm)


def sbemimage(scope: Scope) -> None:
    """SBEMimage's series of 5 working distances round the present one, and a parabola through their edges.

    The answer is kept within the series; a parabola that opens upwards is thrown away. (SBEMimage spreads
    the series over successive slices; here it is taken at once.)
    """
    start_mm = scope.working_distance_mm
    offsets = np.linspace(-6.0, 6.0, 5)
    scores = np.array(
        [_score_at(scope, start_mm + offset * scope.depth_mm, central_edges) for offset in offsets]
    )
    curvature, slope, _ = np.polyfit(offsets, scores / scores.max(), 2)
    best = float(np.clip(-slope / (2.0 * curvature), offsets[0], offsets[-1])) if curvature < 0 else 0.0
    scope.move(start_mm + best * scope.depth_mm)


class _SerialEm:
    """SerialEM's autofocus for scanned images, after its manual.

    First the power in a band of frequencies, background subtracted, is climbed in coarse steps until it
    falls. Then finer steps are taken so that two images lie on either side of the best. The width of the
    beam in each of the four is read off its spectrum against the best one's; lines through the two widths on
    either side meet at focus.
    """

    COARSE_DEPTHS = 5.0
    FINE_DEPTHS = 2.5
    BAND = (0.03, 0.25)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._spectra: dict[float, RadialSpectrum] = {}

    def run(self) -> None:
        best_mm = self._climb(self._scope.working_distance_mm, self.COARSE_DEPTHS)
        best_mm = self._climb(best_mm, self.FINE_DEPTHS)
        step_mm = self.FINE_DEPTHS * self._scope.depth_mm
        below, above = ([best_mm + side * n * step_mm for n in (1, 2)] for side in (-1, 1))
        self._scope.move(self._meeting(best_mm, below, above))

    def _power(self, place_mm: float) -> float:
        spectrum = self._spectrum(place_mm)
        band = (spectrum.frequency > self.BAND[0]) & (spectrum.frequency < self.BAND[1])
        return float(spectrum.modes[band] @ spectrum.signal(spectrum.corner_power)[band])

    def _spectrum(self, place_mm: float) -> RadialSpectrum:
        low_mm, high_mm = self._scope.limits_mm
        place_mm = round(min(max(place_mm, low_mm), high_mm), 9)
        if place_mm not in self._spectra:
            self._scope.move(place_mm)
            self._spectra[place_mm] = radial_spectrum(self._scope.scan())
        return self._spectra[place_mm]

    def _climb(self, here_mm: float, step_depths: float) -> float:
        """Go to the side where power rises, until it falls again."""
        step_mm = step_depths * self._scope.depth_mm
        low_mm, high_mm = self._scope.limits_mm
        for side in (1.0, -1.0):
            next_mm = here_mm + side * step_mm
            while low_mm <= next_mm <= high_mm and self._power(next_mm) > self._power(here_mm):
                here_mm, next_mm = next_mm, next_mm + side * step_mm
        return here_mm

    def _width_px(self, place_mm: float, best_mm: float) -> float:
        """Extra beam radius against the best image: the slope of the spectra's log ratio over frequency."""
        best, other = self._spectrum(best_mm), self._spectrum(place_mm)
        sharp, blurred = (s.signal(s.corner_power) for s in (best, other))
        clear = (sharp > 0.2 * best.corner_power) & (blurred > 0.2 * other.corner_power)
        clear &= best.frequency < self.BAND[1]
        if clear.sum() < 3:
            return math.nan
        fall = np.log(sharp[clear] / blurred[clear])
        slope = np.polyfit((math.pi * best.frequency[clear]) ** 2, fall, 1, w=np.sqrt(best.modes[clear]))[0]
        return math.sqrt(max(float(slope), 0.0))

    def _meeting(self, best_mm: float, below: list[float], above: list[float]) -> float:
        """Where the lines through the widths on either side meet."""
        lines = []
        for side in (below, above):
            first, second = (self._width_px(place_mm, best_mm) for place_mm in side)
            slope = (second - first) / (side[1] - side[0])
            lines.append((slope, first - slope * side[0]))
        (fall, falling), (rise, rising) = lines
        if math.isnan(fall + rise) or not fall < 0.0 < rise:
            return best_mm
        meeting_mm = (falling - rising) / (rise - fall)
        return min(max(meeting_mm, below[0]), above[0])


def serialem(scope: Scope) -> None:
    """SerialEM's autofocus for scanned images."""
    _SerialEm(scope).run()


def _published_variants() -> dict[str, Search]:
    def variant(maxiter: int, reach_depths: float | None) -> Search:
        return lambda scope: published(scope, maxiter=maxiter, reach_depths=reach_depths)

    wide = {f"published wide {n}": variant(n, None) for n in PUBLISHED_MAXITER}
    near = {f"published 10 D {n}": variant(n, PUBLISHED_REACH_DEPTHS) for n in PUBLISHED_MAXITER}
    return wide | near


PEERS: Mapping[str, Search] = MappingProxyType(
    {
        **_published_variants(),
        "Micro-Manager-like 10 D": lambda scope: micro_manager(scope, reach_depths=10.0),
        "Micro-Manager-like 45 D": lambda scope: micro_manager(scope, reach_depths=45.0),
        "Odemis-like": odemis,
        "fibsem-like": fibsem,
        "SerialEM-like": serialem,
        "SBEMimage-like": sbemimage,
    }
)
