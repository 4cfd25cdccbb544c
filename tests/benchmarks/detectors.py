"""Ways to notice from production tiles alone that focus is lost: focusd's, and the published one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from focusd.config import BaselineSettings, DriftSettings
from focusd.focus.baseline import BaselineLearner, RunningReference
from focusd.focus.drift import DETECTORS, DriftDetector, DriftState, make_detector
from focusd.focus.probe import LOST_DEPTHS
from focusd.focus.spectrum import Score
from tests.benchmarks.tiles import Tile

OWN_DEFAULT = "focusd"
OWN_SUSPICION = "focusd, first suspicion"
"""What is probed where frames are taken on request."""
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

    An alarm is probed, and a frame that the probe finds in focus teaches the reference; here the judge tells.
    How surely the probe tells is in its own table.

    Args:
        detector: The detector.
        metric: What it looks at.
        learn_frames: Judgeable frames whose median makes the baseline.
        follow_frames: Frames in focus whose median the reference follows.
    """

    def __init__(self, detector: DriftDetector, metric: str, learn_frames: int, follow_frames: int) -> None:
        self._detector = detector
        self._metric = metric
        self._learner = BaselineLearner(learn_frames)
        self._follow_frames = follow_frames
        self._reference: RunningReference | None = None
        self._count = 0

    def learn(self, tiles: Sequence[Tile]) -> None:
        """Make the baseline, and judge what comes after; with too few judgeable tiles, of those there are."""
        for tile in tiles:
            if self._reference is not None:
                self.fold(tile)
            elif tile.judgeable:
                learnt = self._learner.fold(tile.scores)
                self._reference = self._follow(learnt[self._metric]) if learnt else None
        scores = [tile.scores[self._metric].value for tile in tiles if tile.judgeable]
        if self._reference is None and scores:
            self._reference = self._follow(median(scores))

    def fold(self, tile: Tile) -> bool:
        """Judge a tile; one that cannot be judged is passed over."""
        self._count += 1
        if self._reference is None or not tile.judgeable:
            return False
        score = tile.scores[self._metric]
        decision = self._detector.fold(self._count, score, self._reference.value)
        if decision.may_teach:
            self._reference.learn(score.value)
        if decision.verdict is not DriftState.OUT_OF_FOCUS:
            return False
        self._detector.reset()
        if tile.defocus_depths < LOST_DEPTHS:
            self._reference.learn(score.value, verified=True)
        return True

    def _follow(self, anchor: float) -> RunningReference:
        return RunningReference(anchor, self._follow_frames)


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
    return make_detector(settings.detector, settings)


def candidates() -> list[Candidate]:
    """All detectors of the contest; focusd's begin with a baseline of one frame, as in the daemon."""
    settings = DriftSettings()

    def own(
        learn_frames: int = 1, follow_frames: int = BaselineSettings().follow_frames, **drift: object
    ) -> Callable[[], Watch]:
        changed = settings.model_copy(update=drift)
        return lambda: OwnWatch(own_detector(changed), changed.metric, learn_frames, follow_frames)

    fixed = "reference fixed"
    return [
        Candidate(OWN_DEFAULT, own()),
        Candidate(
            OWN_SUSPICION,
            own(threshold_ratio=settings.suspect_ratio, frames_below=1, frames_window=1),
        ),
        *(
            Candidate(f"focusd, {name}", own(detector=name))
            for name in DETECTORS
            if name != settings.detector
        ),
        Candidate("focusd, thrice in a row", own(detector="ratio", frames_below=3, frames_window=3)),
        Candidate(f"focusd, {fixed}", own(follow_frames=0)),
        Candidate(f"focusd, {fixed} by {LEARN_FRAMES} frames", own(LEARN_FRAMES, follow_frames=0)),
        Candidate(PUBLISHED, lambda: PublishedWatch(PUBLISHED_RATIO)),
        *_published_variants(),
    ]


def _published_variants() -> list[Candidate]:
    """The published score at many thresholds, to see whether any of them would do."""

    def variant(percent: int, in_a_row: int) -> Candidate:
        name = f"published score, below {percent / 100:g}, {in_a_row} in a row"
        return Candidate(name, lambda: PublishedWatch(percent / 100, in_a_row), is_variant=True)

    return [variant(percent, in_a_row) for in_a_row in (1, 2, 3) for percent in range(20, 100, 5)]
