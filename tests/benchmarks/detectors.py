"""Ways to notice from production tiles alone that focus is lost: focusd's, and the published one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from focusd.config import DriftSettings
from focusd.focus.baseline import BaselineLearner
from focusd.focus.drift import DriftDetector, DriftState, RatioDetector
from focusd.focus.spectrum import Score
from tests.benchmarks.tiles import Tile

OWN_DEFAULT = "focusd"
PUBLISHED = "published, below 0.7"
PUBLISHED_SCORE = "laplacian_variance"
PUBLISHED_RATIO = 0.7
LEARN_FRAMES = 30


class Watch(Protocol):
    """Follows one scan of tiles."""

    def learn(self, tiles: Sequence[Tile]) -> None:
        """Take in tiles that are known to be in focus."""

    def fold(self, tile: Tile) -> bool:
        """Look at the next tile; say whether focus is lost. After an alarm it starts afresh."""


class OwnWatch:
    """One of focusd's detectors, fed as the monitor feeds it.

    Args:
        detector: The detector.
        metric: What it looks at.
        learn_frames: Judgeable frames whose median makes the baseline.
    """

    def __init__(self, detector: DriftDetector, metric: str, learn_frames: int) -> None:
        self._detector = detector
        self._metric = metric
        self._learner = BaselineLearner(learn_frames)
        self._baseline: Mapping[str, float] | None = None
        self._count = 0

    def learn(self, tiles: Sequence[Tile]) -> None:
        """Make the baseline; with too few judgeable tiles, of those there are."""
        for tile in tiles:
            if tile.judgeable and self._baseline is None:
                self._baseline = self._learner.fold(tile.scores)
        if self._baseline is None:
            scores = [tile.scores[self._metric].value for tile in tiles if tile.judgeable]
            self._baseline = {self._metric: median(scores)} if scores else None

    def fold(self, tile: Tile) -> bool:
        """Judge a tile; one that cannot be judged is passed over."""
        self._count += 1
        if self._baseline is None or not tile.judgeable:
            return False
        decision = self._detector.fold(self._count, tile.scores[self._metric], self._baseline[self._metric])
        if decision.verdict is not DriftState.OUT_OF_FOCUS:
            return False
        self._detector.reset()
        return True


class PublishedWatch:
    """The published detector: the Laplacian's variance below a share of the baseline's.

    Args:
        ratio: The share.
        in_a_row: Tiles below that make an alarm; one as published.
    """

    def __init__(self, ratio: float, in_a_row: int = 1) -> None:
        self._ratio = ratio
        self._in_a_row = in_a_row
        self._baseline = 0.0
        self._below = 0

    def learn(self, tiles: Sequence[Tile]) -> None:
        """Take the median as the baseline."""
        self._baseline = median(tile.scores[PUBLISHED_SCORE].value for tile in tiles)

    def fold(self, tile: Tile) -> bool:
        """Judge a tile, whatever is on it."""
        value: Score = tile.scores[PUBLISHED_SCORE]
        self._below = self._below + 1 if value.value < self._ratio * self._baseline else 0
        if self._below < self._in_a_row:
            return False
        self._below = 0
        return True


@dataclass(frozen=True, slots=True)
class Candidate:
    """A detector in the contest."""

    name: str
    start: Callable[[], Watch]
    is_variant: bool = False
    """Whether it is one of many settings, of which only the best is shown."""


def own_detector(settings: DriftSettings) -> DriftDetector:
    """Give the detector that the service would use."""
    return RatioDetector(
        threshold_ratio=settings.threshold_ratio,
        frames_below=settings.frames_below,
        frames_window=settings.frames_window,
    )


def candidates() -> list[Candidate]:
    """All detectors of the contest; a new one of focusd's gets a line here."""
    settings = DriftSettings()

    def own(learn_frames: int, drift: DriftSettings = settings) -> Callable[[], Watch]:
        return lambda: OwnWatch(own_detector(drift), drift.metric, learn_frames)

    three = settings.model_copy(update={"frames_below": 3, "frames_window": 3})
    return [
        Candidate(OWN_DEFAULT, own(LEARN_FRAMES)),
        Candidate("focusd, 3 in a row", own(LEARN_FRAMES, three)),
        Candidate("focusd, baseline of one frame", own(1)),
        Candidate(PUBLISHED, lambda: PublishedWatch(PUBLISHED_RATIO)),
        *_published_variants(),
    ]


def _published_variants() -> list[Candidate]:
    """The published score at many thresholds, to see whether any of them would do."""

    def variant(percent: int, in_a_row: int) -> Candidate:
        name = f"published score, below {percent / 100:g}, {in_a_row} in a row"
        return Candidate(name, lambda: PublishedWatch(percent / 100, in_a_row), is_variant=True)

    return [variant(percent, in_a_row) for in_a_row in (1, 2, 3) for percent in range(20, 100, 5)]
