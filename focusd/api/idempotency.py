"""Requests that may safely be sent twice: the second is given the answer of the first.

A client whose connection broke does not know whether what it asked for was done. With an ``Idempotency-Key``
of its own choice it asks again, and nothing is done twice. The first request goes on without its client.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from focusd.api.hangup import Hangup
from focusd.api.problems import IDEMPOTENCY_KEY_REUSED, INVALID_REQUEST, ProblemError
from focusd.api.routing import Answer
from focusd.errors import TooManyError

HEADER = "Idempotency-Key"
MAX_KEY_CHARS = 200
MOST_KEYS = 10_000
KEPT_S = 3600.0
"""How long an answer is kept; a client that asks again later than this is a new one."""


@dataclass(frozen=True, slots=True)
class _Kept:
    fingerprint: str
    task: asyncio.Task[Answer]
    since: float


class Answers:
    """Keeps the answers of requests that came with a key; failed ones may be tried again, and are forgotten.

    Args:
        clock: Monotonic seconds.
        most: Keys kept.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MOST_KEYS) -> None:
        self._clock = clock
        self._most = most
        self._kept: dict[str, _Kept] = {}
        self._hangup = Hangup()

    async def once(
        self, key: str, fingerprint: str, carry_out: Callable[[Hangup], Awaitable[Answer]], hangup: Hangup
    ) -> Answer:
        """Carry a request out unless that was done before under this key, and give its answer.

        Args:
            key: The client's word for the request.
            fingerprint: What the request asks for; the same key must not stand for two things.
            carry_out: Does it; the wait it is given ends only when focusd stops.
            hangup: Ends this client's wait, not the doing.

        Raises:
            ProblemError: 422, the key is unusable or was used for another request.
            TooManyError: as many requests with keys are being carried out as are ever kept.
        """
        if not (1 <= len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable()):
            message = f"{HEADER}: must be 1 to {MAX_KEY_CHARS} printable ASCII characters"
            raise ProblemError(INVALID_REQUEST, message, field=HEADER)
        kept = self._kept.get(key)
        if kept is not None and (self._clock() - kept.since < KEPT_S or not kept.task.done()):
            if kept.fingerprint != fingerprint:
                raise ProblemError(
                    IDEMPOTENCY_KEY_REUSED,
                    f"{HEADER}: this key came with another request before",
                    field=HEADER,
                )
            answer = await hangup.hold(asyncio.shield(kept.task))
            return replace(answer, headers={**answer.headers, "Idempotent-Replayed": "true"})
        self._make_room()
        task = asyncio.ensure_future(_as_coroutine(carry_out(self._hangup)))
        self._kept.pop(key, None)
        self._kept[key] = _Kept(fingerprint, task, self._clock())
        task.add_done_callback(lambda done: self._forget_failed(key, done))
        return await hangup.hold(asyncio.shield(task))

    async def close(self) -> None:
        """End every wait; what the service was asked to do goes on."""
        self._hangup.hang_up()
        running = [kept.task for kept in self._kept.values() if not kept.task.done()]
        await asyncio.gather(*running, return_exceptions=True)

    def _make_room(self) -> None:
        """Forget the oldest: two for each that is added, so that none is kept for long past its time."""
        now = self._clock()
        for key, kept in list(itertools.islice(self._kept.items(), 2)):
            if kept.task.done() and (now - kept.since >= KEPT_S or len(self._kept) >= self._most):
                del self._kept[key]
        if len(self._kept) < self._most:
            return
        done = next((key for key, kept in self._kept.items() if kept.task.done()), None)
        if done is None:
            raise TooManyError(f"at most {self._most} requests with a key can be in hand at once")
        del self._kept[done]

    def _forget_failed(self, key: str, done: asyncio.Task[Answer]) -> None:
        # Asking for the exception also says that it was seen: every client may have left.
        if done.cancelled() or done.exception() is not None:
            kept = self._kept.get(key)
            if kept is not None and kept.task is done:
                del self._kept[key]


async def _as_coroutine(work: Awaitable[Answer]) -> Answer:
    return await work
