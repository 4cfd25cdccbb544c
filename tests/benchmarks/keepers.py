"""Ways to keep a long scan in focus: not at all, as published, and focusd's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from focusd.frame import Pixels
from focusd.records import RefocusRecord, RefocusTrigger, ScanRole
from tests.benchmarks import peers
from tests.benchmarks.detectors import PUBLISHED_RATIO
from tests.benchmarks.drive import Daemon, configuration
from tests.benchmarks.landscape import Landscape
from tests.benchmarks.scan_result import Spent
from tests.benchmarks.world import Scope

PUBLISHED_MAXITER = 6
TIMES_TAKEN_AT_MOST = 4
"""So often is a tile taken at most, as in the demo's acquisition."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One take of a tile."""

    defocus_depths: float
    """*Judge.* Distance from focus at which the picture was taken."""
    again: frozenset[int] = frozenset()
    """Tiles to take again."""


class Keeper(ABC):
    """Takes the tiles of one scan and looks after their focus.

    Args:
        ground: The tiles and their microscope.

    Attributes:
        alarms: How often something was done about focus.
        stride: Only every so many tiles are taken; more than one where no tile depends on those before.
        searched_from_depths: *Judge.* Distance from focus at which each search was begun.
    """

    stride = 1

    def __init__(self, ground: Landscape) -> None:
        self.scope = ground.scope
        self.alarms = 0
        self.searched_from_depths: list[float] = []

    @abstractmethod
    def take(self, tile: int, times_taken: int) -> Taken:
        """Take a tile that the stage has come to and that was taken so often before."""

    def picture(self) -> tuple[Pixels, float]:
        """Scan, and tell how far from focus that was."""
        pixels = self.scope.scan()
        return pixels, defocus_of_scan(self.scope, -1)

    def search(self) -> None:
        """Run the published search."""
        self.alarms += 1
        self.searched_from_depths.append(self.scope.defocus_depths)
        peers.published(self.scope, maxiter=PUBLISHED_MAXITER)


def defocus_of_scan(scope: Scope, index: int) -> float:
    """*Judge.* Distance from focus of one of the scans taken so far, in D."""
    return scope.column.scans[index].defocus_um / 1000.0 / scope.depth_mm


class Never(Keeper):
    """Leaves the lens alone."""

    def take(self, tile: int, times_taken: int) -> Taken:
        """Scan."""
        return Taken(self.picture()[1])


class EveryTile(Keeper):
    """Runs the published search before every tile.

    It searches the whole range and knows nothing of the tile before, so a sample of the tiles tells all.
    """

    stride = 4

    def take(self, tile: int, times_taken: int) -> Taken:
        """Search, and scan."""
        self.search()
        return Taken(self.picture()[1])


class Published(Keeper):
    """Runs the published search when the published score falls below a share of the first tile's."""

    def __init__(self, ground: Landscape) -> None:
        super().__init__(ground)
        self._baseline: float | None = None

    def take(self, tile: int, times_taken: int) -> Taken:
        """Scan and compare; when it is below, search and have the tile taken once more."""
        pixels, defocus = self.picture()
        score = peers.laplacian_variance(pixels)
        if self._baseline is None:
            self._baseline = score
        if times_taken or score >= PUBLISHED_RATIO * self._baseline:
            return Taken(defocus)
        self.search()
        return Taken(defocus, frozenset({tile}))


