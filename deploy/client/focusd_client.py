"""focusd's client in one file: Python 3.8 or newer, standard library only, nothing to install.

Copy it beside an acquisition script on the microscope's computer:

    from focusd_client import Client

    focusd = Client("http://127.0.0.1:8470")
    judgement = focusd.judge(tile, pixel_size_nm=4.0)
    if judgement.reacquire_from is not None: ...  # take again all tiles from that frame_id on

Every verb raises ``FocusdError`` or one of its kinds and nothing else, but ``OSError`` for a file that cannot
be read. A request whose connection broke is sent again, and done once: it carries an ``Idempotency-Key``.
A ``Client`` holds no connection and may be used from several threads.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import random
import secrets
import select
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

DEFAULT_URL = "http://127.0.0.1:8470"
CONDITIONS = (
    "working_distance_mm",
    "pixel_size_nm",
    "dwell_time_us",
    "accelerating_voltage_kv",
    "detector",
    "label",
    "acquired_at",
    "x_mm",
    "y_mm",
    "z_mm",
    "rotation_deg",
    "tilt_deg",
)

_CONNECT_S = 5.0
_ANSWER_S = 10.0
_LONGEST_PAUSE_S = 10.0
_LONGEST_POLL_S = 30.0
_LEAST_BYTES_PER_S = 1 << 20
_MAX_ANSWER_BYTES = 8 << 20
_FILE_TYPES = (
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"BM", "image/bmp"),
)
_DTYPES = {"B": "uint8", "H": "uint16"}
_ITEM_BYTES = {"uint8": 1, "uint16": 2}

_log = logging.getLogger("focusd_client")


class FocusdError(Exception):
    """Base of everything that the client raises."""


class UnreachableError(FocusdError, ConnectionError):
    """Nobody answers at the daemon's address."""


class DeadlineError(FocusdError, TimeoutError):
    """No answer within the time the caller gave."""


class StrangerError(FocusdError):
    """Whoever answers does not answer as focusd does."""


class FrameError(FocusdError, ValueError):
    """What was given is no frame; nothing was sent."""


class ProblemError(FocusdError):
    """The daemon refuses; ``slug`` names the kind, ``detail`` says why, ``facts`` holds what else it told."""

    def __init__(self, document: dict[str, Any], status: int, retry_after_s: float | None) -> None:
        self.slug = _slug(document)
        self.status = status
        self.detail = str(document.get("detail", ""))
        self.facts = document
        self.retry_after_s = retry_after_s
        title = str(document.get("title", ""))
        super().__init__(": ".join(filter(None, (title, self.detail))) or f"status {status}")


class InvalidRequestError(ProblemError):
    """What was sent cannot be used."""


class UnauthorizedError(ProblemError):
    """A valid token is needed."""


class BusyError(ProblemError):
    """A refocus is queued or running."""


class PausedError(ProblemError):
    """An operator has paused focusd."""


class DegradedError(ProblemError):
    """No move is made until the cause is mended."""


class LeasedError(ProblemError):
    """Somebody scans and the lens is left alone."""


class NotConnectedError(ProblemError):
    """There is no connection to the microscope."""


class NotReadyError(ProblemError):
    """Acquisition may not go on yet."""


_PROBLEMS: dict[str, type[ProblemError]] = {
    "unauthorized": UnauthorizedError,
    "busy": BusyError,
    "paused": PausedError,
    "degraded": DegradedError,
    "scan-lease": LeasedError,
    "not-connected": NotConnectedError,
    "link-lost": NotConnectedError,
    "not-ready": NotReadyError,
}


class Refocus(NamedTuple):
    """One refocus; ``result`` is ``None`` while it goes on, ``refocused`` if the lens found focus."""

    refocus_id: int
    result: str | None
    reason: str
    start_working_distance_mm: float | None
    final_working_distance_mm: float | None

    @property
    def is_success(self) -> bool:
        """Whether the picture is known to be in focus afterwards."""
        return self.result in ("refocused", "confirmed_in_focus")


