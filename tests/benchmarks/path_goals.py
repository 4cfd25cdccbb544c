"""What the way from bytes to verdict is to reach: a goal, and a floor that holds on a busy machine too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.benchmarks.tables import Cell, Table, shown

COLUMNS = ("quantity", "focusd", "peer", "ratio", "goal", "floor", "verdict")


@dataclass(frozen=True, slots=True)
class Bounds:
    """A goal and a floor."""

    goal: float
    floor: float
    at_most: bool = False
    """Whether less is better."""

    def verdict(self, figure: float) -> str:
        """Say in words how far a figure gets."""
        if self._holds(figure, self.goal):
            return "reached"
        short = f"short by {shown(abs(figure - self.goal))}"
        return short if self._holds(figure, self.floor) else f"{short}, under the floor"

    def _holds(self, figure: float, bound: float) -> bool:
        return figure <= bound if self.at_most else figure >= bound

    def ratio_line(self, quantity: str, focusd: float, peer: float, ratio: float) -> tuple[Cell, ...]:
        """One row about a ratio to the peer."""
        return (quantity, focusd, peer, ratio, self.goal, self.floor, self.verdict(ratio))

    def line(self, quantity: str, focusd: float, peer: float) -> tuple[Cell, ...]:
        """One row about a figure of its own."""
        ratio = focusd / peer if peer else None
        return (quantity, focusd, peer, ratio, self.goal, self.floor, self.verdict(focusd))


OF_RAW = Bounds(0.8, 0.5)
FRAMES_OF_NAIVE = {
    "4096\u00b2 u8": Bounds(6.5, 4.0),
    "1024\u00b2 u8": Bounds(6.0, 4.0),
    "4096\u00b2 u16": Bounds(5.0, 3.5),
}
SMALL_FRAMES_OF_NAIVE = Bounds(1.0, 0.0)
"""Of frames for which nothing was set: not slower."""
POSTS_OF_NAIVE = Bounds(6.0, 4.0)
LAG_P99_MS = Bounds(5.0, 20.0, at_most=True)
STATUS_P99_MS = Bounds(20.0, 50.0, at_most=True)


def goals_table(lines: Iterable[tuple[Cell, ...]]) -> Table:
    """Lay the rows out."""
    return Table("Goals", COLUMNS, tuple(lines))
