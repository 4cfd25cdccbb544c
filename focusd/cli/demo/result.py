"""What the demo saw: each tile as it was last taken, judged by the simulator, which knows the true focus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from focusd.frame import Pixels

IN_FOCUS_DEPTHS = 2.0
"""A tile counts as in focus while its true defocus is under so many depths of field."""
HELD_SHARE = 0.95
"""Share of the tiles that must be in focus for the demo to succeed."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile of the specimen as it was last taken."""

    index: int
    row: int
    column: int
    verdict: str
    ratio: float | None
    working_distance_mm: float
    defocus_depths: float
    """True defocus, in depths of field; the daemon never sees it."""
    defocus_untouched_depths: float
    """What it would be, had the lens stayed where it was at the start."""
    refocused: bool = False
    times_taken: int = 1

    @property
    def in_focus(self) -> bool:
        """Whether the tile is sharp."""
        return abs(self.defocus_depths) < IN_FOCUS_DEPTHS


@dataclass(frozen=True, slots=True)
class Rescue:
    """One refocus with its pictures before and after, for showing."""

    record: Mapping[str, Any]
    before: Pixels
    after: Pixels


@dataclass(slots=True)
class DemoResult:
    """The whole demo."""

    planned: int
    rows: int
    columns: int
    tiles: dict[int, Tile] = field(default_factory=dict)
    refocuses: list[Mapping[str, Any]] = field(default_factory=list)
    rescue: Rescue | None = None
    tile_beam_time_s: float = 0.0
    """Beam time of one tile."""
    finished: bool = False

    @property
    def in_focus(self) -> int:
        """Tiles in focus."""
        return sum(tile.in_focus for tile in self.tiles.values())

    @property
    def in_focus_untouched(self) -> int:
        """Tiles that would be in focus, had nobody touched the lens after the first tile."""
        return sum(abs(tile.defocus_untouched_depths) < IN_FOCUS_DEPTHS for tile in self.tiles.values())

    @property
    def refocus_scans(self) -> int:
        """Scans spent on refocusing."""
        return sum(len(record["scans"]) for record in self.refocuses)

    @property
    def tiles_taken(self) -> int:
        """Scans of tiles, those taken again included."""
        return sum(tile.times_taken for tile in self.tiles.values())

    @property
    def beam_time_s(self) -> tuple[float, float]:
        """Beam time on tiles and on refocusing, in seconds."""
        refocusing = sum(scan["beam_time_s"] for record in self.refocuses for scan in record["scans"])
        return self.tiles_taken * self.tile_beam_time_s, refocusing

    @property
    def held(self) -> bool:
        """Whether focus was held."""
        return self.finished and self.in_focus >= HELD_SHARE * self.planned
