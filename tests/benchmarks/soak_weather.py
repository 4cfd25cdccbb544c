"""What happens in two weeks: focus drifts to and fro, specimens change, the link and the lens fail.

All of it is drawn from a seed before the run begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from focusd.simulator.column import SimulatedColumn
from focusd.simulator.options import ColumnOptions
from focusd.simulator.specimen import Specimen

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S

# Amplitude in depths of field and period in hours: the room by day and night, its air conditioning.
DRIFTS = ((6.0, 24.0), (2.0, 9.0))
TEXTURES = ("gold", "neuropil", "fibres", "porous")
SPECIMEN_S = 1.5 * DAY_S
"""How long a specimen stays under the beam, about."""
OUTAGE_S = (60.0, 6 * HOUR_S)
"""Shortest and longest outage of the link."""


class Trouble(StrEnum):
    """A fault of the link or of the microscope."""

    OUTAGE = "link lost for long"
    RESET = "reset in a picture"
    SILENT = "peer falls silent"
    REFUSED = "scan refused"
    BUSY = "stage or optics busy"
    OUTAGE_IN_REFOCUS = "link lost in a refocus"
    RESET_IN_REFOCUS = "reset in a refocus's picture"
    STUCK = "lens sticks for one refocus"

    @property
    def is_in_refocus(self) -> bool:
        """Whether it comes while an operator's refocus runs."""
        return self in {Trouble.OUTAGE_IN_REFOCUS, Trouble.RESET_IN_REFOCUS, Trouble.STUCK}

    @property
    def is_outage(self) -> bool:
        """Whether it lasts."""
        return self in {Trouble.OUTAGE, Trouble.OUTAGE_IN_REFOCUS}


@dataclass(frozen=True, slots=True)
class Event:
    """One fault."""

    at_s: float
    trouble: Trouble
    lasts_s: float
    """Only of an outage; the others end as soon as they have been felt."""
    at_byte: int
    """Where a connection is reset."""


@dataclass(slots=True)
class SoakClock:
    """Time that passes only when it is told to."""

    now_s: float = 0.0

    def __call__(self) -> float:
        """Give the time in seconds."""
        return self.now_s


class DriftingColumn(SimulatedColumn):
    """A column whose best focus goes to and fro.

    Args:
        options: The column.
        specimen: The first specimen.
        clock: The time it drifts by.
        depth_um: Depth of field.
        random: Decides the drift's phases.
    """

    def __init__(
        self,
        options: ColumnOptions,
        specimen: Specimen,
        *,
        clock: Callable[[], float],
        depth_um: float,
        random: np.random.Generator,
    ) -> None:
        self._drift_clock = clock
        self._waves = [
            (amplitude * depth_um / 1000.0, period_h * HOUR_S, float(random.uniform(0.0, 2.0 * math.pi)))
            for amplitude, period_h in DRIFTS
        ]
        super().__init__(options, specimen, clock=clock)

    def best_focus_mm(self, x_mm: float | None = None, y_mm: float | None = None) -> float:
        """*Judge.* The working distance that focuses here now."""
        now_s = self._drift_clock()
        drift_mm = sum(
            size_mm * math.sin(2.0 * math.pi * now_s / period_s + phase)
            for size_mm, period_s, phase in self._waves
        )
        return super().best_focus_mm(x_mm, y_mm) + drift_mm


def faults(duration_s: float, count: int, random: np.random.Generator) -> list[Event]:
    """Draw faults, every kind about as often, in the order of time."""
    kinds = list(Trouble)
    shortest_s, longest_s = OUTAGE_S
    # In a short run an outage leaves time for others.
    low, high = np.log([shortest_s, max(2.0 * shortest_s, min(longest_s, duration_s / 20.0))])
    times = np.sort(random.uniform(0.01 * duration_s, 0.99 * duration_s, count))
    order = random.permutation([kinds[index % len(kinds)] for index in range(count)])
    return [
        Event(
            float(at_s),
            Trouble(str(kind)),
            float(np.exp(random.uniform(low, high))),
            int(random.integers(1, 60_000)),
        )
        for at_s, kind in zip(times, order, strict=True)
    ]


def changes_of_specimen(duration_s: float, random: np.random.Generator) -> list[tuple[float, str]]:
    """Draw when another specimen comes, and its texture; the first one is there at the start."""
    changes, at_s, last = [], 0.0, len(TEXTURES)
    while at_s < duration_s:
        choice = [index for index in range(len(TEXTURES)) if index != last]
        last = int(random.choice(choice))
        changes.append((at_s, TEXTURES[last]))
        at_s += SPECIMEN_S * float(random.uniform(0.5, 1.5))
    return changes