class Own(Keeper):
    """focusd takes the tiles, and the acquisition does what its answers call for, as the README says.

    After a refocus the tile is taken again, and the tiles since the first below the baseline.

    Args:
        ground: The tiles and their microscope.
        daemon: focusd, connected to it.

    Attributes:
        spent: What went beyond one scan a tile, by what it was for.
    """

    def __init__(self, ground: Landscape, daemon: Daemon) -> None:
        super().__init__(ground)
        self.spent: dict[str, Spent] = {}
        self._daemon = daemon
        self._tile_of_frame: dict[int, int] = {}

    def take(self, tile: int, times_taken: int) -> Taken:
        """Let focusd scan and judge the tile."""
        before = len(self.scope.column.scans)
        dose_before = self.scope.dose_frames
        answer = self._daemon.scan()
        defocus = defocus_of_scan(self.scope, before)
        verdict, refocus = answer.verdict, answer.refocus
        if times_taken:
            self._spend("tiles taken again", 1, 1.0)
        self._tile_of_frame[verdict.frame_id] = tile
        if refocus is None:
            return Taken(defocus)
        scans, dose = len(self.scope.column.scans) - before - 1, self.scope.dose_frames - dose_before - 1.0
        self._spend(_purpose(refocus), scans, dose)
        self.alarms += 1
        if any(scan.role in {ScanRole.SEARCH, ScanRole.VERIFICATION} for scan in refocus.scans):
            self.searched_from_depths.append(defocus)
        if refocus.result is None or not refocus.result.is_success:
            return Taken(defocus)
        since = verdict.reacquire_from or verdict.frame_id
        return Taken(defocus, frozenset(one for frame, one in self._tile_of_frame.items() if frame >= since))

    def _spend(self, purpose: str, scans: int, dose_frames: float) -> None:
        known = self.spent.get(purpose, Spent())
        self.spent[purpose] = Spent(known.times + 1, known.scans + scans, known.dose_frames + dose_frames)


class Following(Own):
    """The same, and before each tile the acquisition says where it is, so that the lens may go ahead of it.

    Args:
        ground: The tiles and their microscope.
        daemon: focusd, connected to it.
    """

    def __init__(self, ground: Landscape, daemon: Daemon) -> None:
        super().__init__(ground, daemon)
        self._places = ground.scan.positions_mm()

    def take(self, tile: int, times_taken: int) -> Taken:
        """Come to a checkpoint, then let focusd scan and judge the tile."""
        done = self._daemon.checkpoint(*self._places[tile])
        if done is not None and done.prediction is not None and done.prediction.applied:
            self._spend("moves to a predicted focus", 0, 0.0)
        return super().take(tile, times_taken)


def _purpose(refocus: RefocusRecord) -> str:
    """Say what a refocus was good for."""
    if refocus.trigger is RefocusTrigger.FIRST_FRAME:
        return "first focus and baseline"
    if refocus.result is not None and refocus.result.is_success:
        return "refocuses"
    return "probes in vain" if all(scan.role in _OF_A_PROBE for scan in refocus.scans) else "searches in vain"


_OF_A_PROBE = frozenset({ScanRole.START, ScanRole.PROBE})


@contextmanager
def _own(ground: Landscape, *, kind: type[Own] = Own, probe_suspicion: bool = True) -> Iterator[Keeper]:
    config = configuration(ground.scope)
    refocus = config.refocus.model_copy(update={"probe_suspicion": probe_suspicion})
    with Daemon(ground.scope, config.model_copy(update={"refocus": refocus}), clock=ground.clock) as daemon:
        yield kind(ground, daemon)


OWN = "focusd"
OWN_FOLLOWING = "focusd, told where the tiles are"
OWN_AT_ALARMS = "focusd, probe at alarms only"
EVERY_TILE = "published search every tile"
PUBLISHED = "published detect + focus"
WAYS: Mapping[str, Callable[[Landscape], AbstractContextManager[Keeper]]] = MappingProxyType(
    {
        "never refocus": lambda ground: nullcontext(Never(ground)),
        EVERY_TILE: lambda ground: nullcontext(EveryTile(ground)),
        PUBLISHED: lambda ground: nullcontext(Published(ground)),
        OWN_AT_ALARMS: partial(_own, probe_suspicion=False),
        OWN: _own,
        OWN_FOLLOWING: partial(_own, kind=Following),
    }
)
