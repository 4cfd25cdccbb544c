"""Bytes to requests and back, strictly: a length, a JSON header, and after some a payload (PROTOCOL.md)."""

from __future__ import annotations

import json
import math
import struct
from typing import Any, NoReturn, cast

from .errors import GarbageError, InstrumentError, OutOfRangeError, ParamsError, RequestError
from .instrument import Json, Pixels, Region, Scan

MAX_HEADER_BYTES = 65_536
MAX_SCAN_PIXELS = 8192 * 8192
MAX_FRAMES = 64


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it says one thing twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def decode(data: bytes) -> Json:
    """Read a header.

    Raises:
        BridgeError: not one strict JSON object in UTF-8, or one that announces a payload.
    """
    try:
        header = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise GarbageError(f"a header is no JSON: {str(error)[:100] or 'nested too deeply'}") from error
    if not isinstance(header, dict):
        raise GarbageError("a header must be a JSON object")
    if any(isinstance(part, dict) and part.get("payload_bytes") for part in (header, header.get("params"))):
        raise GarbageError("a request has no payload")
    return header


def encode(header: Json, payload: Pixels = b"") -> list[Pixels]:
    """Give the pieces of a message."""
    data = json.dumps({"jsonrpc": "2.0", **header}, allow_nan=False, separators=(",", ":")).encode()
    if len(data) > MAX_HEADER_BYTES:
        raise InstrumentError(f"an answer of {len(data)} bytes is too long")
    return [struct.pack(">I", len(data)) + data, memoryview(payload).cast("B")]


class Params:
    """Takes parameters out of a request; what is not as it must be is an error of the caller."""

    def __init__(self, values: Json) -> None:
        self._values = values

    def get(self, name: str) -> object:
        """Give a value as it is."""
        return self._values.get(name)

    def number(self, name: str) -> float:
        """Give a finite number."""
        value = _finite(self.get(name))
        if value is None:
            raise ParamsError(f"{name} must be a finite number")
        return value

    def whole(self, name: str, least: int, most: int) -> int:
        """Give a whole number within bounds."""
        value = self.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ParamsError(f"{name} must be a whole number from {least} to {most}")
        return value

    def flag(self, name: str) -> bool:
        """Give true or false."""
        value = self.get(name)
        if not isinstance(value, bool):
            raise ParamsError(f"{name} must be true or false")
        return value

    def scan(self) -> Scan:
        """Read what to scan."""
        width, height = (self.whole(name, 1, 65_535) for name in ("width", "height"))
        if width * height > MAX_SCAN_PIXELS:
            raise OutOfRangeError(f"a scan has at most {MAX_SCAN_PIXELS} pixels")
        dwell_time_us = self.number("dwell_time_us")
        if dwell_time_us <= 0:
            raise ParamsError("dwell_time_us must be above 0")
        frames = 1 if self.get("frames") is None else self.whole("frames", 1, MAX_FRAMES)
        bits_per_pixel = 16 if self.get("bits_per_pixel") == 16 else 8
        return Scan(width, height, dwell_time_us, self._region(width, height), frames, bits_per_pixel)

    def _region(self, width: int, height: int) -> Region:
        value = self.get("region")
        if value is None:
            return Region(0, 0, width, height)
        if not isinstance(value, dict):
            raise ParamsError("region must be an object")
        part = Params(value)
        x, y = part.whole("x", 0, width - 1), part.whole("y", 0, height - 1)
        return Region(x, y, part.whole("width", 1, width - x), part.whole("height", 1, height - y))


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def tidy(value: object) -> object:
    """Make what an instrument tells fit for JSON: its own kinds of numbers plain, what is no number null."""
    if isinstance(value, dict):
        return {str(name): tidy(each) for name, each in value.items()}
    if value is None or isinstance(value, (bool, str)):
        return value
    return _finite(float(cast("float", value)))


def request(header: Json) -> tuple[str, Params]:
    """Give method and parameters of a request.

    Raises:
        RequestError: it is none.
    """
    method, params, identification = header.get("method"), header.get("params", {}), header.get("id")
    if header.get("jsonrpc") != "2.0" or not isinstance(method, str) or not isinstance(params, dict):
        raise RequestError("a request has jsonrpc 2.0, a method and params by name")
    plain = identification is None or isinstance(identification, str) or _finite(identification) is not None
    if not plain:
        raise RequestError("id must be a number, text or null")
    return method, Params(params)
