"""Ways to keep a long scan in focus: not at all, as published, and focusd's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType

from focusd.config import DriftSettings, RefocusSettings
from focusd.focus.drift import DriftState
from focusd.focus.measure import measure
from focusd.focus.spectrum import Score
from focusd.frame import Pixels
from focusd.service.attempts import Attempts
from tests.benchmarks import drive, peers
from tests.benchmarks.detectors import PUBLISHED_RATIO, own_detector
from tests.benchmarks.landscape import Clock
from tests.benchmarks.world import Scope

PUBLISHED_MAXITER = 6
TIMES_TAKEN_AT_MOST = 4
"""So often is a tile taken at most, as in the demo's acquisition."""


class Keeper(ABC):
    """Looks after the focus of one scan of tiles.

    Attributes:
        searched_from_depths: *Judge.* Distance from focus at which each search was begun.
    """

    def __init__(self) -> None:
        self.searched_from_depths: list[float] = []

    def before(self, scope: Scope) -> None:  # noqa: B027 - most have nothing to do before a tile
        """The stage has come to a tile that is to be taken."""

    @abstractmethod
    def after(self, scope: Scope, tile: int, pixels: Pixels, times_taken: int) -> set[int]:
        """A tile has been taken; give the tiles to take again."""

    def search(self, scope: Scope) -> None:
        """Run the published search."""
        self.searched_from_depths.append(scope.defocus_depths)
        peers.published(scope, maxiter=PUBLISHED_MAXITER)


class Never(Keeper):
    """Leaves the lens alone."""

    def after(self, scope: Scope, tile: int, pixels: Pixels, times_taken: int) -> set[int]:
        """Nothing."""
        return set()


class EveryTile(Keeper):
    """Runs the published search before every tile."""

    def before(self, scope: Scope) -> None:
        """Search."""
        self.search(scope)

    def after(self, scope: Scope, tile: int, pixels: Pixels, times_taken: int) -> set[int]:
        """Nothing."""
        return set()


class Published(Keeper):
    """Runs the published search when the published score falls below a share of the first tile's."""

    def __init__(self) -> None:
        super().__init__()
        self._baseline: float | None = None

    def after(self, scope: Scope, tile: int, pixels: Pixels, times_taken: int) -> set[int]:
        """Compare; search and take the tile once more when it is below."""
        score = peers.laplacian_variance(pixels)
        if self._baseline is None:
            self._baseline = score
        if times_taken > 1 or score >= PUBLISHED_RATIO * self._baseline:
            return set()
        self.search(scope)
        return {tile}


class Own(Keeper):
    """focusd's way, as its service and the demo's acquisition go about it together.

    The first frame is focused and taken once more as the baseline; a suspect tile is taken again at once;
    focus lost leads to a refocus, and the tiles since the first below the baseline are taken again.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._drift = DriftSettings()
        self._detector = own_detector(self._drift)
        refocus = RefocusSettings()
        self._attempts = Attempts(refocus.attempts, refocus.cool_down_s, clock)
        self._baseline: Mapping[str, Score] | None = None
        self._tile_of_frame: list[int] = []

    def after(self, scope: Scope, tile: int, pixels: Pixels, times_taken: int) -> set[int]:
        """Judge the tile as the monitor does, and act on it as the keeper does."""
        frame = len(self._tile_of_frame)
        self._tile_of_frame.append(tile)
        measurement = measure(pixels, (self._drift.metric,))
        if not measurement.quality.judgeable:
            return set()
        if self._baseline is None:
            return self._refocused(scope, pixels, since=frame)
        metric = self._drift.metric
        decision = self._detector.fold(frame, measurement.scores[metric], self._baseline[metric].value)
        if decision.verdict is DriftState.SUSPECT:
            return {tile}
        if decision.verdict is DriftState.OUT_OF_FOCUS:
            first = decision.first_below
            return self._refocused(scope, pixels, since=frame if first is None else first)
        return set()

    def _refocused(self, scope: Scope, pixels: Pixels, *, since: int) -> set[int]:
        """Refocus unless focusd has given up for now; give the tiles lost since a frame."""
        if self._attempts.exhausted:
            return set()
        self.searched_from_depths.append(scope.defocus_depths)
        driven = drive.refocus(scope, drive.settings_for(RefocusSettings().method, scope), first=pixels)
        if driven.verified is None:
            self._attempts.failed()
            return set()
        self._attempts.reset()
        self._detector.reset()
        if self._baseline is None:
            reference = driven.verified
            if drive.focus_region(scope) is not None:
                # The refocus has looked at a part of the frame only; the reference is a whole one.
                reference = measure(scope.scan(), (self._drift.metric,))
            self._baseline = reference.scores if reference.quality.judgeable else None
        return set(self._tile_of_frame[since:])


OWN = "focusd"
EVERY_TILE = "published search every tile"
PUBLISHED = "published detect + focus"
WAYS: Mapping[str, Callable[[Clock], Keeper]] = MappingProxyType(
    {
        "never refocus": lambda _: Never(),
        EVERY_TILE: lambda _: EveryTile(),
        PUBLISHED: lambda _: Published(),
        OWN: Own,
    }
)
