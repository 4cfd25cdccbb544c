"""The microscope and the way to it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from focusd.config.base import Positive, Section, WorkingDistanceMm
from focusd.protocol.bridge import DEFAULT_PORT


class Limits(Section):
    """What may be commanded at all."""

    working_distance_mm: tuple[WorkingDistanceMm, WorkingDistanceMm]
    """Lowest and highest working distance focusd may ever set. Keep the specimen out of reach of the lens."""

    @model_validator(mode="after")
    def _ordered(self) -> Limits:
        low, high = self.working_distance_mm
        if low >= high:
            raise ValueError(
                f"working_distance_mm must be [low, high] with low below high, got [{low:g}, {high:g}]"
            )
        return self


class Timeouts(Section):
    """Deadlines of the microscope link, in seconds."""

    connect_s: Positive = 5.0
    """For opening the connection."""
    request_s: Positive = 5.0
    """For the answer to one command."""
    settle_s: Positive = 10.0
    """For the lens to settle after a move."""
    ping_interval_s: Positive = 8.0
    """How often an idle link is asked for a sign of life."""
    reconnect_max_s: Positive = 30.0
    """Longest pause between two attempts to connect."""


class MicroscopeSettings(Section):
    """The microscope and the way to it."""

    driver: str = "sharksem"
    """Protocol it speaks: ``sharksem`` (TESCAN), or ``bridge`` for any instrument with a bridge program."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """Name or address of the microscope's computer."""
    port: Annotated[int, Field(ge=1, le=65_534)] = 8300
    """TCP control port; 8460 when not given with ``bridge``. SharkSEM uses the next one for images."""
    channel: Annotated[int, Field(ge=0, le=31)] = 0
    """Image channel focusd scans with, counted from 0 (SharkSEM)."""
    detector: Annotated[int, Field(ge=0)] | None = None
    """Detector number to put on that channel; left as the operator chose it when not given (SharkSEM)."""
    max_payload_mib: Annotated[int, Field(ge=1, le=4096)] = 256
    """Largest image that is accepted, in MiB (bridge)."""
    limits: Limits
    """Limits no command of focusd goes past."""
    working_distance_tolerance_um: Positive = 1.0
    """How far a readback may be from the setpoint and still count as reached."""
    timeouts: Timeouts = Timeouts()
    """Deadlines."""

    @model_validator(mode="before")
    @classmethod
    def _port_of_driver(cls, given: object) -> object:
        if isinstance(given, dict) and "port" not in given and given.get("driver") == "bridge":
            return given | {"port": DEFAULT_PORT}
        return given
