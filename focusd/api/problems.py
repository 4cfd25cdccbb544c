"""What every error means over HTTP: one problem document (RFC 9457), one status, one stable type.

``type`` is ``urn:focusd:problem:<slug>`` and never changes; ``title`` belongs to the type; ``detail`` is a
sentence for people about this one occurrence. Other members are facts for programs, such as ``field``,
``allowed`` or ``running_id``. No document ever holds a traceback or a secret.
"""

from __future__ import annotations

import errno
import math
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from focusd.api.hangup import HungUpError
from focusd.errors import (
    BusyError,
    DegradedError,
    ImageError,
    LeasedError,
    LinkError,
    LocalProtocolError,
    MicroscopeError,
    NotConnectedError,
    NotFoundError,
    PausedError,
    ScanIncompleteError,
    ScanRefusedError,
    ServiceError,
    StoreError,
    TooManyError,
    WorkingDistanceLimitError,
    WorkingDistanceNotSetError,
)

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:focusd:problem:"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: what all its occurrences share."""

    slug: str
    status: int
    title: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One occurrence of a problem.

    ``members`` are added to the document, ``headers`` to the response; ``closes`` ends the connection.
    """

    kind: Kind
    detail: str
    members: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    closes: bool = False

    def document(self) -> dict[str, Any]:
        """Give the problem document."""
        return {
            "type": TYPE_PREFIX + self.kind.slug,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            **self.members,
        }


class ProblemError(Exception):
    """A request that ends in a problem found by the endpoint itself."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        closes: bool = False,
        **members: Any,  # noqa: ANN401 - any JSON value
    ) -> None:
        self.problem = Problem(kind, detail, members, headers or {}, closes)
        super().__init__(detail)


BAD_REQUEST = Kind("bad-request", 400, "Not a proper HTTP request")
UNAUTHORIZED = Kind("unauthorized", 401, "A valid token is needed")
FORBIDDEN_ORIGIN = Kind("forbidden-origin", 403, "Requests from other web pages are refused")
READ_ONLY_TOKEN = Kind("read-only-token", 403, "This token may only look")
NO_SUCH_PATH = Kind("no-such-path", 404, "Nothing is at this path")
NOT_FOUND = Kind("not-found", 404, "Not found")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "Method not allowed")
BODY_TOO_SLOW = Kind("body-too-slow", 408, "The body did not come in time")
BUSY = Kind("busy", 409, "A refocus is queued or running")
PAUSED = Kind("paused", 409, "focusd is paused")
DEGRADED = Kind("degraded", 409, "No move is made until the cause is mended")
SCAN_LEASE = Kind("scan-lease", 409, "Somebody scans and the lens is left alone")
REFUSED = Kind("refused", 409, "Not possible in the present state")
ALREADY_FINISHED = Kind("already-finished", 409, "The refocus has ended already")
LENGTH_REQUIRED = Kind("length-required", 411, "The length of the body must be told")
BODY_TOO_LARGE = Kind("body-too-large", 413, "The body is too large")
UNSUPPORTED_MEDIA_TYPE = Kind("unsupported-media-type", 415, "The body is of another type")
EXPECTATION_FAILED = Kind("expectation-failed", 417, "Only 100-continue can be expected")
UNKNOWN_HOST = Kind("unknown-host", 421, "This is not the host you asked for")
INVALID_REQUEST = Kind("invalid-request", 422, "The request is not valid")
WORKING_DISTANCE_LIMIT = Kind("working-distance-limit", 422, "The working distance is outside the limits")
INVALID_FRAME = Kind("invalid-frame", 422, "The frame cannot be judged")
IDEMPOTENCY_KEY_REUSED = Kind("idempotency-key-reused", 422, "The key stands for another request")
TOO_FAST = Kind("too-fast", 429, "Too many changes at once")
HEADERS_TOO_LARGE = Kind("headers-too-large", 431, "The request line or a header is too long")
INTERNAL_ERROR = Kind("internal-error", 500, "A fault inside focusd")
MICROSCOPE_ERROR = Kind("microscope-error", 502, "The microscope refused")
SCAN_REFUSED = Kind("scan-refused", 502, "The microscope would not start a scan")
SCAN_INCOMPLETE = Kind("scan-incomplete", 502, "The scan ended without all of its pixels")
IMAGE_UNUSABLE = Kind("image-unusable", 502, "The microscope's image cannot be judged")
WORKING_DISTANCE_NOT_SET = Kind(
    "working-distance-not-set", 502, "The microscope did not take the working distance"
)
TOO_MANY = Kind("too-many", 503, "Too many at once")
NOT_CONNECTED = Kind("not-connected", 503, "There is no connection to the microscope")
LINK_LOST = Kind("link-lost", 503, "The connection to the microscope was lost")
NOT_READY = Kind("not-ready", 503, "Not ready")
OWNER_STUCK = Kind("owner-stuck", 503, "The owner of the microscope makes no progress")
STORE_UNAVAILABLE = Kind("store-unavailable", 503, "The state directory cannot be used")
STOPPING = Kind("stopping", 503, "focusd is stopping")
DISK_FULL = Kind("disk-full", 507, "The disk is full")

