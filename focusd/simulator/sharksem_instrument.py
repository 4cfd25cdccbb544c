"""Everything of the simulated microscope that its clients share."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

from focusd.simulator.column import SimulatedColumn
from focusd.simulator.faults import Faults
from focusd.simulator.pace import Pace
from focusd.simulator.sharksem_busy import BusyConditions
from focusd.simulator.sharksem_gui import CONTINUAL, LiveWindow
from focusd.simulator.sharksem_optics import Optics
from focusd.simulator.sharksem_procedures import Procedures
from focusd.simulator.sharksem_scan import ScanEngine, Spawn
from focusd.simulator.sharksem_stage import StageDrive

SPEED_DWELLS_US = (0.1, 0.32, 1.0, 3.2, 10.0, 32.0)
"""Dwell times of the scan speeds, which are counted from 1."""

_DEFAULT_SPEED = 3


@dataclass(slots=True)
class Progress:
    """A note that a client shows in the microscope's own program."""

    owner: object
    title: str
    text: str
    percent: int = 0


class Instrument:
    """The parts of the microscope.

    Attributes:
        speed: Scan speed, counted from 1.
        scan_mode: Index of the scanning mode.
        external_scan: Whether the external scan input is chosen.
        beam_position: Where the beam was parked, as shares of the field; ``None`` before that.
        chamber_led: Whether the chamber is lit.
        progress: The note on the screen.
    """

    def __init__(
        self, column: SimulatedColumn, faults: Faults, pace: Pace, worker: Executor, spawn: Spawn
    ) -> None:
        self.column = column
        self.faults = faults
        self.pace = pace
        self.spawn = spawn
        self.busy = BusyConditions()
        self.optics = Optics(column, faults, self.busy, pace)
        self.stage = StageDrive(column, self.busy, pace, spawn)
        self.scan = ScanEngine(self.busy, pace, faults, worker, spawn)
        self.live = LiveWindow(self.scan, self.busy, pace, spawn)
        self.procedures = Procedures(self.optics, self.busy, pace, spawn)
        self.speed = _DEFAULT_SPEED
        self.scan_mode = 0
        self.external_scan = 0
        self.beam_position: tuple[float, float] | None = None
        self.chamber_led = False
        self.progress: Progress | None = None

    def power_up(self) -> None:
        """Bring the microscope to where it stands when the first client comes."""
        if self.faults.gui_scanning_at_start:
            self.live.set(CONTINUAL)

    def forget(self, client: object) -> None:
        """End what goes with a client's control connection."""
        self.scan.stop(client)
        if self.progress is not None and self.progress.owner is client:
            self.progress = None

    @property
    def dwell_us(self) -> float:
        """Dwell time of the present scan speed."""
        return SPEED_DWELLS_US[self.speed - 1]
