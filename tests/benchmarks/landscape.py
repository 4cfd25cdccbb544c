"""The specimen of the whole-scan benchmark and its microscope: what loses focus during a long scan."""

from __future__ import annotations

from dataclasses import dataclass, field

from focusd.simulator.options import SpecimenOptions
from focusd.simulator.presets import TileScan
from focusd.simulator.specimen import Specimen
from tests.benchmarks.world import SIDE_PX, Scope, depth_of_field_mm, field_mm, healthy_scope

# All heights in depths of field, as they change from one tile to the next or over the whole block.
RISE_PER_COLUMN = 0.2
RISE_PER_ROW = 0.3
BUMPS = 1.5
BUMP_TILES = 6.0
STEPS = ((0.2, 6.0), (0.5, -7.0), (0.8, 5.0))
"""Sheer steps: how far into the scan, and how high."""
DRIFT = 10.0
"""Drift of the focus over the time that the bare tiles take."""
EMPTY_SHARE = 0.06
PATCH_TILES = 2.0

_OVERLAP_FREE = 1.016
STAGE_S = 1.0
SCAN_S = 0.5 + SIDE_PX**2 * 1e-6
"""Beam time of a tile and fly-back."""


@dataclass(slots=True)
class Clock:
    """Time that passes only with what is done: moves of the stage, and scans."""

    moves: int = 0
    scope: Scope | None = None

    def __call__(self) -> float:
        """Give the time in seconds."""
        scans = self.scope.scans if self.scope else 0
        return self.moves * STAGE_S + scans * SCAN_S


@dataclass(slots=True)
class Landscape:
    """A block of tiles under a microscope.

    Args:
        side: Tiles along each side of the block.
        dose: Electrons counted a pixel on mid-grey material.
        texture: The simulator's texture.
        seed: Decides relief, texture and noise.
        steps: Sheer steps of the surface; none leave tilt, bumps and drift.
    """

    side: int
    dose: float
    texture: str
    seed: int
    steps: tuple[tuple[float, float], ...] = STEPS
    clock: Clock = field(init=False, default_factory=Clock)
    scope: Scope = field(init=False)
    scan: TileScan = field(init=False)

    def __post_init__(self) -> None:
        self.scan = TileScan(self.side, self.side, pitch_mm=_OVERLAP_FREE * field_mm())
        depth_um = 1000.0 * depth_of_field_mm()
        self.scope = healthy_scope(
            Specimen(self._options(depth_um)),
            dose=self.dose,
            seed=self.seed,
            side_px=SIDE_PX,
            drift_um_per_hour=DRIFT * depth_um / (self.tiles * (STAGE_S + SCAN_S) / 3600.0),
            clock=self.clock,
        )
        self.clock.scope = self.scope
        self.go_to(0)
        # The operator has focused on the first tile.
        self.scope.move(self.scope.column.best_focus_mm())

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.side**2

    def go_to(self, tile: int) -> None:
        """Move the stage."""
        self.scope.column.move_stage(*self.scan.positions_mm()[tile])
        self.clock.moves += 1

    def place(self, tile: int) -> tuple[int, int]:
        """Row and column of a tile; every other row is scanned backwards."""
        row, along = divmod(tile, self.side)
        return row, along if row % 2 == 0 else self.side - 1 - along

    def by_place(self) -> list[int]:
        """All tiles, row by row, each from left to right."""
        return sorted(range(self.tiles), key=self.place)

    def _options(self, depth_um: float) -> SpecimenOptions:
        per_pitch = depth_um / self.scan.pitch_mm
        steps = [self.scan.after(round(share * self.tiles), size * depth_um) for share, size in self.steps]
        return SpecimenOptions(
            texture=self.texture,
            tilt_um_per_mm=(RISE_PER_COLUMN * per_pitch, RISE_PER_ROW * per_pitch),
            bumps_um=BUMPS * depth_um,
            bump_size_mm=BUMP_TILES * self.scan.pitch_mm,
            plateaus=tuple(plateau for step in steps for plateau in step),
            contrast_variation_percent=15.0,
            blank_fraction=EMPTY_SHARE,
            patch_size_mm=PATCH_TILES * self.scan.pitch_mm,
            seed=self.seed,
        )
