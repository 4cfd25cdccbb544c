"""What is known of the column and the stage from overhearing clients, and from what the owner reads.

One microscope, so one for all sessions. What was commanded but not read back since: the working distance
and the stage are unknown then; field of view and voltage are taken as commanded, until a reading says
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from focusd.frame import ImagingConditions, StagePosition
from focusd.microscope.interface import MicroscopeState
from focusd.microscope.sharksem_values import NM_PER_MM, UM_PER_MM
from focusd.protocol.sharksem_fold import FoldedFrame
from focusd.protocol.sharksem_orders import ScanOrder


@dataclass(slots=True)
class ColumnKnowledge:
    """The column as far as it is known; what is not is ``None``."""

    working_distance_mm: float | None = None
    field_of_view_mm: float | None = None
    accelerating_voltage_kv: float | None = None
    stage_position: StagePosition | None = None
    detectors: Mapping[int, str] = field(default_factory=dict)
    """Names by the number that DtSelect takes."""
    speeds_us: Mapping[int, float] = field(default_factory=dict)
    """Dwell times by scan speed."""
    speed: int | None = None
    moves: int = 0
    """Moves of the lens passed on: a reading asked for before the last one is out of date."""
    journeys: int = 0
    """Moves of the stage passed on."""

    def learn(self, state: MicroscopeState) -> None:
        """Take over what the owner has just read of the microscope itself."""
        self.working_distance_mm = state.working_distance_mm
        if state.field_of_view_um is not None:
            self.field_of_view_mm = state.field_of_view_um / UM_PER_MM
        if state.accelerating_voltage_kv is not None:
            self.accelerating_voltage_kv = state.accelerating_voltage_kv
        if state.stage_position is not None:
            self.stage_position = state.stage_position

    def forget_working_distance(self) -> None:
        """The lens has been told to move."""
        self.working_distance_mm = None
        self.moves += 1

    def forget_stage_position(self) -> None:
        """The stage has been told to move."""
        self.stage_position = None
        self.journeys += 1

    def dwell_time_us(self, order: ScanOrder) -> float | None:
        """Give a scan's dwell time, by its order or else by the scan speed."""
        if order.dwell_time_us is not None:
            return order.dwell_time_us
        return None if self.speed is None else self.speeds_us.get(self.speed)

    def conditions(self, folded: FoldedFrame, detector: int | None) -> ImagingConditions:
        """Give the imaging conditions of a frame taken with a detector of this number."""
        rows, columns = folded.order.shape
        field_mm = self.field_of_view_mm
        return ImagingConditions(
            rows=rows,
            columns=columns,
            bits_per_pixel=folded.bits_per_pixel,
            dwell_time_us=self.dwell_time_us(folded.order),
            pixel_size_nm=None if field_mm is None else field_mm * NM_PER_MM / folded.order.width,
            detector=None if detector is None else self.detectors.get(detector),
            accelerating_voltage_kv=self.accelerating_voltage_kv,
        )
