"""The access tokens: what each one opens, and how a wrong one is answered.

There are two scopes. A token of scope ``read`` may look; one of scope ``control`` may also move the lens and
change settings. Where no token is configured, which only a loopback address allows, everybody has control.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import hmac
import os
import stat
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from focusd.api.headers import Headers, only
from focusd.api.problems import UNAUTHORIZED, ProblemError
from focusd.config import HttpSettings
from focusd.errors import ConfigError

_log = structlog.get_logger(__name__)

MIN_TOKEN_BYTES: Final = 16
MAX_TOKEN_BYTES: Final = 4096
FREE_FAILURES: Final = 10
"""So many wrong tokens are refused at once; after that each one waits."""
FAILURE_PAUSE_S: Final = 1.0
FORGIVEN_AFTER_S: Final = 60.0


class Scope(enum.IntEnum):
    """What a request needs, or a token opens; each includes those below it."""

    NOTHING = 0
    READ = 1
    CONTROL = 2


class Tokens:
    """Knows the tokens by their digests only.

    Args:
        tokens: What each scope's token is; none at all lets everybody do everything.
        clock: Monotonic seconds.
        pause: Waits some seconds.
    """

    def __init__(
        self,
        tokens: Mapping[Scope, bytes],
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._digests = {scope: hashlib.sha256(token).digest() for scope, token in tokens.items()}
        self._clock = clock
        self._pause = pause
        self._failures = 0
        self._failed_at = -FORGIVEN_AFTER_S

    async def scope(self, headers: Headers) -> Scope:
        """Give what the token in the headers opens.

        Many wrong tokens in a row are answered slowly; the right one never is.

        Raises:
            ProblemError: 401, none or a wrong one.
        """
        if not self._digests:
            return Scope.CONTROL
        sent = only(headers, "Authorization")
        scheme, _, credentials = (sent or "").partition(" ")
        # Headers are decoded with surrogateescape: this gives back the bytes that were sent.
        given = hashlib.sha256(credentials.strip().encode("utf-8", "surrogateescape")).digest()
        # All are compared, so that the time tells nothing of which one it was.
        opened = [scope for scope, digest in self._digests.items() if hmac.compare_digest(given, digest)]
        if scheme.lower() == "bearer" and opened:
            return max(opened)
        if sent:
            await self._slow_down()
        challenge = 'Bearer realm="focusd"' + (', error="invalid_token"' if sent else "")
        raise ProblemError(
            UNAUTHORIZED,
            "send the token of http.token_file as Authorization: Bearer",
            headers={"WWW-Authenticate": challenge},
        )

    async def _slow_down(self) -> None:
        now = self._clock()
        if now - self._failed_at >= FORGIVEN_AFTER_S:
            self._failures = 0
        self._failed_at = now
        self._failures += 1
        if self._failures == FREE_FAILURES:
            _log.warning("wrong_tokens", count=self._failures)
        if self._failures > FREE_FAILURES:
            await self._pause(FAILURE_PAUSE_S)


def make_tokens(settings: HttpSettings) -> Tokens:
    """Give the tokens that the settings ask for; their files are read here, once.

    Raises:
        ConfigError: a file cannot be used, or both hold the same token.
    """
    files = {Scope.CONTROL: settings.token_file, Scope.READ: settings.read_token_file}
    names = {Scope.CONTROL: "http.token_file", Scope.READ: "http.read_token_file"}
    tokens = {scope: read_token(path, names[scope]) for scope, path in files.items() if path is not None}
    if len(set(tokens.values())) < len(tokens):
        raise ConfigError(["http.read_token_file must hold another token than http.token_file"])
    return Tokens(tokens)


def read_token(path: Path, setting: str = "http.token_file") -> bytes:
    """Read a token: one line of at least 16 printable ASCII characters, no spaces.

    The file must be closed to others (mode 0600, 0400 or 0640): what everybody can read is no secret.

    Raises:
        ConfigError: it cannot be used; the message names ``setting``, never what is in it.
    """
    try:
        # O_NONBLOCK: a named pipe would block the start until somebody writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError([f"{setting} {path} must be a regular file"])
            if status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
                mode = stat.S_IMODE(status.st_mode)
                raise ConfigError(
                    [f"{setting} {path} must have mode 0600 (chmod 600), its mode is {mode:04o}"]
                )
            line = file.read(MAX_TOKEN_BYTES + 2)
    except OSError as error:
        raise ConfigError([f"{setting} {path} cannot be read: {error.strerror}"]) from error
    token = line.removesuffix(b"\n").removesuffix(b"\r")
    if not MIN_TOKEN_BYTES <= len(token) <= MAX_TOKEN_BYTES:
        size = f"{MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES}"
        raise ConfigError([f"{setting} {path} must hold one line of {size} characters"])
    if not all(0x21 <= byte <= 0x7E for byte in token):
        raise ConfigError(
            [f"{setting} {path} must hold one line of printable ASCII characters without spaces"]
        )
    return token
