"""What focusd sets out to reach, and how far a run is from it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tests.benchmarks.tables import Cell, Table, shown


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure to reach."""

    quantity: str
    target: float
    at_most: bool
    """Whether less is better."""
    strictly: bool = False
    """Whether the target itself is not enough."""

    def is_reached(self, figure: float) -> bool:
        """Whether a measured figure is good enough; what was not measured is not."""
        if math.isnan(figure):
            return False
        if figure == self.target:
            return not self.strictly
        return figure < self.target if self.at_most else figure > self.target

    def line(self, figure: float, peer: float | None) -> tuple[Cell, ...]:
        """One row of the table of goals."""
        verdict = "reached" if self.is_reached(figure) else f"short by {shown(abs(figure - self.target))}"
        strict, loose = ("under ", "<= ") if self.at_most else ("over ", ">= ")
        sign = strict if self.strictly else loose
        return (
            self.quantity,
            figure,
            peer,
            sign + shown(self.target),
            verdict if not math.isnan(figure) else "not measured",
        )


REFOCUS_SCANS = {"small": 3.2, "medium": 4.0, "far": 4.9}
REFOCUS_OK = {"small": 99.0, "medium": 98.0, "far": 95.0}
ROUGH_OK = Goal("rough, small and medium: ok %", 95.0, at_most=False)
ROUGH_WORSE = Goal("rough, small and medium: worse %", 1.0, at_most=True, strictly=True)
BLANK_SAFE = Goal("nearly blank: refused or right %", 90.0, at_most=False, strictly=True)
BLANK_WORSE = Goal("nearly blank: worse %", 0.0, at_most=True)
SMALL_DOSE = Goal("small: dose, full frames", 1.0, at_most=True, strictly=True)
CPU_MS = Goal("processor time of a scan of 512 x 512, ms", 30.0, at_most=True)

DETECT_ALARMS = Goal("raw alarms per 10,000 tiles", 50.0, at_most=True, strictly=True)
DETECT_DELAY = Goal("step of 2 D: median delay, tiles", 4.0, at_most=True)
DETECT_FOUND = Goal("step of 2 D: found %", 99.0, at_most=False)

DETECT_NEEDLESS = Goal("refocuses run without need per 10,000 tiles", 5.0, at_most=True, strictly=True)

SCAN_IN_FOCUS = Goal("tiles within 2 D, %", 97.0, at_most=False)
SCAN_EXTRA = Goal("extra scans a tile", 0.5, at_most=True)
SCAN_EXTRA_DOSE = Goal("extra dose a tile, full frames", 0.5, at_most=True)

RELAY_RATE = Goal("images: rate through the relay, of direct", 0.7, at_most=False)
RELAY_ADDED_P50 = Goal("control message: added round trip p50, ms", 0.15, at_most=True)
RELAY_ADDED_P99 = Goal("control message: added round trip p99, ms", 0.5, at_most=True)


def refocus_scans(distance: str) -> Goal:
    """Mean scans of a refocus from this far."""
    return Goal(f"{distance}: scans", REFOCUS_SCANS[distance], at_most=True)


def refocus_ok(distance: str) -> Goal:
    """Share that ends in focus."""
    return Goal(f"{distance}: ok %", REFOCUS_OK[distance], at_most=False)


def refocus_worse(distance: str) -> Goal:
    """Share that ends blurrier than it began."""
    return Goal(f"{distance}: worse %", 0.0, at_most=True)


def goals_table(title: str, lines: Iterable[tuple[Cell, ...]]) -> Table:
    """Lay the lines of goals out."""
    return Table(title, ("quantity", "focusd", "published", "goal", "verdict"), tuple(lines))
