"""Two checks that keep strange web pages out of a browser on this computer.

*Host* must be a name of this daemon, or a page of another site could reach it by giving its own name this
computer's address (DNS rebinding). *Origin*, if a browser sends it, must be this daemon's own, or any page
could post to it (CSRF). No CORS header is ever sent.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import urlsplit

from focusd.api.headers import Headers, only
from focusd.api.problems import FORBIDDEN_ORIGIN, UNKNOWN_HOST, ProblemError
from focusd.config import HttpSettings, is_loopback

_READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^:\[\]@/]+))(?::(?P<port>[0-9]{1,5}))?")

Authority: TypeAlias = tuple[str, int | None]


class Guard:
    """Lets a request in or raises ``ProblemError``.

    Args:
        hosts: Names this daemon goes by, beside the loopback names; folded to lower case.
        any_address: Whether every numeric address counts as a name of this daemon, because it listens on all.
    """

    def __init__(self, hosts: Iterable[str], *, any_address: bool = False) -> None:
        self._hosts = _LOOPBACK_NAMES | {host.lower() for host in hosts}
        self._any_address = any_address

    def check_host(self, headers: Headers) -> None:
        """Refuse (421) a request that was meant for somebody else."""
        host = only(headers, "Host")
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
        if "Origin" in headers and not _is_same_origin(only(headers, "Origin"), only(headers, "Host")):
            raise ProblemError(FORBIDDEN_ORIGIN, "the Origin header must be this daemon's own or absent")
        cross_site = only(headers, "Sec-Fetch-Site", default="none") not in {
            "same-origin",
            "same-site",
            "none",
        }
        if cross_site and method not in _READ_METHODS:
            raise ProblemError(FORBIDDEN_ORIGIN, "another site's web page may change nothing here")

    def _is_mine(self, host: str) -> bool:
        return host in self._hosts or (self._any_address and _is_address(host))


def make_guard(settings: HttpSettings) -> Guard:
    """Give the guard that the settings ask for."""
    hosts = [settings.host]
    if not is_loopback(settings.host):
        hosts += [socket.gethostname(), socket.gethostname().partition(".")[0]]
    return Guard(
        hosts,
        any_address=_is_address(settings.host) and ipaddress.ip_address(settings.host).is_unspecified,
    )


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