class Judgement(NamedTuple):
    """What became of one frame."""

    frame_id: int
    verdict: str  # learning, in_focus, suspect, out_of_focus, unjudgeable
    reason: str | None
    ratio: float | None  # sharpness over that of frames in focus
    refocus: Refocus | None  # the refocus that was waited for, if the frame led to one
    reacquire_from: int | None  # take again all frames from this frame_id on; None: none need be
    waits_for: str | None  # what a wanted refocus waits for: checkpoint, scan_lease, client_scan, start


class PredictedFocus(NamedTuple):
    """Where focus is expected at one place of the stage."""

    x_mm: float
    y_mm: float
    working_distance_mm: float
    standard_deviation_um: float
    applied: bool  # at a checkpoint: whether the lens was moved there
    reason: str  # why it was not


class Checkpoint(NamedTuple):
    """What was done between two tiles."""

    action: str  # none, how the refocus ended, or moved: to the focus predicted for the next tile
    reacquire_from: int | None
    working_distance_mm: float | None
    refocus: Refocus | None
    prediction: PredictedFocus | None  # for the next tile, where its position was told


class Status(NamedTuple):
    """The daemon at one moment."""

    state: str
    reason: str
    is_connected: bool
    working_distance_mm: float | None
    waits_for: str | None
    last_refocus: Refocus | None


