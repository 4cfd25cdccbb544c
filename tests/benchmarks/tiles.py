"""Production tiles: small frames of a specimen whose texture changes from place to place.

A world is one kind of specimen. Its places are ordered by how fine and dense the texture is, and the walk of
the acquisition over them is slow, so neighbouring tiles resemble each other while over a long scan all kinds
come by. Some places are empty, several in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from focusd.focus.measure import measure
from focusd.focus.spectrum import Score
from focusd.simulator.options import SpecimenOptions
from focusd.simulator.specimen import Specimen
from tests.benchmarks.world import Scope, healthy_scope

WORLDS = ("neuropil", "gold", "porous")
DOSES = (20.0, 8.0)
LEVELS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Distances from focus at which every place is scanned, in D."""
REPEATS = 2
METRICS = ("band_ratio", "log_energy", "laplacian_variance")

_GRADES = 12
_COARSEST_PIXEL_NM, _FINEST_PIXEL_NM = 13.0, 8.0
_CONTRAST_PERCENT = 15.0
_PATCH_MM = 0.008
_FIELD_MM = 0.5
EMPTY = "resin"


@dataclass(frozen=True, slots=True)
class Place:
    """One place of a world at one dose."""

    world: str
    """Or ``EMPTY``."""
    dose: float
    share: float
    """Where it lies between the coarsest and sparsest texture (0) and the finest and densest (1)."""
    index: int
    side_px: int


@dataclass(frozen=True, slots=True)
class Tile:
    """What focusd reads off one production frame."""

    judgeable: bool
    scores: Mapping[str, Score]
    place: Place | None = None
    repeat: int = 0
    """Which of the scans at its level it is."""
    defocus_depths: float = 0.0
    """*Judge.* Distance from focus, in D."""


@dataclass(frozen=True, slots=True)
class Pool:
    """All tiles of a world at one dose: ``[place][level][repeat]``."""

    textured: Sequence[Sequence[Sequence[Tile]]]
    empty: Sequence[Sequence[Sequence[Tile]]]


@lru_cache(maxsize=2 * _GRADES * len(WORLDS))
def ground(world: str, grade: int) -> Specimen:
    """Give a world's specimen of one grade of fineness."""
    if world == EMPTY:
        return Specimen(SpecimenOptions(texture=EMPTY))
    share = grade / (_GRADES - 1)
    return Specimen(
        SpecimenOptions(
            texture=world,
            texture_pixel_nm=_COARSEST_PIXEL_NM + (_FINEST_PIXEL_NM - _COARSEST_PIXEL_NM) * share,
            contrast_variation_percent=_CONTRAST_PERCENT,
            patch_size_mm=_PATCH_MM,
            seed=1 + grade % 2,
        )
    )


def build_grounds(worlds: Sequence[str]) -> None:
    """Make the specimens of these worlds now, so that processes which part later share them."""
    for world in (*worlds, EMPTY):
        for grade in range(1 if world == EMPTY else _GRADES):
            ground(world, grade)


def scope_at(place: Place) -> Scope:
    """Give a microscope over a place, in focus; its scans are the same each time, noise and all."""
    random = np.random.default_rng([place.index, round(10 * place.dose), *place.world.encode()])
    grade = 0 if place.world == EMPTY else min(int(place.share * _GRADES), _GRADES - 1)
    scope = healthy_scope(
        ground(place.world, grade), dose=place.dose, seed=int(random.integers(2**31)), side_px=place.side_px
    )
    scope.column.move_stage(*random.uniform(-_FIELD_MM, _FIELD_MM, 2))
    return scope


def look_at(place: Place) -> list[list[Tile]]:
    """Scan a place at every level, each time with fresh noise, in focus first."""
    scope = scope_at(place)
    focus_mm = scope.column.options.best_focus_mm
    tiles = []
    for level in LEVELS:
        scope.move(focus_mm + level * scope.depth_mm)
        measurements = [measure(scope.scan(), METRICS) for _ in range(REPEATS)]
        tiles.append(
            [Tile(one.quality.judgeable, one.scores, place, i, level) for i, one in enumerate(measurements)]
        )
    return tiles


@dataclass(slots=True)
class Walk:
    """The acquisition's way over a pool of places.

    Args:
        pool: The places.
        random: Decides the way.
        empty_share: Share of the tiles that are empty, ...
        empty_run: ... and how many of them come in a row, on average.
    """

    pool: Pool
    random: np.random.Generator
    empty_share: float = 0.06
    empty_run: int = 3
    _density: float = field(init=False, default=0.0)
    _empty_left: int = field(init=False, default=0)

    MEMORY = 0.93
    """Correlation of the density of neighbouring tiles."""
    SCATTER = 0.05
    """Scatter of a place about the density of its neighbourhood, as a share of all places."""

    def __post_init__(self) -> None:
        self._density = float(self.random.normal())

    def tiles(self, count: int, defocus_at: Callable[[int], float]) -> list[Tile]:
        """Take so many tiles, each at its distance from focus in D."""
        return [self._next(abs(defocus_at(index))) for index in range(count)]

    def _next(self, defocus: float) -> Tile:
        fresh = np.sqrt(1.0 - self.MEMORY**2) * self.random.normal()
        self._density = self.MEMORY * self._density + float(fresh)
        if self._empty_left == 0 and self.random.uniform() < self.empty_share / self.empty_run:
            self._empty_left = 1 + int(self.random.poisson(self.empty_run - 1))
        level, repeat = self._level(defocus), int(self.random.integers(REPEATS))
        if self._empty_left:
            self._empty_left -= 1
            return self.pool.empty[int(self.random.integers(len(self.pool.empty)))][level][repeat]
        last = len(self.pool.textured) - 1
        place = 0.5 * (1.0 + np.tanh(0.8 * self._density)) + self.SCATTER * self.random.normal()
        return self.pool.textured[int(np.clip(place * last, 0, last))][level][repeat]

    def _level(self, defocus: float) -> int:
        """One of the two levels about this distance, at random so that their mean is right."""
        below = int(np.searchsorted(LEVELS, defocus, side="right")) - 1
        if below == len(LEVELS) - 1:
            return below
        share = (defocus - LEVELS[below]) / (LEVELS[below + 1] - LEVELS[below])
        return below + int(self.random.uniform() < share)
