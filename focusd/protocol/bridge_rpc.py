"""The JSON-RPC 2.0 part of the bridge protocol: requests, notifications, answers and errors.

Parameters go by name. Keys that are not known are ignored, so that either side may be newer.

Source: JSON-RPC 2.0 specification (jsonrpc.org, 2013), sections 4 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, TypeAlias

from focusd.errors import RemoteProtocolError
from focusd.protocol.bridge import Header, shown

VERSION: Final = "2.0"

Identification: TypeAlias = int | float | str | None
Params: TypeAlias = dict[str, Any]


class ErrorCode(IntEnum):
    """What an error answer means; bridges may use others, which mean ``INSTRUMENT``."""

    PARSE = -32700
    """The bytes were no message."""
    INVALID_REQUEST = -32600
    """The message was no request."""
    UNKNOWN_METHOD = -32601
    INVALID_PARAMS = -32602
    """A parameter is missing or is not what it must be."""
    BUSY = -32001
    """The instrument is doing something else."""
    OUT_OF_RANGE = -32002
    """A value outside what the instrument can do; nothing was changed."""
    BEAM_OFF = -32003
    INTERLOCK = -32004
    """The instrument's own protection forbids it."""
    INSTRUMENT = -32010
    """The instrument or its software failed."""


@dataclass(frozen=True, slots=True)
class Request:
    """A call that is answered with the same ``identification``."""

    method: str
    params: Params = field(default_factory=dict)
    identification: Identification = 0

    @property
    def header(self) -> Header:
        """The JSON-RPC object."""
        return {
            "jsonrpc": VERSION,
            "id": self.identification,
            "method": self.method,
            "params": self.params,
        }


@dataclass(frozen=True, slots=True)
class Notification:
    """Something told that is not answered."""

    method: str
    params: Params = field(default_factory=dict)

    @property
    def header(self) -> Header:
        """The JSON-RPC object."""
        return {"jsonrpc": VERSION, "method": self.method, "params": self.params}


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a request that was carried out."""

    identification: Identification
    value: Any

    @property
    def header(self) -> Header:
        """The JSON-RPC object."""
        return {"jsonrpc": VERSION, "id": self.identification, "result": self.value}


@dataclass(frozen=True, slots=True)
class Failure:
    """The answer to a request that was not; ``identification`` is ``None`` for one that was unreadable."""

    identification: Identification
    code: int
    message: str

    @property
    def header(self) -> Header:
        """The JSON-RPC object."""
        error = {"code": self.code, "message": self.message}
        return {"jsonrpc": VERSION, "id": self.identification, "error": error}

    @property
    def kind(self) -> ErrorCode:
        """What the code means."""
        try:
            return ErrorCode(self.code)
        except ValueError:
            return ErrorCode.INSTRUMENT

    @property
    def reason(self) -> str:
        """The error in words fit for a log line."""
        words = self.kind.name.lower().replace("_", " ")
        text = "".join(c for c in self.message[:256] if c.isprintable()).strip()
        return f"{words} ({self.code}): {text}" if text else f"{words} ({self.code})"


Call: TypeAlias = Request | Notification
Answer: TypeAlias = Result | Failure


def parse_call(header: Header) -> Call:
    """Read what a client sends.

    Raises:
        RemoteProtocolError: neither a request nor a notification.
    """
    _check_version(header)
    method = header.get("method")
    if not isinstance(method, str):
        raise RemoteProtocolError(f"method must be text, got {shown(method)}")
    params = header.get("params", {})
    if not isinstance(params, dict):
        raise RemoteProtocolError(f"params must be an object, got {shown(params)}")
    if "id" not in header:
        return Notification(method, params)
    return Request(method, params, _identification(header))


def parse_from_bridge(header: Header) -> Answer | Notification:
    """Read what a bridge sends.

    Raises:
        RemoteProtocolError: neither an answer nor a notification.
    """
    if "method" in header:
        call = parse_call(header)
        if isinstance(call, Request):
            raise RemoteProtocolError(f"a bridge must not ask, it asked {shown(call.method)}")
        return call
    _check_version(header)
    if "id" not in header:
        raise RemoteProtocolError("an answer must have an id")
    identification = _identification(header)
    if ("result" in header) == ("error" in header):
        raise RemoteProtocolError("an answer must have a result or an error, and not both")
    if "result" in header:
        return Result(identification, header["result"])
    return _failure(identification, header["error"])


def _check_version(header: Header) -> None:
    version = header.get("jsonrpc")
    if version != VERSION:
        raise RemoteProtocolError(f"jsonrpc must be {VERSION!r}, got {shown(version)}")


def _identification(header: Header) -> Identification:
    value = header["id"]
    if isinstance(value, bool) or not isinstance(value, int | float | str | None):
        raise RemoteProtocolError(f"id must be a number, text or null, got {shown(value)}")
    return value


def _failure(identification: Identification, error: object) -> Failure:
    if not isinstance(error, dict):
        raise RemoteProtocolError(f"error must be an object, got {shown(error)}")
    code, message = error.get("code"), error.get("message", "")
    if isinstance(code, bool) or not isinstance(code, int):
        raise RemoteProtocolError(f"error.code must be a whole number, got {shown(code)}")
    if not isinstance(message, str):
        raise RemoteProtocolError(f"error.message must be text, got {shown(message)}")
    return Failure(identification, code, message)
