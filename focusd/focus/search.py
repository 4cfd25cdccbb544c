"""The searches for focus by name; what they have in common is in ``asking``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from focusd.focus.asking import Search
from focusd.focus.brent import BrentSearch
from focusd.focus.brent_wide import BrentWideSearch
from focusd.focus.depth import LearnedDepth
from focusd.focus.metrics import metric as known_metric
from focusd.focus.outcome import SearchOutcome, SearchResult
from focusd.focus.spectral import SpectralSearch
from focusd.focus.spectrum import RadialSpectrum

# What all searches share has files of its own only because they need it; to users it belongs here.
__all__ = ["METHODS", "Search", "SearchOutcome", "SearchResult", "SearchTask", "make_search"]


@dataclass(frozen=True, slots=True)
class SearchTask:
    """What a search is given."""

    start_mm: float
    low_mm: float
    high_mm: float
    depth_of_field_um: float
    max_scans: int
    metric: str
    wide_maxiter: int
    prior: LearnedDepth | None = None
    """The depth of field as past runs have it."""
    reference: RadialSpectrum | None = None
    """Of an in-focus picture of like material."""


def _brent(task: SearchTask) -> Search:
    return BrentSearch(
        start_mm=task.start_mm,
        low_mm=task.low_mm,
        high_mm=task.high_mm,
        depth_of_field_um=task.depth_of_field_um,
        max_scans=task.max_scans,
        metric=task.metric,
        prior=task.prior,
    )


def _brent_wide(task: SearchTask) -> Search:
    return BrentWideSearch(
        low_mm=task.low_mm, high_mm=task.high_mm, maxiter=task.wide_maxiter, max_scans=task.max_scans
    )


def _spectral(task: SearchTask) -> Search:
    return SpectralSearch(
        start_mm=task.start_mm,
        low_mm=task.low_mm,
        high_mm=task.high_mm,
        depth_of_field_um=task.depth_of_field_um,
        max_scans=task.max_scans,
        prior=task.prior,
        reference=task.reference,
    )


METHODS: Mapping[str, Callable[[SearchTask], Search]] = MappingProxyType(
    {
        "brent": _brent,
        "brent-wide": _brent_wide,
        "spectral": _spectral,
    }
)


def make_search(  # noqa: PLR0913 - one keyword for each fact that a search begins with
    method: str,
    *,
    start_mm: float,
    low_mm: float,
    high_mm: float,
    depth_of_field_um: float,
    max_scans: int,
    metric: str,
    wide_maxiter: int,
    prior: LearnedDepth | None = None,
    reference: RadialSpectrum | None = None,
) -> Search:
    """Start a search.

    Args:
        method: A name from ``METHODS``.
        start_mm: Where the lens stands.
        low_mm: Lowest working distance that may be asked for.
        high_mm: Highest.
        depth_of_field_um: Defocus that adds one pixel of blur.
        max_scans: Most scans the search may ask for, the one at the start included.
        metric: A name from ``METRICS``; ``brent`` maximises it.
        wide_maxiter: Evaluations of ``brent-wide``.
        prior: The depth of field as past runs have it, in place of ``depth_of_field_um``; see ``depth``.
        reference: Spectrum of an in-focus picture of like material, of the same shape and condition;
            ``spectral`` lets it choose the first step.

    Raises:
        ValueError: an unknown method or metric, or numbers that make no sense.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known are {', '.join(METHODS)}")
    if not low_mm < high_mm:
        raise ValueError(f"low_mm must be below high_mm, got {low_mm:g} and {high_mm:g}")
    if depth_of_field_um <= 0.0 or max_scans < 1:
        raise ValueError(
            f"depth_of_field_um and max_scans must be positive, got {depth_of_field_um:g} and {max_scans}"
        )
    known_metric(metric)
    return METHODS[method](
        SearchTask(
            start_mm, low_mm, high_mm, depth_of_field_um, max_scans, metric, wide_maxiter, prior, reference
        )
    )
