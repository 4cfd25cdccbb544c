"""The electron optics behind the commands: what a setting does, what it is limited to, how long it takes."""

from __future__ import annotations

import asyncio
import math

from focusd.frame import ScanRequest
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.exposure import Exposure, SeedExposure
from focusd.simulator.faults import Faults
from focusd.simulator.pace import Pace
from focusd.simulator.sharksem_busy import OPTICS, BusyConditions

BEAM_OFF, BEAM_ON, BEAM_SWITCHING = 0, 1, 1000
BLANKER_ON_SPECIMEN, BLANKER_OFF_SPECIMEN, BLANKER_AUTOMATIC = 0, 1, 2

HIGH_VOLTAGE_LIMITS_V = (200.0, 30_000.0)

_FIELD_LIMITS_MM = (1e-4, 10.0)
_CURRENT_LIMITS_PA = (1.0, 1e5)
_SHIFT_LIMIT_MM = 0.05
_PERCENT_LIMIT = 100.0

_LENS_S = 0.3
_CURRENT_S = 0.4
_FIELD_S = 0.05
_SHORT_S = 0.02
_VOLTAGE_S = 1.0
_BEAM_ON_S = 0.8


class Optics:
    """Sets the column up and tells when it is stable.

    Attributes:
        column: What all of it acts on.
        blanker: Mode of the blanker by its index.
        centering: Centerings other than the stigmator, by index.
        geometry: Geometric settings other than the image shift, by index.
    """

    def __init__(self, column: SimulatedColumn, faults: Faults, busy: BusyConditions, pace: Pace) -> None:
        self.column = column
        self.blanker: dict[int, int] = {0: BLANKER_AUTOMATIC, 1: BLANKER_ON_SPECIMEN}
        self.centering: dict[int, tuple[float, float]] = {}
        self.geometry: dict[int, tuple[float, float]] = {}
        self._faults = faults
        self._busy = busy
        self._pace = pace
        self._beam_stable_at = 0.0
        self._voltage_stable_at = 0.0

    # The lens

    @property
    def working_distance_mm(self) -> float:
        """What ``GetWD`` tells; may be NaN by fault."""
        if self._faults.working_distance_readback is not None:
            return self._faults.working_distance_readback
        return self.column.working_distance_mm + self._faults.working_distance_offset_mm

    def set_working_distance(self, working_distance_mm: float) -> None:
        """Move the lens and let it settle."""
        self.move_lens(working_distance_mm)
        self._settle(_LENS_S)

    def move_lens(self, working_distance_mm: float) -> None:
        """Move the lens, unless it is stuck."""
        if not self._faults.stuck_working_distance:
            self.column.set_working_distance(working_distance_mm)

    # The field and the beam

    def set_field_of_view(self, field_of_view_mm: float) -> None:
        """Set the width of the scan window as it is at the present working distance."""
        column = self.column
        per_setting = column.field_of_view_mm / column.field_of_view_setting_mm
        column.field_of_view_setting_mm = _limited(field_of_view_mm, _FIELD_LIMITS_MM) / per_setting
        self._settle(_FIELD_S)

    def set_beam_current(self, current_pa: float) -> None:
        """Set the beam current."""
        self.column.probe_current_pa = _limited(current_pa, _CURRENT_LIMITS_PA)
        self._settle(_CURRENT_S)

    def set_image_shift(self, x_mm: float, y_mm: float) -> None:
        """Shift the beam."""
        limits = (-_SHIFT_LIMIT_MM, _SHIFT_LIMIT_MM)
        self.column.image_shift_mm = (_limited(x_mm, limits), _limited(y_mm, limits))
        self._settle(_SHORT_S)

    def set_stigmator(self, x_percent: float, y_percent: float) -> None:
        """Set the stigmator."""
        limits = (-_PERCENT_LIMIT, _PERCENT_LIMIT)
        self.column.stigmator_percent = (_limited(x_percent, limits), _limited(y_percent, limits))
        self._settle(_SHORT_S)

    def set_centering(self, index: int, x_percent: float, y_percent: float) -> None:
        """Set another centering, which has no effect on the image."""
        limits = (-_PERCENT_LIMIT, _PERCENT_LIMIT)
        self.centering[index] = (_limited(x_percent, limits), _limited(y_percent, limits))
        self._settle(_SHORT_S)

    def set_geometry(self, index: int, x: float, y: float, limits: tuple[float, float, float, float]) -> None:
        """Set a geometric transformation, which has no effect on the image."""
        self.geometry[index] = (_limited(x, limits[:2]), _limited(y, limits[2:]))
        self._settle(_SHORT_S)

    def settle_for(self, simulated_s: float) -> None:
        """Raise condition C for a while."""
        self._settle(simulated_s)

    # The high voltage

    @property
    def beam(self) -> int:
        """What ``HVGetBeam`` tells."""
        if self._faults.beam_off or not self.column.beam_on:
            return BEAM_OFF
        return BEAM_SWITCHING if _now() < self._beam_stable_at else BEAM_ON

    @property
    def beam_reaches_specimen(self) -> bool:
        """Whether a scan sees anything."""
        return (
            self.beam == BEAM_ON
            and not self.column.blanked
            and BLANKER_OFF_SPECIMEN not in self.blanker.values()
        )

    @property
    def voltage_changing(self) -> bool:
        """Whether the high voltage is on its way."""
        return _now() < self._voltage_stable_at

    def switch_beam(self, *, on: bool) -> None:
        """Switch the beam; it takes a while to come."""
        if on and not self.column.beam_on:
            duration_s = self._pace.real_s(_BEAM_ON_S)
            self._beam_stable_at = _now() + duration_s
            self._settle(_BEAM_ON_S)
        self.column.beam_on = on

    async def set_voltage(self, volts: float, *, wait: bool) -> None:
        """Set the accelerating voltage and, if told so, wait until it is there."""
        seconds = self._pace.real_s(_VOLTAGE_S + (self._faults.high_voltage_blocking_s if wait else 0.0))
        self._voltage_stable_at = _now() + seconds
        self._busy.raise_for(OPTICS, seconds)
        if wait:
            await asyncio.sleep(seconds)
        self.column.accelerating_voltage_kv = _limited(volts, HIGH_VOLTAGE_LIMITS_V) / 1000.0

    # The scan

    def expose(self, request: ScanRequest, detector: int) -> Exposure | SeedExposure:
        """Begin a scan as the beam stands now."""
        column = self.column
        blanked = column.blanked
        column.blanked = not self.beam_reaches_specimen
        try:
            return column.expose(request, detector)
        finally:
            column.blanked = blanked

    def _settle(self, simulated_s: float) -> None:
        self._busy.raise_for(OPTICS, self._pace.real_s(simulated_s))


def _limited(value: float, limits: tuple[float, ...]) -> float:
    low, high = limits
    return low if math.isnan(value) else min(max(value, low), high)


def _now() -> float:
    return asyncio.get_running_loop().time()
