"""The vendor's automatic procedures: slow, and good only up to a point.

Both focus procedures sweep the lens over a range, then settle near the true focus with an error that is
several depths of field for the coarse one and a part of one for the fine one. Without a beam they leave
the lens where they began.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np

from focusd.simulator.pace import Pace
from focusd.simulator.sharksem_busy import PROCEDURE, BusyConditions
from focusd.simulator.sharksem_optics import Optics
from focusd.simulator.sharksem_scan import Spawn

_JUDGED_AT_COLUMNS = 1024
_SWEEP_POSITIONS = 6
_AUTO_SIGNAL_S = 3.0


@dataclass(frozen=True, slots=True)
class FocusProcedure:
    """How an automatic focus goes about it."""

    duration_s: float
    half_range_mm: float
    error_depths_of_field: float
    """The final error lies within plus and minus so many depths of field of a scan with 1024 columns."""


COARSE = FocusProcedure(duration_s=20.0, half_range_mm=1.0, error_depths_of_field=4.0)
FINE = FocusProcedure(duration_s=8.0, half_range_mm=0.05, error_depths_of_field=0.5)


class Procedures:
    """Runs one automatic procedure at a time; a second one is ignored."""

    def __init__(self, optics: Optics, busy: BusyConditions, pace: Pace, spawn: Spawn) -> None:
        self._optics = optics
        self._busy = busy
        self._pace = pace
        self._spawn = spawn
        self._random = np.random.default_rng(optics.column.options.seed)

    @property
    def running(self) -> bool:
        """Whether one runs."""
        return self._busy.raised(PROCEDURE)

    def focus(self, how: FocusProcedure, low_mm: float, high_mm: float) -> None:
        """Focus; ``low_mm`` and ``high_mm`` restrict the lens unless both are 0."""
        if self.running:
            return
        low, high = self._optics.column.options.limits_mm
        if low_mm or high_mm:
            low, high = max(low, min(low_mm, high_mm)), min(high, max(low_mm, high_mm))
        self._busy.hold(PROCEDURE)
        self._spawn(self._focus(how, low, max(low, high)))

    def auto_signal(self, detector: int) -> None:
        """Set contrast and brightness of a detector to where they should be."""
        if self.running:
            return
        setting = self._optics.column.settings.get(detector)
        if setting is not None:
            setting.gain_percent = setting.black_percent = 50.0
        self._busy.raise_for(PROCEDURE, self._pace.real_s(_AUTO_SIGNAL_S))

    async def _focus(self, how: FocusProcedure, low: float, high: float) -> None:
        column = self._optics.column
        start = column.working_distance_mm
        try:
            for position in np.linspace(
                start - how.half_range_mm, start + how.half_range_mm, _SWEEP_POSITIONS
            ):
                self._optics.move_lens(min(max(float(position), low), high))
                await asyncio.sleep(self._pace.real_s(how.duration_s / _SWEEP_POSITIONS))
            best = column.best_focus_mm()
            if self._optics.beam_reaches_specimen and abs(best - start) <= how.half_range_mm:
                tolerance_mm = how.error_depths_of_field * column.depth_of_field_um(_JUDGED_AT_COLUMNS) * 1e-3
                end = best + tolerance_mm * float(self._random.uniform(-1.0, 1.0))
                self._optics.move_lens(min(max(end, low), high))
            else:
                self._optics.move_lens(start)
        finally:
            self._busy.release(PROCEDURE)