class Client:
    """Talks to one daemon.

    Args:
        url: Where it listens.
        token: What it wants to be shown, if anything (``http.token_file``).
        patience_s: How long the daemon may be away, e.g. starting again, before ``UnreachableError``.
        silence_s: How long it may say nothing before it is asked again over a new connection.
        tls: Whose certificates to trust with ``https`` (an ``ssl.SSLContext``); by default those that this
            computer trusts.

    Raises:
        ValueError: the URL or the token cannot be used.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        patience_s: float = 20.0,
        silence_s: float = 60.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            msg = f"the URL must look like {DEFAULT_URL}, got {url!r}"
            raise ValueError(msg)
        self.url = url
        self._is_secure = parts.scheme == "https"
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path.rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": "focusd-client"}
        if token is not None:
            if not all("!" <= character <= "~" for character in token.strip()):
                raise ValueError("a token has no spaces, and no characters but printable ASCII")
            self._headers["Authorization"] = "Bearer " + token.strip()
        self._patience_s = patience_s
        self._silence_s = silence_s
        self._tls = tls

    def judge(
        self,
        frame: Any,
        *,
        wait_for_focus: bool = True,
        timeout_s: float = 600.0,
        shape: tuple[int, int] | None = None,
        dtype: str = "uint8",
        **conditions: Any,
    ) -> Judgement:
        """Have a frame judged.

        Args:
            frame: A 2-D array (numpy or alike) of 8 or 16 bit, the path or the bytes of a TIFF, PNG, JPEG or
                BMP file, or bare pixels as bytes with their ``shape``.
            wait_for_focus: Answer when the refocus that the frame leads to has ended. Scan nothing meanwhile.
            timeout_s: Longest wait for the refocus.
            shape: Rows and columns of bare pixels.
            dtype: Theirs, ``uint8`` or ``uint16`` (little-endian).
            conditions: What is known of the frame, as in ``CONDITIONS``.
        """
        data, content_type, query = _content(frame, shape, dtype)
        query.update(_said(conditions))
        wait_s = 0.0
        if wait_for_focus:
            wait_s = timeout_s
            query.update({"wait": "refocus", "timeout_s": f"{timeout_s:.3f}"})
        body = self._ask("POST", "/v1/frames", query, data, content_type, wait_s + self._margin_s)
        verdict = _must(body, "verdict", dict)
        return Judgement(
            frame_id=_must(verdict, "frame_id", int),
            verdict=_must(verdict, "verdict", str),
            reason=verdict.get("reason"),
            ratio=verdict.get("ratio"),
            refocus=_refocus(body.get("refocus")),
            reacquire_from=body.get("reacquire_from"),
            waits_for=body.get("waits_for"),
        )

    def checkpoint(
        self, position: tuple[float, float] | None = None, *, timeout_s: float = 600.0
    ) -> Checkpoint:
        """Say that acquisition is between two tiles, and wait until what is pending has been done.

        The answer also tells of a refocus that came by itself since the last one that was told of.

        Args:
            position: Where the next tile is, x and y of the stage in mm: the lens may go to the focus
                predicted for it. Not if tiles are to be taken again first: then say where the first is.
            timeout_s: Longest wait.
        """
        query = {"timeout_s": f"{timeout_s:.3f}"}
        data = None if position is None else json.dumps({"position": _position(position)}).encode()
        body = self._ask("POST", "/v1/checkpoint", query, data, timeout_s=timeout_s + self._margin_s)
        return Checkpoint(
            action=_must(body, "action", str),
            reacquire_from=body.get("reacquire_from"),
            working_distance_mm=body.get("working_distance_mm"),
            refocus=_refocus(body.get("refocus")),
            prediction=_prediction(body.get("prediction")),
        )

    def predict_focus(
        self, positions: Iterable[tuple[float, float]], *, timeout_s: float = 30.0
    ) -> list[PredictedFocus]:
        """Say where focus is expected now, at places of the stage in mm; at most 1,000 at a time."""
        data = json.dumps({"positions": [_position(position) for position in positions]}).encode()
        body = self._ask("POST", "/v1/focus-surface/predict", data=data, timeout_s=timeout_s)
        told = [_prediction(one) for one in _must(body, "predictions", list)]
        return [one for one in told if one is not None]

    def forget_focus_surface(self, *, timeout_s: float = 30.0) -> None:
        """Forget where focus was found: the specimen is another."""
        self._ask("DELETE", "/v1/focus-surface", timeout_s=timeout_s)

    def hold(
        self, holder: str = "acquisition", *, expires_in_s: float = 120.0, timeout_s: float = 600.0
    ) -> Hold:
        """Keep the lens still for the length of a ``with`` block; see ``Hold``."""
        return Hold(self._ask, holder, expires_in_s, timeout_s)

    def wait_ready(self, *, timeout_s: float = 600.0) -> str:
        """Wait until acquisition may go on, and give the daemon's state; also waits for one that starts."""
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            query = {"timeout_s": f"{min(left_s, _LONGEST_POLL_S):.3f}"}
            try:
                body = self._ask(
                    "GET", "/v1/ready", query, timeout_s=left_s + _ANSWER_S, patience_s=timeout_s
                )
                return str(_must(body, "state", str))
            except NotReadyError:
                if time.monotonic() >= deadline:
                    raise

    def refocus(self, *, timeout_s: float = 600.0) -> Refocus:
        """Have focus looked for now, and wait for the end; one that takes longer has ``result`` ``None``."""
        query = {"wait": "true", "timeout_s": f"{timeout_s:.3f}"}
        body = self._ask("POST", "/v1/refocuses", query, timeout_s=timeout_s + self._margin_s)
        refocus = _refocus(body)
        if refocus is None:
            raise StrangerError("focusd answered a refocus with nothing")
        return refocus

    def status(self, *, timeout_s: float = 30.0) -> Status:
        """Give the daemon's state at this moment."""
        body = self._ask("GET", "/v1/status", timeout_s=timeout_s)
        pending = body.get("pending_refocus")
        return Status(
            state=_must(body, "state", str),
            reason=_must(body, "reason", str),
            is_connected=_must(body, "link", dict).get("connected") is True,
            working_distance_mm=body.get("working_distance_mm"),
            waits_for=None if pending is None else _must(pending, "waits_for", str),
            last_refocus=_refocus(body.get("last_refocus")),
        )

    @property
    def _margin_s(self) -> float:
        return self._patience_s + _ANSWER_S

    def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        data: Any = None,
        content_type: str = "application/json",
        timeout_s: float = 30.0,
        patience_s: float | None = None,
    ) -> dict[str, Any]:
        """Ask until it is answered, or the time is up, or nobody was heard of for ``patience_s``."""
        target = self._prefix + quote(path) + ("?" + urlencode(query) if query else "")
        headers = dict(self._headers)
        if method == "POST":
            headers["Idempotency-Key"] = secrets.token_hex(16)
        if data is not None:
            headers.update({"Content-Type": content_type, "Content-Length": str(len(data))})
        patience_s = self._patience_s if patience_s is None else patience_s
        unheard_since = time.monotonic()
        deadline = unheard_since + timeout_s
        pauses = _pauses()
        while True:
            left_s = deadline - time.monotonic()
            try:
                return self._attempt(method, target, headers, data, max(0.01, min(left_s, self._silence_s)))
            except ProblemError as problem:
                # One that is not ready has waited for as long as it was asked to.
                if problem.status != 503 or problem.retry_after_s is None or problem.slug == "not-ready":
                    raise
                failure: FocusdError = problem
                pause_s = min(problem.retry_after_s, _LONGEST_PAUSE_S) + next(pauses)
                unheard_since = time.monotonic()
            except DeadlineError as silence:
                failure, pause_s, unheard_since = silence, 0.0, time.monotonic()
            except UnreachableError as error:
                failure, pause_s = error, next(pauses)
                if time.monotonic() + pause_s - unheard_since > patience_s:
                    raise
            if time.monotonic() + pause_s >= deadline:
                raise failure
            time.sleep(pause_s)

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._is_secure:
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)

    def _attempt(
        self, method: str, target: str, headers: dict[str, str], data: Any, timeout_s: float
    ) -> dict[str, Any]:
        connection = self._connection(min(_CONNECT_S, timeout_s))
        try:
            try:
                connection.connect()
            except ssl.SSLCertVerificationError as error:
                msg = f"the certificate of {self.url} is not trusted: {error.verify_message}"
                raise StrangerError(msg) from error
            except OSError as error:
                msg = f"no focusd answers at {self.url}: {error}"
                raise UnreachableError(msg) from error
            sending_s = len(data) / _LEAST_BYTES_PER_S if data is not None else 0.0
            connection.sock.settimeout(timeout_s + sending_s)
            _send(connection, method, target, headers, data)
            response = connection.getresponse()
            content = response.read(_MAX_ANSWER_BYTES + 1)
        except socket.timeout as error:
            msg = f"{self.url} has not answered in time"
            raise DeadlineError(msg) from error
        except (OSError, http.client.IncompleteRead) as error:
            msg = f"the connection to {self.url} broke: {error}"
            raise UnreachableError(msg) from error
        except http.client.HTTPException as error:
            msg = f"{self.url} answers, but not in HTTP as focusd speaks it"
            raise StrangerError(msg) from error
        finally:
            connection.close()
        return self._judged(response, content)

    def _judged(self, response: http.client.HTTPResponse, content: bytes) -> dict[str, Any]:
        body = _object(content)
        if 200 <= response.status < 300 and body is not None:
            return body
        if response.status >= 400 and body is not None and isinstance(body.get("type"), str):
            usual = InvalidRequestError if response.status in (400, 411, 413, 415, 422) else ProblemError
            after = response.getheader("Retry-After", "")
            retry_after_s = float(after) if after.isdigit() else None
            raise _PROBLEMS.get(_slug(body), usual)(body, response.status, retry_after_s)
        raise StrangerError(
            f"{self.url} answers, but not as focusd does (status {response.status}); is the URL right?"
        )


