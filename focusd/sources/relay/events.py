"""What the relay tells its owner about the clients; ``session`` counts them from 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from focusd.protocol.sharksem_fold import ScanEnd
from focusd.protocol.sharksem_orders import ScanOrder


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A client has connected, and so has its session to the microscope."""

    session: int
    client: str


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """A client has gone, or was closed because the microscope did."""

    session: int
    reason: str


@dataclass(frozen=True, slots=True)
class ClientMoved:
    """A client moved the lens; ``working_distance_mm`` is what it asked for, not what it got.

    ``None`` for an automatic focus of the vendor's, which has only begun.
    """

    session: int
    command: str
    working_distance_mm: float | None


@dataclass(frozen=True, slots=True)
class WorkingDistanceRead:
    """A client was told where the lens stands."""

    session: int
    working_distance_mm: float


@dataclass(frozen=True, slots=True)
class ConditionsChanged:
    """A client changed something that an image's sharpness depends on: voltage, magnification, detector."""

    session: int
    command: str


@dataclass(frozen=True, slots=True)
class PlaceChanged:
    """A client moved the stage or shifted the image."""

    session: int
    command: str


@dataclass(frozen=True, slots=True)
class ScanStarted:
    """A client's scan was passed on."""

    session: int
    order: ScanOrder


@dataclass(frozen=True, slots=True)
class ScanEnded:
    """A client's scan is over."""

    session: int
    order: ScanOrder
    how: ScanEnd


@dataclass(frozen=True, slots=True)
class ScanHeld:
    """A client's scan waits at the gate."""

    session: int
    command: str
    reason: str


@dataclass(frozen=True, slots=True)
class HoldExpiring:
    """A client's scan has waited nearly as long as it may: in ``notice_s`` it will start.

    Whoever scans meanwhile must have stopped by then, or the microscope refuses the client's scan.
    """

    session: int
    command: str
    notice_s: float


@dataclass(frozen=True, slots=True)
class ScanReleased:
    """A client's scan no longer waits; ``timed_out`` when the gate was still closed."""

    session: int
    command: str
    held_s: float
    timed_out: bool


RelayEvent: TypeAlias = (
    SessionOpened
    | SessionClosed
    | ClientMoved
    | WorkingDistanceRead
    | ConditionsChanged
    | PlaceChanged
    | ScanStarted
    | ScanEnded
    | ScanHeld
    | HoldExpiring
    | ScanReleased
)
