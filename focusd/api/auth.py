"""Who may ask: the token, and two checks that keep strange web pages out of a browser on this computer.

*Host* must be a name of this daemon, or a page of another site could reach it by giving its own name this
computer's address (DNS rebinding). *Origin*, if a browser sends it, must be this daemon's own, or any page
could post to it (CSRF). No CORS header is ever sent.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import socket
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias
from urllib.parse import urlsplit

from focusd.api.problems import FORBIDDEN_ORIGIN, UNAUTHORIZED, UNKNOWN_HOST, ProblemError
from focusd.config import HttpSettings, is_loopback
from focusd.errors import ConfigError

MIN_TOKEN_BYTES = 16
MAX_TOKEN_BYTES = 4096
_READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^:\[\]@/]+))(?::(?P<port>[0-9]{1,5}))?")

Authority: TypeAlias = tuple[str, int | None]


class Headers(Protocol):
    """Request headers: names in any case, several values each."""

    def __contains__(self, name: object, /) -> bool: ...

    def getall(self, name: str, default: tuple[str, ...], /) -> Sequence[str]:
        """Give all values of a header, ``default`` if it is not there."""
        ...


class Guard:
    """Lets a request in or raises ``ProblemError``.

    Args:
        hosts: Names this daemon goes by, beside the loopback names; folded to lower case.
        any_address: Whether every numeric address counts as a name of this daemon, because it listens on all.
        token: What clients must send; ``None`` lets everybody in.
    """

    def __init__(
        self, hosts: Iterable[str], *, any_address: bool = False, token: bytes | None = None
    ) -> None:
        self._hosts = _LOOPBACK_NAMES | {host.lower() for host in hosts}
        self._any_address = any_address
        self._digest = None if token is None else hashlib.sha256(token).digest()

    def check_host(self, headers: Headers) -> None:
        """Refuse (421) a request that was meant for somebody else."""
        host = _only(headers, "Host")
        authority = None if host is None else _authority(host)
        if authority is None or not self._is_mine(authority[0]):
            raise ProblemError(
                UNKNOWN_HOST,
                "the Host header must name this computer, as http.host does",
                closes=True,
                allowed=sorted(self._hosts),
            )

    def check_origin(self, method: str, headers: Headers) -> None:
        """Refuse (403) what another site's web page sends."""
        if "Origin" in headers and not _is_same_origin(_only(headers, "Origin"), _only(headers, "Host")):
            raise ProblemError(FORBIDDEN_ORIGIN, "the Origin header must be this daemon's own or absent")
        cross_site = _only(headers, "Sec-Fetch-Site", default="none") not in {
            "same-origin",
            "same-site",
            "none",
        }
        if cross_site and method not in _READ_METHODS:
            raise ProblemError(FORBIDDEN_ORIGIN, "another site's web page may change nothing here")

    def check_token(self, headers: Headers) -> None:
        """Refuse (401) a request without the token."""
        if self._digest is None:
            return
        sent = _only(headers, "Authorization")
        scheme, _, credentials = (sent or "").partition(" ")
        # Headers are decoded with surrogateescape: this gives back the bytes that were sent.
        given = credentials.strip().encode("utf-8", "surrogateescape")
        matches = hmac.compare_digest(hashlib.sha256(given).digest(), self._digest)
        if scheme.lower() == "bearer" and matches:
            return
        challenge = 'Bearer realm="focusd"' + (', error="invalid_token"' if sent else "")
        raise ProblemError(
            UNAUTHORIZED,
            "send the token of http.token_file as Authorization: Bearer",
            headers={"WWW-Authenticate": challenge},
        )

    def _is_mine(self, host: str) -> bool:
        return host in self._hosts or (self._any_address and _is_address(host))


def make_guard(settings: HttpSettings) -> Guard:
    """Give the guard that the settings ask for; the token is read here, once.

    Raises:
        ConfigError: the token file cannot be used; names ``http.token_file``.
    """
    hosts = [settings.host]
    if not is_loopback(settings.host):
        hosts += [socket.gethostname(), socket.gethostname().partition(".")[0]]
    return Guard(
        hosts,
        any_address=_is_address(settings.host) and ipaddress.ip_address(settings.host).is_unspecified,
        token=None if settings.token_file is None else read_token(settings.token_file),
    )


def read_token(path: Path) -> bytes:
    """Read a token: one line of at least 16 printable ASCII characters, no spaces.

    The file must be closed to others (mode 0600, 0400 or 0640): what everybody can read is no secret.

    Raises:
        ConfigError: it cannot be used; the message names ``http.token_file``, never what is in it.
    """
    try:
        # O_NONBLOCK: a named pipe would block the start until somebody writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _unusable(path, "must be a regular file")
            if status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
                mode = stat.S_IMODE(status.st_mode)
                raise _unusable(path, f"must have mode 0600 (chmod 600), its mode is {mode:04o}")
            line = file.read(MAX_TOKEN_BYTES + 2)
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from error
    token = line.removesuffix(b"\n").removesuffix(b"\r")
    if not MIN_TOKEN_BYTES <= len(token) <= MAX_TOKEN_BYTES:
        raise _unusable(path, f"must hold one line of {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} characters")
    if not all(0x21 <= byte <= 0x7E for byte in token):
        raise _unusable(path, "must hold one line of printable ASCII characters without spaces")
    return token


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError([f"http.token_file {path} {why}"])


def _only(headers: Headers, name: str, *, default: str | None = None) -> str | None:
    """The value of a header that may come once; ``None`` if it comes twice."""
    values = headers.getall(name, ())
    if not values:
        return default
    return values[0] if len(values) == 1 else None


def _authority(text: str) -> Authority | None:
    """Host, folded, and port of ``host[:port]``; ``None`` if it is nothing of the kind."""
    match = _AUTHORITY.fullmatch(text.lower())
    if match is None:
        return None
    host = match["v6"] or match["name"].removesuffix(".")
    return host, None if match["port"] is None else int(match["port"])


def _is_same_origin(origin: str | None, host: str | None) -> bool:
    try:
        parts = urlsplit((origin or "").lower())
    except ValueError:
        return False
    theirs, mine = _authority(parts.netloc), _authority(host or "")
    default = _DEFAULT_PORTS.get(parts.scheme)
    if theirs is None or mine is None or default is None:
        return False
    return (theirs[0], theirs[1] or default) == (mine[0], mine[1] or default)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