class Hold:
    """A scan lease for the length of a ``with`` block: renewed by a thread of its own, and given back.

    A lease that was lost, because the daemon was started again or could not be reached, is taken anew, and
    ``was_lost`` tells of it: the lens may have moved meanwhile. That is no exception, for the scan is not to
    end by it; look after the block, and take the image again if it matters.
    """

    def __init__(
        self, ask: Callable[..., dict[str, Any]], holder: str, expires_in_s: float, timeout_s: float
    ) -> None:
        self.was_lost = False
        self._ask = ask
        self._holder = holder
        self._expires_in_s = expires_in_s
        self._timeout_s = timeout_s
        self._path = ""
        self._holds_until = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_renewing, name="focusd lease", daemon=True)

    def __enter__(self) -> Hold:
        """Wait for a refocus that runs, and take the lease."""
        self._take(self._timeout_s)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the lease back; if that fails it runs out by itself. The block's own error is never hidden."""
        self._ended.set()
        self._thread.join(_ANSWER_S)
        try:
            self._ask("DELETE", self._path, timeout_s=_ANSWER_S)
        except ProblemError as problem:
            self._note_lost(problem)
        except FocusdError as failure:
            _log.warning("the scan lease of %s was not given back: %s", self._holder, failure)
            self._note_lost_in_time(failure)

    def _take(self, wait_s: float) -> None:
        data = json.dumps({"holder": self._holder, "expires_in_s": self._expires_in_s}).encode()
        query = {"wait_s": f"{wait_s:.3f}"}
        body = self._ask("POST", "/v1/scan-leases", query, data, timeout_s=wait_s + _ANSWER_S)
        self._path = "/v1/scan-leases/" + str(_must(body, "lease_id", str))
        self._holds_until = time.monotonic() + self._expires_in_s

    def _keep_renewing(self) -> None:
        pause_s = self._expires_in_s / 3
        while not self._ended.wait(pause_s):
            pause_s = self._expires_in_s / (3 if self._has_renewed() else 20)

    def _has_renewed(self) -> bool:
        try:
            self._renew()
        except FocusdError as failure:
            self._note_lost_in_time(failure)
            return False
        return True

    def _renew(self) -> None:
        asked = time.monotonic()
        data = json.dumps({"expires_in_s": self._expires_in_s}).encode()
        try:
            self._ask("PUT", self._path, data=data, timeout_s=self._expires_in_s / 3)
            self._holds_until = asked + self._expires_in_s
        except ProblemError as problem:
            if problem.status != 404:
                raise
            if not self._ended.is_set():
                self._note_lost(problem)
                self._take(self._expires_in_s / 3)

    def _note_lost_in_time(self, why: FocusdError) -> None:
        if time.monotonic() >= self._holds_until:
            self._note_lost(why)

    def _note_lost(self, why: FocusdError) -> None:
        if not self.was_lost:
            _log.warning("the scan lease of %s was lost: %s", self._holder, why)
        self.was_lost = True