_KINDS: Mapping[type[Exception], Kind] = {
    NotFoundError: NOT_FOUND,
    BusyError: BUSY,
    PausedError: PAUSED,
    DegradedError: DEGRADED,
    NotConnectedError: NOT_CONNECTED,
    LeasedError: SCAN_LEASE,
    TooManyError: TOO_MANY,
    ServiceError: REFUSED,
    WorkingDistanceLimitError: WORKING_DISTANCE_LIMIT,
    WorkingDistanceNotSetError: WORKING_DISTANCE_NOT_SET,
    ScanRefusedError: SCAN_REFUSED,
    ScanIncompleteError: SCAN_INCOMPLETE,
    ImageError: IMAGE_UNUSABLE,
    LinkError: LINK_LOST,
    LocalProtocolError: INTERNAL_ERROR,
    MicroscopeError: MICROSCOPE_ERROR,
    StoreError: STORE_UNAVAILABLE,
    HungUpError: STOPPING,
}

_DISK_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})


def problem_for(error: Exception) -> Problem | None:
    """Say what an error means over HTTP; ``None`` for one that nobody foresaw."""
    if isinstance(error, ProblemError):
        return error.problem
    kind = next((_KINDS[base] for base in type(error).__mro__ if base in _KINDS), INTERNAL_ERROR)
    if kind is INTERNAL_ERROR:
        return None
    if kind is STORE_UNAVAILABLE and _is_disk_full(error):
        kind = DISK_FULL
    return Problem(kind, str(error) or kind.title, _members(error), _headers(error))


def internal_error(incident: str) -> Problem:
    """Say that focusd itself is at fault, and under which name the log tells more."""
    return Problem(INTERNAL_ERROR, f"the log tells more under incident {incident}", {"incident": incident})


def _members(error: Exception) -> dict[str, Any]:
    """The facts that an error carries."""
    match error:
        case WorkingDistanceLimitError():
            return {
                "field": "working_distance_mm",
                "allowed": [error.low_mm, error.high_mm],
                "unit": "mm",
            }
        case WorkingDistanceNotSetError():
            return {
                "requested_working_distance_mm": error.requested_mm,
                "working_distance_mm": error.readback_mm,
            }
        case LeasedError():
            return {"free_in_s": error.free_in_s}
        case BusyError():
            running = error.running_id
            return {"running_id": int(running) if running is not None and running.isdecimal() else None}
        case _:
            return {}


def _headers(error: Exception) -> dict[str, str]:
    """When to ask again, where that is known."""
    match error:
        case LeasedError():
            return {"Retry-After": str(math.ceil(error.free_in_s))}
        case TooManyError():
            return {"Retry-After": "1"}
        case _:
            return {}


def _is_disk_full(error: BaseException) -> bool:
    return any(
        (isinstance(cause, sqlite3.Error) and _primary_code(cause) == sqlite3.SQLITE_FULL)
        or (isinstance(cause, OSError) and cause.errno in _DISK_FULL_ERRNOS)
        for cause in _causes(error)
    )


def _primary_code(error: sqlite3.Error) -> int:
    # Errors raised by the sqlite3 module itself, not by SQLite, carry no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
