"""What clients get: frozen dataclasses as JSON objects.

Keys are the dataclasses' own field names, units included; enums are strings, ids are integers, times are
seconds since 1970 (UTC). A float that is not finite is ``null``, for JSON knows no other way to say it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any

from focusd.records import Baseline, RefocusRecord
from focusd.service.status import Status

_DERIVED: Mapping[type, tuple[str, ...]] = {
    Baseline: ("condition",),
    RefocusRecord: ("beam_time_s", "dose_frames"),
}
"""Properties that are shown beside the fields."""

_AS_IT_IS = frozenset({str, int, bool})


def plain(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Give ``value`` as what JSON knows: dict, list, str, int, float, bool, None.

    Raises:
        TypeError: it holds something else; a bug in focusd.
    """
    kind = type(value)
    if value is None or kind in _AS_IT_IS:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(kind):
        return {name: plain(getattr(value, name)) for name in _shown(kind)}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    raise TypeError(f"{kind.__name__} has no JSON form")


@cache
def _shown(kind: type) -> tuple[str, ...]:
    """Names of a dataclass's fields, and of the properties shown beside them."""
    return (*_DERIVED.get(kind, ()), *(field.name for field in dataclasses.fields(kind)))


@dataclasses.dataclass(frozen=True, slots=True)
class Encoded:
    """What ``encode`` gave, in place of what it was made from."""

    content: bytes


def encode(value: object) -> bytes:
    """Give the UTF-8 JSON of what ``plain`` gave, on one line that ends."""
    if isinstance(value, Encoded):
        return value.content
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
    # A lone surrogate in a microscope's text cannot be written as UTF-8.
    return text.encode("utf-8", "replace") + b"\n"


async def encoded(value: object) -> Encoded:
    """Give ``encode`` of ``plain`` of what may be long, e.g. a page of a list, made in a worker thread."""
    return await asyncio.to_thread(lambda: Encoded(encode(plain(value))))


def status_json(status: Status) -> dict[str, Any]:
    """Give the status as one object.

    ``state`` (disconnected, learning, monitoring, suspect, pending, refocusing, degraded, paused), ``reason``
    why, ``working_distance_mm`` as read back and ``working_distance_setpoint_mm`` as commanded, both ``null``
    when unknown; ``version``, ``started_at``, ``updated_at``, ``limits_mm`` ``[low, high]``; then, each
    ``null`` while there is none: ``microscope`` (vendor, model, serial, software_version, protocol_version),
    ``column`` (the last reading of the column and the stage), ``last_verdict`` (a frame), ``baseline``,
    ``current_refocus`` with its scans so far, ``last_refocus``, ``relay`` and its clients, the watched
    ``folder``, the ``stream`` of a bridge's frames with its counters, ``event_loop_lag_ms`` (p50, p99, max:
    over the last minute); and always ``link`` (state, one of connected, unresponsive, disconnected, stopped;
    connected, address, since, error, reconnects, round_trip_s) and ``counters``.
    """
    column = status.column
    return {
        "state": status.state.value,
        "reason": status.reason,
        "working_distance_mm": None if column is None else plain(column.working_distance_mm),
        **{name: item for name, item in plain(status).items() if name not in {"state", "reason"}},
    }


class StatusRendering:
    """The status as it is sent; made anew only when it has changed, for pollers ask far more often."""

    def __init__(self) -> None:
        self._status: Status | None = None
        self._encoded = Encoded(b"")

    def of(self, status: Status) -> Encoded:
        """Give ``status_json`` of ``status``, encoded."""
        if status != self._status:
            self._status, self._encoded = status, Encoded(encode(status_json(status)))
        return self._encoded


def microscope_json(status: Status) -> dict[str, Any]:
    """Give the microscope as one flat object: who it is, its limits, and the last reading.

    ``vendor``, ``model``, ``serial``, ``software_version``, ``protocol_version``, ``address``, ``limits_mm``,
    ``working_distance_setpoint_mm``, and of the column ``working_distance_mm``, ``field_of_view_um``,
    ``detector``, ``accelerating_voltage_kv``, ``probe_current_pa``, ``beam_on``, ``stage_position``. The
    column's are left out until it has been read for the first time.
    """
    return {
        **(plain(status.microscope) or {}),
        "address": status.link.address,
        "limits_mm": plain(status.limits_mm),
        "working_distance_setpoint_mm": plain(status.working_distance_setpoint_mm),
        **(plain(status.column) or {}),
    }
