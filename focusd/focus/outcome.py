"""How a search ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from focusd.focus.measure import Measurement


class SearchResult(StrEnum):
    """Why a search has nothing more to ask."""

    FOUND = "found"
    NO_PEAK = "no_peak"
    """Sharpness does not depend on the working distance: there is nothing to focus on."""
    EDGE_OF_RANGE = "edge_of_range"
    """The sharpest picture is the one at a bound; focus may lie beyond."""
    BUDGET = "budget"
    """All scans are spent; the working distance is the best so far."""


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """Where focus is, as far as the search knows; ``None`` while nothing was scanned.

    What follows the reason is evidence that only searches with a posterior have.
    """

    working_distance_mm: float | None
    result: SearchResult
    reason: str
    verified_by: Measurement | None = None
    """A scan that the search took so near to the answer that no fresh one is needed to judge it."""
    verified_at_mm: float | None = None
    """Where that scan was taken."""
    mean_mm: float | None = None
    """Mean of the posterior of focus."""
    sd_um: float | None = None
    """Its standard deviation."""
    depth_of_field_um: float | None = None
    """As this run saw it."""
    depth_of_field_sd_um: float | None = None
    """Its standard deviation."""
    by_shape: bool = False
    """Whether the scans differ in gain, so that only the shapes of their spectra tell of focus."""
    probability_nearer: float | None = None
    """Probability that the answer is nearer to focus than the start."""
