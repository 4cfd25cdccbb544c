"""Every exception focusd raises on purpose.

* ``FocusdError``
    * ``ConfigError``: the configuration cannot be used; nothing was started
    * ``StoreError``: the state directory cannot be read or written
        * ``StoreLockedError``: another focusd holds the state directory
    * ``ImageError``: an image cannot be read or has an unusable shape or type
    * ``MicroscopeError``: the microscope or the link to it
        * ``LinkError``: the connection is not there or can no longer be trusted
            * ``LinkTimeoutError``: no answer within the deadline (also a ``TimeoutError``)
            * ``RemoteProtocolError``: the other side sent something that breaks the protocol
        * ``LocalProtocolError``: focusd was about to send something that breaks the protocol
        * ``WorkingDistanceLimitError``: a working distance outside the limits; nothing was sent
        * ``WorkingDistanceNotSetError``: the readback differs from what was commanded
        * ``ScanRefusedError``: the microscope would not start a scan
        * ``ScanIncompleteError``: a scan ended without all of its pixels
    * ``ServiceError``: a request that cannot be served in the daemon's present state
        * ``NotConnectedError``
        * ``PausedError``
        * ``BusyError``: another run holds the microscope
        * ``NotFoundError``
        * ``DegradedError``: no move is made until the cause is mended
        * ``LeasedError``: somebody scans and has asked that the lens be left alone
        * ``TooManyError``: more of something at once than focusd holds

What an error means over HTTP is decided in ``focusd.api.problems`` and nowhere else.
"""

from __future__ import annotations


class FocusdError(Exception):
    """Base of every error focusd raises on purpose."""


class ConfigError(FocusdError):
    """The configuration cannot be used; ``problems`` names each field and what it may hold."""

    def __init__(self, problems: list[str], *, source: str = "configuration") -> None:
        self.problems = problems
        self.source = source
        super().__init__(source, problems)

    def __str__(self) -> str:
        return "\n".join(f"{self.source}: {problem}" for problem in self.problems)


class StoreError(FocusdError):
    """The state directory cannot be read or written."""


class StoreLockedError(StoreError):
    """Another focusd holds the state directory."""


class ImageError(FocusdError):
    """An image cannot be read, or has a shape or type that cannot be judged."""


class MicroscopeError(FocusdError):
    """The microscope or the link to it."""


class LinkError(MicroscopeError):
    """The connection is not there or can no longer be trusted."""


class LinkTimeoutError(LinkError, TimeoutError):
    """No answer within the deadline."""


class RemoteProtocolError(LinkError):
    """The other side sent something that breaks the protocol."""


class LocalProtocolError(MicroscopeError):
    """focusd was about to send something that breaks the protocol: a bug in focusd."""


class WorkingDistanceLimitError(MicroscopeError):
    """A working distance outside the limits was asked for; nothing was sent."""

    def __init__(self, requested_mm: float, low_mm: float, high_mm: float) -> None:
        self.requested_mm = requested_mm
        self.low_mm = low_mm
        self.high_mm = high_mm
        super().__init__(requested_mm, low_mm, high_mm)

    def __str__(self) -> str:
        return (
            f"working_distance_mm must be between {self.low_mm:g} and {self.high_mm:g} mm, "
            f"got {self.requested_mm:g} mm"
        )


class WorkingDistanceNotSetError(MicroscopeError):
    """The readback differs from what was commanded; ``reason`` is the microscope's own, if it gave one."""

    def __init__(self, requested_mm: float, readback_mm: float, reason: str = "") -> None:
        self.requested_mm = requested_mm
        self.readback_mm = readback_mm
        self.reason = reason
        super().__init__(requested_mm, readback_mm, reason)

    def __str__(self) -> str:
        asked, found = self.requested_mm, self.readback_mm
        why = f": {self.reason}" if self.reason else ""
        return f"asked for working distance {asked:.6f} mm, the microscope is at {found:.6f} mm{why}"


class ScanRefusedError(MicroscopeError):
    """The microscope would not start a scan."""


class ScanIncompleteError(MicroscopeError):
    """A scan ended without all of its pixels."""


class ServiceError(FocusdError):
    """A request that cannot be served in the daemon's present state."""


class NotConnectedError(ServiceError):
    """There is no connection to the microscope."""


class PausedError(ServiceError):
    """focusd is paused and keeps its hands off the microscope."""


class BusyError(ServiceError):
    """Another run holds the microscope; ``running_id`` names it."""

    def __init__(self, message: str, *, running_id: str | None = None) -> None:
        self.running_id = running_id
        super().__init__(message)


class NotFoundError(ServiceError):
    """No such frame, refocus or baseline."""


class DegradedError(ServiceError):
    """No move is made until the cause is mended."""


class LeasedError(ServiceError):
    """Somebody scans and has asked that the lens be left alone; ``free_in_s`` says for how long at most."""

    def __init__(self, message: str, *, free_in_s: float) -> None:
        self.free_in_s = free_in_s
        super().__init__(message)


class TooManyError(ServiceError):
    """More of something at once than focusd holds; try again later."""
