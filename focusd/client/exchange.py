"""One question to the daemon until it is answered: deadlines, retries, and what every failure is called.

Rules:

1. Every POST carries an ``Idempotency-Key``, the same for each attempt, so that the daemon does a thing once
   however often it is asked; GET, PUT and DELETE may be repeated as they are.
2. An attempt is made again when the connection could not be made or broke, when the daemon says 503 and when
   to come back, and when nothing was heard for a while: then the connection may be half open.
3. Pauses grow, are shortened at random so that many scripts do not come at once, and have a cap.
4. Nobody answers for ``patience_s``: ``UnreachableError``, however long the caller would wait for focus. A
   script must not stand still because a daemon is gone.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import aiohttp

from focusd.client.failures import (
    ClientError,
    DeadlineError,
    NotReadyError,
    ProblemError,
    StrangerError,
    UnreachableError,
    problem_error,
)
from focusd.client.frames import FrameContent

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
SILENCE_S = 60.0
"""An answer that has not come after this time is asked for again."""
LEAST_BYTES_PER_S = 1 << 20
"""The daemon gives up bodies that come more slowly."""
CONNECT_S = 5.0
MAX_ANSWER_BYTES = 8 << 20
_PIECE_BYTES = 1 << 18


class Exchange:
    """Asks one daemon.

    Args:
        http: Session with the daemon's address and the headers of every request.
        url: The address, for messages.
        patience_s: How long nobody may answer.
        silence_s: After how long an answer is asked for again.
    """

    def __init__(
        self, http: aiohttp.ClientSession, url: str, *, patience_s: float, silence_s: float = SILENCE_S
    ) -> None:
        self._http = http
        self._url = url
        self._patience_s = patience_s
        self._silence_s = silence_s

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | FrameContent | None = None,
        timeout_s: float,
    ) -> dict[str, Any]:
        """Give the JSON object that answers a request, ``{}`` for an empty answer.

        Raises:
            ProblemError: the daemon refuses.
            UnreachableError, DeadlineError, StrangerError: there is no answer.
        """
        headers = {"Idempotency-Key": secrets.token_hex(16)} if method == "POST" else {}
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        unheard_since = clock()
        pauses = backoff()
        while True:
            try:
                async with asyncio.timeout_at(min(deadline, clock() + self._attempt_s(body))):
                    return await self._attempt(method, path, query, body, headers)
            except ProblemError as problem:
                # One that is not ready has waited for as long as it was asked to.
                if (
                    problem.retry_after_s is None
                    or problem.status != 503
                    or isinstance(problem, NotReadyError)
                ):
                    raise
                failure: ClientError = problem
                unheard_since = clock()
                pause_s = min(problem.retry_after_s, LONGEST_PAUSE_S) + next(pauses)
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
                failure = UnreachableError(f"no focusd answers at {self._url}: {_why(error)}")
                failure.__cause__ = error
                pause_s = next(pauses)
                if clock() + pause_s - unheard_since > self._patience_s:
                    raise failure from error
            except TimeoutError as error:
                failure = DeadlineError(f"{self._url} has not answered within {timeout_s:g} s")
                failure.__cause__ = error
                pause_s, unheard_since = 0.0, clock()
            if clock() + pause_s >= deadline:
                raise failure
            await asyncio.sleep(pause_s)

    def _attempt_s(self, body: object) -> float:
        sending_s = body.data.nbytes / LEAST_BYTES_PER_S if isinstance(body, FrameContent) else 0.0
        return self._silence_s + sending_s

    async def _attempt(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, object] | FrameContent | None,
        headers: Mapping[str, str],
    ) -> dict[str, Any]:
        sent: dict[str, Any] = {"headers": dict(headers)}
        if isinstance(body, FrameContent):
            sent["headers"] |= {"Content-Type": body.content_type, "Content-Length": str(body.data.nbytes)}
            # The daemon may refuse a frame before a byte of it has gone out.
            sent |= {"data": _pieces(body.data), "expect100": True}
        elif body is not None:
            sent["json"] = body
        try:
            async with self._http.request(
                method, path, params=query, allow_redirects=False, **sent
            ) as response:
                content = await response.content.read(MAX_ANSWER_BYTES + 1)
                while not response.content.at_eof() and len(content) <= MAX_ANSWER_BYTES:
                    content += await response.content.read(MAX_ANSWER_BYTES)
                return self._judged(response, content)
        except (aiohttp.ClientResponseError, aiohttp.InvalidURL) as error:
            raise StrangerError(f"{self._url} answers, but not in HTTP as focusd speaks it") from error

    def _judged(self, response: aiohttp.ClientResponse, content: bytes) -> dict[str, Any]:
        body = _object(content)
        if 200 <= response.status < 300 and body is not None:
            return body
        if response.status >= 400 and body is not None and isinstance(body.get("type"), str):
            retry_after_s = _seconds(response.headers.get("Retry-After"))
            raise problem_error(body, status=response.status, retry_after_s=retry_after_s)
        raise StrangerError(
            f"{self._url} answers, but not as focusd does (status {response.status}); is the URL right?"
        )


def backoff(first_s: float = FIRST_PAUSE_S, cap_s: float = LONGEST_PAUSE_S) -> Iterator[float]:
    """Give pauses that double up to a cap, each shortened at random by up to a half; the first is none."""
    yield 0.0
    pause_s = first_s
    while True:
        yield pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients out, keeps no secret
        pause_s = min(2.0 * pause_s, cap_s)


async def _pieces(data: memoryview) -> AsyncIterator[memoryview]:
    for start in range(0, data.nbytes, _PIECE_BYTES):
        yield data[start : start + _PIECE_BYTES]


def _object(content: bytes) -> dict[str, Any] | None:
    """The JSON object in an answer, ``{}`` if it is empty, ``None`` if it is anything else."""
    if not content:
        return {}
    if len(content) > MAX_ANSWER_BYTES:
        return None
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__
