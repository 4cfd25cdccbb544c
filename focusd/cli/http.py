"""Talk to a running daemon over HTTP, with the standard library only: a client command must start at once.

``DaemonClient`` sends one request a connection and turns every way this can fail into one sentence.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from focusd import __version__
from focusd.cli.answers import Json, text
from focusd.cli.outcome import CommandFailedError, ExitCode

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 8 << 20
UNIX = "unix:"

BUSY_PROBLEM = "urn:focusd:problem:busy"


class NoDaemonError(CommandFailedError):
    """Nobody answers at the daemon's address."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"no daemon answers at {url} ({why}); start one with `focusd run -c FILE`, "
            "or say where it is with --url or FOCUSD_URL",
            ExitCode.NO_DAEMON,
        )


class RefusedError(CommandFailedError):
    """The daemon answered with a problem document (RFC 9457)."""

    def __init__(self, problem: Json) -> None:
        title, detail = text(problem, "title"), text(problem, "detail")
        is_busy = problem.get("type") == BUSY_PROBLEM
        says_it_all = detail.casefold().startswith(title.casefold())
        message = detail if says_it_all else ": ".join(filter(None, (title, detail)))
        super().__init__(message, ExitCode.BUSY if is_busy else ExitCode.FAILED)


class DaemonClient:
    """The daemon's verbs, from outside.

    Args:
        url: Where it listens, e.g. ``http://127.0.0.1:8470``; a path is put before every route. Or
            ``unix:`` and the path of a socket file.
        token: Sent as ``Authorization: Bearer`` when given.
        timeout_s: Longest wait for any one answer.

    Raises:
        CommandFailedError: the URL or the token cannot be used.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._socket = url.removeprefix(UNIX) if url.startswith(UNIX) else None
        self._secure, self._host, self._port, self._prefix = _parts(
            "http://localhost" if self._socket else url
        )
        self._headers = {"Accept": "application/json", "User-Agent": f"focusd/{__version__}"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> Json:
        """Read a resource; raises as ``request`` does."""
        return self.request("GET", path)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Json:
        """Ask for something to be done; raises as ``request`` does."""
        return self.request("POST", path, body)

    def delete(self, path: str) -> Json:
        """Ask for something to be ended; raises as ``request`` does."""
        return self.request("DELETE", path)

    def request(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Json:
        """Send one request and give the JSON object that answers it, ``{}`` for an empty answer.

        Raises:
            NoDaemonError: nobody answers.
            RefusedError: the daemon refuses.
            CommandFailedError: whoever answers is no focusd.
        """
        headers = dict(self._headers)
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            connection.request(method, self._prefix + path, payload, headers)
            response = connection.getresponse()
            content = response.read(MAX_ANSWER_BYTES + 1)
        except OSError as error:
            raise NoDaemonError(self._url, error.strerror or str(error) or type(error).__name__) from error
        except http.client.HTTPException as error:
            raise self._stranger(f"{type(error).__name__}") from error
        finally:
            connection.close()
        return self._judged(response.status, content)

    def _connection(self) -> http.client.HTTPConnection:
        if self._socket:
            return _UnixConnection(self._socket, self._timeout_s)
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout_s)

    def _judged(self, status: int, content: bytes) -> Json:
        body = _object(content)
        if 200 <= status < 300 and body is not None:
            return body
        if status >= 400 and body is not None and isinstance(body.get("title"), str):
            raise RefusedError(body)
        raise self._stranger(f"status {status}, {len(content)} bytes that are not what focusd says")

    def _stranger(self, what: str) -> CommandFailedError:
        return CommandFailedError(f"{self._url} answers, but not as focusd does ({what}); is the URL right?")


class _UnixConnection(http.client.HTTPConnection):
    """A connection through a socket file."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(self._path)


def read_token(path: Path) -> str:
    """Read an access token: the only line of a file.

    Raises:
        CommandFailedError: it cannot be read, or is no token.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise CommandFailedError(f"token file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandFailedError(f"token file {path} holds characters that no token has") from error
    if not token or any(c.isspace() or not c.isprintable() for c in token):
        raise CommandFailedError(f"token file {path} must hold one line, the token")
    return token


def _parts(url: str) -> tuple[bool, str, int | None, str]:
    """Whether it is https, host, port, and path without the last slash."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise CommandFailedError(f"--url {url}: {error}", ExitCode.USAGE) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isascii() or " " in url:
        raise CommandFailedError(f"--url must look like http://127.0.0.1:8470, got {url!r}", ExitCode.USAGE)
    return parts.scheme == "https", parts.hostname, port, parts.path.rstrip("/")


def _object(content: bytes) -> Json | None:
    """The JSON object in an answer, ``{}`` if it is empty, ``None`` if it is anything else."""
    if not content:
        return {}
    try:
        value = json.loads(content, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
