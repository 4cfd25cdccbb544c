"""What bridge messages say, read strictly and written in one way: who answers, the state, scans, images.

Units are focusd's own, so nothing is converted. A value that the instrument does not tell is ``null`` or
left out. Keys that are not known are ignored.

``bits_per_pixel`` of a scan is a wish: the image says by its dtype what it became.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from focusd.errors import RemoteProtocolError
from focusd.frame import ScanRegion, ScanRequest, StagePosition
from focusd.protocol.bridge import PAYLOAD_KEY, shown

PROTOCOL_VERSION: Final = 1

Json: TypeAlias = dict[str, Any]
Dtype: TypeAlias = Literal["uint8", "uint16"]

BYTES_PER_PIXEL: Final[Mapping[str, int]] = {"uint8": 1, "uint16": 2}

_LONGEST_TEXT: Final = 256
_MOST_CAPABILITIES: Final = 64
_LARGEST_NAME: Final = 10**18
_AXES: Final = ("x_mm", "y_mm", "z_mm", "rotation_deg", "tilt_deg")


class Fields:
    """Takes values out of a JSON object; what is not as it must be is a ``RemoteProtocolError``.

    Args:
        value: The object, not checked yet.
        of: What it is, for the error.
    """

    def __init__(self, value: object, of: str) -> None:
        self._of = of
        self._values: Json = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            raise self.error("", "must be an object", value)

    def error(self, name: str, demand: str, value: object) -> RemoteProtocolError:
        """Give the error that a value is not what it must be."""
        return RemoteProtocolError(f"{self._of}: {name or 'it'} {demand}, got {shown(value)}")

    def get(self, name: str) -> object:
        """Give a value as it is; ``None`` when it is missing."""
        return self._values.get(name)

    def number(self, name: str) -> float:
        """Give a finite number."""
        value = self.get(name)
        number = _finite(value)
        if number is None:
            raise self.error(name, "must be a finite number", value)
        return number

    def optional_number(self, name: str) -> float | None:
        """Give a finite number or ``None``."""
        return None if self.get(name) is None else self.number(name)

    def optional_positive(self, name: str) -> float | None:
        """Give a number above 0 or ``None``."""
        number = self.optional_number(name)
        if number is not None and number <= 0:
            raise self.error(name, "must be above 0", number)
        return number

    def whole(self, name: str, *, least: int = 0) -> int:
        """Give a whole number from ``least`` on."""
        value = self.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
            raise self.error(name, f"must be a whole number from {least}", value)
        return value

    def text(self, name: str) -> str:
        """Give text fit for a log line: printable characters, at most 256; missing is empty."""
        value = self.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.error(name, "must be text", value)
        return "".join(c for c in value[:_LONGEST_TEXT] if c.isprintable()).strip()

    def optional_bool(self, name: str) -> bool | None:
        """Give true, false or ``None``."""
        value = self.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise self.error(name, "must be true, false or null", value)

    def part(self, name: str) -> Fields:
        """Give an object inside."""
        return Fields(self.get(name), f"{self._of}: {name}")


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        # JSON's whole numbers have no bound.
        return None
    return number if math.isfinite(number) else None


# --- who answers ---


@dataclass(frozen=True, slots=True)
class Hello:
    """What a bridge tells of its instrument, once for each connection."""

    limits_mm: tuple[float, float]
    vendor: str = ""
    model: str = ""
    serial: str = ""
    software_version: str = ""
    capabilities: frozenset[str] = frozenset()
    protocol: int = PROTOCOL_VERSION

    def as_json(self) -> Json:
        """Give the result of ``hello``."""
        return {
            "protocol": self.protocol,
            "vendor": self.vendor,
            "model": self.model,
            "serial": self.serial,
            "software_version": self.software_version,
            "capabilities": sorted(self.capabilities),
            "limits": {"working_distance_mm": list(self.limits_mm)},
        }


def parse_hello(result: object) -> Hello:
    """Read the result of ``hello``; the protocol is not judged.

    Raises:
        RemoteProtocolError: a value is missing or not what it must be.
    """
    fields = Fields(result, "hello")
    capabilities = fields.get("capabilities")
    named = [] if capabilities is None else capabilities
    if (
        not isinstance(named, list)
        or len(named) > _MOST_CAPABILITIES
        or not all(isinstance(name, str) for name in named)
    ):
        raise fields.error(
            "capabilities", f"must be a list of at most {_MOST_CAPABILITIES} names", capabilities
        )
    return Hello(
        limits_mm=_parse_limits(fields.part("limits")),
        vendor=fields.text("vendor"),
        model=fields.text("model"),
        serial=fields.text("serial"),
        software_version=fields.text("software_version"),
        capabilities=frozenset(named),
        protocol=fields.whole("protocol"),
    )


def _parse_limits(limits: Fields) -> tuple[float, float]:
    value = limits.get("working_distance_mm")
    ends = [_finite(end) for end in value] if isinstance(value, list) else []
    match ends:
        case [float(low), float(high)] if low < high:
            return low, high
        case _:
            raise limits.error("working_distance_mm", "must be [low, high] with low below high", value)


# --- the state ---


@dataclass(frozen=True, slots=True)
class ColumnState:
    """One reading of the column and the stage."""

    working_distance_mm: float
    field_of_view_um: float | None = None
    dwell_time_us: float | None = None
    detector: str | None = None
    accelerating_voltage_kv: float | None = None
    probe_current_pa: float | None = None
    beam_on: bool | None = None
    stage_position: StagePosition | None = None

    def as_json(self) -> Json:
        """Give the *state* object."""
        position = self.stage_position
        return {
            "working_distance_mm": self.working_distance_mm,
            "field_of_view_um": self.field_of_view_um,
            "dwell_time_us": self.dwell_time_us,
            "detector": self.detector,
            "accelerating_voltage_kv": self.accelerating_voltage_kv,
            "probe_current_pa": self.probe_current_pa,
            "beam_on": self.beam_on,
            "stage_position": position and {axis: getattr(position, axis) for axis in _AXES},
        }


def parse_state(result: object, of: str = "get_state") -> ColumnState:
    """Read a *state*.

    Raises:
        RemoteProtocolError: no working distance, or a value that is not what it must be.
    """
    fields = Fields(result, of)
    position = None
    if fields.get("stage_position") is not None:
        axes = fields.part("stage_position")
        position = StagePosition(*(axes.optional_number(axis) for axis in _AXES))
    return ColumnState(
        working_distance_mm=fields.number("working_distance_mm"),
        field_of_view_um=fields.optional_positive("field_of_view_um"),
        dwell_time_us=fields.optional_positive("dwell_time_us"),
        detector=fields.text("detector") or None,
        accelerating_voltage_kv=fields.optional_number("accelerating_voltage_kv"),
        probe_current_pa=fields.optional_number("probe_current_pa"),
        beam_on=fields.optional_bool("beam_on"),
        stage_position=position,
    )


def working_distance(value: object, of: str) -> float:
    """Read ``working_distance_mm`` out of the parameters or the result of a move.

    Raises:
        RemoteProtocolError: there is no finite number.
    """
    return Fields(value, of).number("working_distance_mm")


# --- scans and images ---


def scan_params(request: ScanRequest) -> Json:
    """Give the parameters of ``scan``."""
    params: Json = {
        "width": request.width,
        "height": request.height,
        "dwell_time_us": request.dwell_time_us,
        "bits_per_pixel": request.bits_per_pixel,
    }
    region = request.region
    if region is not None:
        params["region"] = {"x": region.x, "y": region.y, "width": region.width, "height": region.height}
    return params


def parse_scan(params: object) -> tuple[ScanRequest, int]:
    """Read the parameters of ``scan``: what to take, and of how many frames to give the mean.

    Raises:
        RemoteProtocolError: a value is missing or not what it must be, or the region lies outside.
    """
    fields = Fields(params, "scan")
    width, height = fields.whole("width", least=1), fields.whole("height", least=1)
    region = None
    if fields.get("region") is not None:
        part = fields.part("region")
        region = ScanRegion(
            part.whole("x"), part.whole("y"), part.whole("width", least=1), part.whole("height", least=1)
        )
        if region.x + region.width > width or region.y + region.height > height:
            raise fields.error("region", "must lie inside the scan", fields.get("region"))
    dwell_time_us = fields.number("dwell_time_us")
    if dwell_time_us <= 0:
        raise fields.error("dwell_time_us", "must be above 0", dwell_time_us)
    frames = 1 if fields.get("frames") is None else fields.whole("frames", least=1)
    bits_per_pixel = 16 if fields.get("bits_per_pixel") == 16 else 8
    return ScanRequest(width, height, dwell_time_us, bits_per_pixel, region), frames


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What comes with an image, before its pixels.

    ``shape`` is ``(rows, columns)``; the times are seconds of the bridge's own clock.
    """

    shape: tuple[int, int]
    dtype: Dtype
    started_at: float
    finished_at: float
    state: ColumnState
    frame_id: str = ""

    @property
    def payload_bytes(self) -> int:
        """Size of the pixels."""
        return self.shape[0] * self.shape[1] * BYTES_PER_PIXEL[self.dtype]

    def as_json(self) -> Json:
        """Give the result of ``scan``, or the parameters of ``frame``."""
        named = {"frame_id": self.frame_id} if self.frame_id else {}
        return {
            **named,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "state": self.state.as_json(),
            PAYLOAD_KEY: self.payload_bytes,
        }


