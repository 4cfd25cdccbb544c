"""What the rest of focusd needs of a microscope, whatever protocol it speaks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from focusd.frame import Frame, ScanRequest, StagePosition


@dataclass(frozen=True, slots=True)
class MicroscopeIdentity:
    """Who answers at the other end; what it does not tell is empty."""

    vendor: str
    model: str = ""
    serial: str = ""
    software_version: str = ""
    protocol_version: str = ""


@dataclass(frozen=True, slots=True)
class MicroscopeState:
    """One reading of the column and the stage; what the microscope does not tell is ``None``."""

    working_distance_mm: float
    field_of_view_um: float | None = None
    detector: str | None = None
    accelerating_voltage_kv: float | None = None
    probe_current_pa: float | None = None
    beam_on: bool | None = None
    stage_position: StagePosition | None = None


class Microscope(Protocol):
    """A connected microscope. Every call has a deadline of its own and raises ``LinkError`` past it.

    After a ``LinkError`` the object is dead: open a new connection.
    """

    @property
    def identity(self) -> MicroscopeIdentity:
        """Who answers, read once at connect."""
        ...

    @property
    def limits_mm(self) -> tuple[float, float]:
        """Lowest and highest working distance that may be commanded."""
        ...

    async def get_state(self) -> MicroscopeState:
        """Read the column and the stage."""
        ...

    async def get_working_distance(self) -> float:
        """Read the working distance in millimetres."""
        ...

    async def set_working_distance(self, working_distance_mm: float) -> float:
        """Move the lens, wait until it has settled, and give the readback in millimetres.

        Raises:
            WorkingDistanceLimitError: outside ``limits_mm``; nothing was sent.
            WorkingDistanceNotSetError: the readback differs by more than the driver's tolerance.
            LinkError: the outcome is unknown: read back before anything else.
        """
        ...

    def acquisition(self) -> AbstractAsyncContextManager[None]:
        """Hold the scan generator for several scans; what scanned before is put back at the end.

        ``scan`` does so for itself when it is not held. Re-entrant.
        """
        ...

    async def scan(self, request: ScanRequest) -> Frame:
        """Take one image that starts after this call; cancelling stops the beam's scan.

        Raises:
            ScanRefusedError: the microscope would not start.
            ScanIncompleteError: pixels are missing.
        """
        ...

    async def ping(self) -> float:
        """Ask for a sign of life; give the round trip in seconds."""
        ...

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` from the event loop when the connection fails, so that nobody need ask first."""
        ...


@runtime_checkable
class TellsOverdue(Protocol):
    """A microscope that tells when it hangs; beside ``Microscope``."""

    def on_overdue(self, callback: Callable[[bool], object]) -> None:
        """Call ``callback`` with ``True`` when an answer is overdue, and with ``False`` when one has come.

        From the event loop, and only for changes; once the connection is lost no more.
        """