def _send(
    connection: http.client.HTTPConnection, method: str, target: str, headers: dict[str, str], data: Any
) -> None:
    """Send a request; a frame only when the daemon wants it, or has not said so within a second."""
    asks_first = data is not None and not isinstance(connection, http.client.HTTPSConnection)
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    if asks_first:
        connection.putheader("Expect", "100-continue")
    connection.endheaders()
    if data is None or (asks_first and not _wants_body(connection.sock)):
        return
    try:
        connection.send(data)
    except (BrokenPipeError, ConnectionResetError):
        _log.debug("the daemon has closed its side; its answer tells why")


def _wants_body(connection: socket.socket) -> bool:
    readable, _, _ = select.select([connection], [], [], 1.0)
    start = connection.recv(12, socket.MSG_PEEK) if readable else b""
    return len(start) < 12 or start.endswith(b" 100")


def _content(frame: Any, shape: tuple[int, int] | None, dtype: str) -> tuple[memoryview, str, dict[str, str]]:
    """Give a frame as bytes, their media type, and what describes bare pixels."""
    if isinstance(frame, (str, os.PathLike)):
        return _file(memoryview(Path(frame).read_bytes()), f"{os.fspath(frame)} is")
    try:
        view = memoryview(frame)
    except (TypeError, ValueError) as error:
        msg = f"a frame is an array, bytes or a path, not {type(frame).__name__}"
        raise FrameError(msg) from error
    if shape is not None:
        rows, columns = shape
        if min(rows, columns) < 1 or view.nbytes != rows * columns * _ITEM_BYTES.get(dtype, 0):
            message = f"{rows} x {columns} pixels of {dtype!r} do not make {view.nbytes} bytes"
            raise FrameError(message)
        return _flat(view), "application/octet-stream", {"shape": f"{rows},{columns}", "dtype": dtype}
    if view.ndim == 1 and view.itemsize == 1:
        return _file(view.cast("B"), "bytes without a shape are")
    return _array(view)