def parse_image(value: object, payload_bytes: int, of: str = "scan") -> ImageInfo:
    """Read what comes with an image of so many bytes.

    Raises:
        RemoteProtocolError: a value is missing or not what it must be, or shape, dtype and size disagree.
    """
    fields = Fields(value, of)
    dtype = _parse_dtype(fields)
    info = ImageInfo(
        shape=_parse_shape(fields),
        dtype=dtype,
        started_at=fields.number("started_at"),
        finished_at=fields.number("finished_at"),
        state=parse_state(fields.get("state"), f"{of}: state"),
        frame_id=_parse_name(fields),
    )
    if info.finished_at < info.started_at:
        raise RemoteProtocolError(
            f"{of}: finished_at {info.finished_at:.6f} lies before started_at {info.started_at:.6f}"
        )
    if info.payload_bytes != payload_bytes:
        raise RemoteProtocolError(
            f"{of}: {info.shape[0]} x {info.shape[1]} pixels of {dtype} are {info.payload_bytes} bytes, "
            f"{payload_bytes} are announced"
        )
    return info


def _parse_name(fields: Fields) -> str:
    value = fields.get("frame_id")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST_NAME:
        return str(value)
    return fields.text("frame_id")


def _parse_dtype(fields: Fields) -> Dtype:
    match fields.get("dtype"):
        case "uint8":
            return "uint8"
        case "uint16":
            return "uint16"
        case other:
            raise fields.error("dtype", "must be uint8 or uint16", other)


def _parse_shape(fields: Fields) -> tuple[int, int]:
    shape = fields.get("shape")
    match shape:
        case [int(rows), int(columns)] if _is_side(rows) and _is_side(columns):
            return rows, columns
        case _:
            raise fields.error("shape", "must be [rows, columns]", shape)


def _is_side(value: int) -> bool:
    return not isinstance(value, bool) and 0 < value < 2**31
