"""What a detector did over many scans of tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.benchmarks.tiles import Place

STEPS = (1.0, 2.0, 4.0)
"""Sudden losses of focus, in D."""
TILES_AFTER = 120
"""A loss that is not noticed in so many tiles is missed, and counts with this delay and one."""


@dataclass(slots=True)
class Tally:
    """What one detector did."""

    name: str
    world: str
    dose: float
    tiles: int = 0
    alarms: int = 0
    delays: dict[float, list[int]] = field(default_factory=lambda: {step: [] for step in STEPS})
    ramp_depths: list[float] = field(default_factory=list)
    """Distance from focus at the alarm."""
    alarm_tiles: list[tuple[Place, int]] = field(default_factory=list)
    """Place and repeat of each tile in focus that raised an alarm."""

    @property
    def alarms_per_10000(self) -> float:
        """Rate of alarms while in focus."""
        return 1e4 * self.alarms / self.tiles if self.tiles else float("nan")

    def median_delay(self, step: float) -> float:
        """Tiles until the alarm, the tile that raises it included."""
        return float(np.median(self.delays[step])) if self.delays[step] else float("nan")

    def found_percent(self, step: float) -> float:
        """Share of the losses noticed in time."""
        return 100.0 * float(np.mean([delay <= TILES_AFTER for delay in self.delays[step]]))

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "detector": self.name,
            "world": self.world,
            "dose": self.dose,
            "tiles": self.tiles,
            "alarms": self.alarms,
            "delays": {f"{step:g}": delays for step, delays in self.delays.items()},
            "ramp_depths": self.ramp_depths,
        }

    def add(self, other: Tally) -> None:
        """Take in what the same detector did elsewhere."""
        self.tiles += other.tiles
        self.alarms += other.alarms
        for step, delays in other.delays.items():
            self.delays[step] += delays
        self.ramp_depths += other.ramp_depths
        self.alarm_tiles += other.alarm_tiles


def together(tallies: Iterable[Tally], key: Callable[[Tally], str]) -> dict[str, Tally]:
    """Add up tallies of one key."""
    sums: dict[str, Tally] = {}
    for tally in tallies:
        sums.setdefault(key(tally), Tally(tally.name, "", 0.0)).add(tally)
    return sums
