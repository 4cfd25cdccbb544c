"""What a lab subclasses, and what it is asked and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Union

from .errors import InstrumentError

Json = Dict[str, Any]
Pixels = Union[bytes, bytearray, memoryview]


@dataclass(frozen=True)
class Region:
    """A part of a scan, in its pixels from the top left."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Scan:
    """What to take: ``width`` x ``height`` pixels span the field, ``region`` is the part that is wanted."""

    width: int
    height: int
    dwell_time_us: float
    region: Region
    frames: int = 1
    bits_per_pixel: int = 8

    @property
    def beam_time_s(self) -> float:
        """Time on the specimen, without fly-back: a millisecond a line is added for that."""
        lines = self.frames * self.region.height
        return lines * (self.region.width * self.dwell_time_us * 1e-6 + 1e-3)


@dataclass(frozen=True)
class Image:
    """One image; ``pixels`` go row by row, those of 16 bits little-endian.

    ``state`` holds what differs from ``get_state`` in this image. The times are those of ``time.monotonic``;
    without them they are those of the call that gave the image, or for one that ``poll`` gave, the earliest
    that it may have been begun and the time of the call.
    """

    rows: int
    columns: int
    pixels: Pixels
    bits_per_pixel: int = 8
    state: Json | None = None
    started_at: float | None = None
    finished_at: float | None = None

    def checked(self, rows: int, columns: int) -> Image:
        """Give it as it is if it has this shape and as many bytes as that takes.

        Raises:
            InstrumentError: it does not.
        """
        found = memoryview(self.pixels).nbytes
        wanted = rows * columns * (self.bits_per_pixel // 8)
        if (self.rows, self.columns, found) != (rows, columns, wanted) or self.bits_per_pixel not in (8, 16):
            raise InstrumentError(
                f"{rows} x {columns} pixels were asked for, the instrument gave {self.rows} x {self.columns} "
                f"of {self.bits_per_pixel} bits in {found} bytes"
            )
        return self


class Instrument:
    """What a lab writes: the first three methods are needed, every other is optional.

    All are called by one thread, one at a time. Raise ``BusyError``, ``OutOfRangeError``, ``BeamOffError``
    or ``InterlockError`` where they say what is the matter; any other exception is the instrument's failure.
    A method that is not overridden is not among the bridge's capabilities.

    Attributes:
        vendor, model, serial, software_version: Who it is; may be set in ``open``.
        limits_mm: Lowest and highest working distance that may ever be set; ``open`` may narrow them.
        lost_errors: Exceptions after which the vendor's software has to be connected again: before the next
            call ``close`` and ``open`` are called.
        pushes: Whether ``Bridge.push`` is called with images that the owner acquires.
        answer_s: Deadline of a call that takes no time of its own; less than focusd waits by default
            (``timeouts.request_s``).
        settle_s: Deadline of a move, likewise (``settle_s`` and ``request_s``), and of ``open``.
        scan_margin_s: Deadline of a scan beside twice its beam time.
        poll_interval_s: How often ``poll`` is called while somebody has subscribed.
    """

    vendor = ""
    model = ""
    serial = ""
    software_version = ""
    limits_mm: tuple[float, float]
    lost_errors: tuple[type[BaseException], ...] = (ConnectionError,)
    pushes = False
    answer_s = 4.0
    settle_s = 13.0
    scan_margin_s = 9.0
    poll_interval_s = 0.5

    def get_state(self) -> Json:
        """Give the *state* of PROTOCOL.md: ``working_distance_mm``, and whatever else is known."""
        raise NotImplementedError

    def set_working_distance(self, working_distance_mm: float) -> float:
        """Move, wait until it has settled, and give the readback. The limits have been checked."""
        raise NotImplementedError

    def scan(self, scan: Scan) -> Image:
        """Begin now, and give the pixels of ``scan.region`` when it is over. ``frames`` is seen to."""
        raise NotImplementedError

    def open(self) -> None:
        """Connect to the vendor's software."""

    def close(self) -> None:
        """Disconnect; called also after a failure of ``open``."""

    def poll(self) -> Image | None:
        """Give the image that the owner has acquired since the last call, if any. Never scan here."""
        raise NotImplementedError

    def get_stigmator(self) -> tuple[float, float]:
        """Give x and y in percent."""
        raise NotImplementedError

    def set_stigmator(self, x_percent: float, y_percent: float) -> tuple[float, float]:
        """Set, and give the readback."""
        raise NotImplementedError

    def freeze_auto_contrast(self, *, frozen: bool) -> None:
        """Keep brightness and contrast from changing by themselves, or let them."""
        raise NotImplementedError

    def blank_beam(self, *, blanked: bool) -> None:
        """Keep the beam off the specimen, or let it on."""
        raise NotImplementedError

    def has(self, name: str) -> bool:
        """Tell whether a method is overridden."""
        return getattr(type(self), name) is not getattr(Instrument, name)

    @property
    def capabilities(self) -> list[str]:
        """Names of the optional methods of PROTOCOL.md that it has."""
        optional = ("blank_beam", "freeze_auto_contrast", "get_stigmator", "set_stigmator")
        pushed = ["subscribe"] if self.pushes or self.has("poll") else []
        return sorted(["ping", *pushed, *filter(self.has, optional)])
