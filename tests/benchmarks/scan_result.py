"""How one whole scan went."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

IN_FOCUS_DEPTHS = 2.0
NEEDLESS_DEPTHS = 1.0
"""A search begun nearer to focus than this had no need to run."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Scans of one purpose, and their dose in full frames."""

    times: int = 0
    scans: int = 0
    dose_frames: float = 0.0


@dataclass(slots=True)
class ScanResult:
    """One way over one specimen."""

    way: str
    side: int
    seed: int
    scans: int = 0
    """All of them, the tiles' own and those of searches."""
    dose_frames: float = 0.0
    """Electrons spent on them, in full frames."""
    alarms: int = 0
    """How often something was done about focus, probes included."""
    searched_from_depths: list[float] = field(default_factory=list)
    """Distance from focus at which each search was begun."""
    defocus_depths: list[float] = field(default_factory=list)
    """Of the last take of each tile, row by row; NaN where it was not taken."""
    times_taken: list[int] = field(default_factory=list)
    spent: dict[str, Spent] = field(default_factory=dict)
    """What went beyond one scan a tile, by what it was for; known of focusd only."""

    @property
    def in_focus_percent(self) -> float:
        """Share of the tiles whose last take is within two depths of field of focus."""
        return 100.0 * float(np.mean(np.abs(self._taken) < IN_FOCUS_DEPTHS))

    @property
    def extra_scans(self) -> float:
        """Scans a tile beyond one."""
        return self.scans / len(self._taken) - 1.0

    @property
    def extra_dose(self) -> float:
        """Dose a tile beyond its own, in full frames."""
        return self.dose_frames / len(self._taken) - 1.0

    @property
    def p95_depths(self) -> float:
        """Distance from focus that all but a twentieth of the tiles keep within."""
        return float(np.percentile(np.abs(self._taken), 95))

    @property
    def needless_searches(self) -> int:
        """Searches begun with the picture in focus."""
        return sum(abs(depths) < NEEDLESS_DEPTHS for depths in self.searched_from_depths)

    @property
    def _taken(self) -> list[float]:
        return [depths for depths in self.defocus_depths if not math.isnan(depths)]