def _file(data: memoryview, what: str) -> tuple[memoryview, str, dict[str, str]]:
    start = bytes(data[:8])
    for magic, media_type in _FILE_TYPES:
        if start.startswith(magic):
            return data, media_type, {}
    msg = f"{what} no TIFF, PNG, JPEG or BMP image"
    raise FrameError(msg)


def _array(view: memoryview) -> tuple[memoryview, str, dict[str, str]]:
    order, dtype = view.format[:-1], _DTYPES.get(view.format[-1:])
    if dtype is None or order not in ("", "@", "=", "<", ">") or view.ndim != 2:
        message = "a frame has 2 dimensions of uint8 or uint16, not %d of format %r"
        raise FrameError(message % (view.ndim, view.format))
    data = _flat(view)
    is_big_endian = order == ">" or (order != "<" and sys.byteorder == "big")
    if dtype == "uint16" and is_big_endian:
        swapped = bytearray(len(data))
        swapped[0::2], swapped[1::2] = data[1::2], data[0::2]
        data = memoryview(swapped)
    rows, columns = view.shape or (0, 0)
    return data, "application/octet-stream", {"shape": f"{rows},{columns}", "dtype": dtype}


def _flat(view: memoryview) -> memoryview:
    """The bytes in row order; copied only if they do not lie so, or Python cannot recast their format."""
    is_native = len(view.format.lstrip("@")) == 1
    return view.cast("B") if view.c_contiguous and is_native else memoryview(view.tobytes())


def _said(conditions: dict[str, Any]) -> dict[str, str]:
    unknown = sorted(set(conditions) - set(CONDITIONS))
    if unknown:
        msg = "focusd knows no {} of a frame".format(", ".join(unknown))
        raise FrameError(msg)
    said = {}
    for name, value in conditions.items():
        if isinstance(value, str):
            said[name] = value
        elif value is not None:
            try:
                said[name] = repr(float(value))
            except (TypeError, ValueError) as error:
                msg = f"{name} must be a number, got {value!r}"
                raise FrameError(msg) from error
    return said


def _pauses() -> Iterator[float]:
    """None at first, then growing to a cap, shortened at random so that many scripts do not come at once."""
    yield 0.0
    pause_s = 0.1
    while True:
        yield pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients out, keeps no secret
        pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)


def _object(content: bytes) -> dict[str, Any] | None:
    """The JSON object in an answer, ``{}`` if it is empty, ``None`` if it is anything else."""
    if not content:
        return {}
    if len(content) > _MAX_ANSWER_BYTES:
        return None
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _slug(document: dict[str, Any]) -> str:
    return str(document.get("type", "")).rpartition(":")[2]


def _must(body: Any, name: str, kind: type | tuple[type, ...]) -> Any:
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, kind):
        raise StrangerError(f"focusd's answer has no usable {name!r}: {str(value)[:80]}")
    return value


def _refocus(body: dict[str, Any] | None) -> Refocus | None:
    if body is None:
        return None
    return Refocus(
        refocus_id=_must(body, "refocus_id", int),
        result=body.get("result"),
        reason=_must(body, "reason", str),
        start_working_distance_mm=body.get("start_working_distance_mm"),
        final_working_distance_mm=body.get("final_working_distance_mm"),
    )


def _position(position: tuple[float, float]) -> dict[str, float]:
    x_mm, y_mm = position
    return {"x_mm": float(x_mm), "y_mm": float(y_mm)}


def _prediction(body: dict[str, Any] | None) -> PredictedFocus | None:
    if body is None:
        return None
    return PredictedFocus(
        x_mm=float(_must(body, "x_mm", (int, float))),
        y_mm=float(_must(body, "y_mm", (int, float))),
        working_distance_mm=float(_must(body, "working_distance_mm", (int, float))),
        standard_deviation_um=float(_must(body, "standard_deviation_um", (int, float))),
        applied=body.get("applied") is True,
        reason=str(body.get("reason") or ""),
    )
