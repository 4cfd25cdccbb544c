"""Requests that may safely be sent twice: the second is given the answer of the first.

A client whose connection broke does not know whether what it asked for was done. With an ``Idempotency-Key``
of its own choice it asks again, and nothing is done twice. The first request goes on without its client.

Answers are kept as the bytes they are sent as, the newest ones within three bounds: number, age and memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from hashlib import blake2b

from focusd.api.hangup import Hangup
from focusd.api.problems import IDEMPOTENCY_KEY_REUSED, INVALID_REQUEST, ProblemError
from focusd.api.rendering import Encoded, encode
from focusd.api.routing import Answer
from focusd.errors import TooManyError

HEADER = "Idempotency-Key"
MAX_KEY_CHARS = 200
MOST_KEYS = 10_000
MOST_BYTES = 2 << 20
"""Memory for answers: about 1,700 verdicts; a client asks again within seconds, and lacks its last answer."""
KEPT_S = 3600.0
"""How long an answer is kept; a client that asks again later than this is a new one."""

_OVERHEAD_BYTES = 512
"""What Python adds to the content of an answer and its key."""


@dataclass(frozen=True, slots=True)
class _InHand:
    fingerprint: bytes
    task: asyncio.Task[Answer]


@dataclass(frozen=True, slots=True)
class _Kept:
    fingerprint: bytes
    answer: Answer
    since: float
    size_bytes: int


class Answers:
    """Keeps the answers of requests that came with a key; failed ones may be tried again, and are forgotten.

    Args:
        clock: Monotonic seconds.
        most: Keys kept, and requests in hand.
        most_bytes: For the answers; the newest one is kept, however large it is.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        most: int = MOST_KEYS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._clock = clock
        self._most = most
        self._most_bytes = most_bytes
        self._in_hand: dict[str, _InHand] = {}
        self._kept: dict[str, _Kept] = {}
        """In the order in which they were answered."""
        self._kept_bytes = 0
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
            TooManyError: too many requests with keys are being carried out.
        """
        if not (1 <= len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable()):
            message = f"{HEADER}: must be 1 to {MAX_KEY_CHARS} printable ASCII characters"
            raise ProblemError(INVALID_REQUEST, message, field=HEADER)
        digest = blake2b(fingerprint.encode("utf-8", "backslashreplace"), digest_size=16).digest()
        self._forget_old()
        known = self._in_hand.get(key) or self._kept.get(key)
        if known is None:
            return await hangup.hold(asyncio.shield(self._begin(key, digest, carry_out)))
        if known.fingerprint != digest:
            message = f"{HEADER}: this key came with another request before"
            raise ProblemError(IDEMPOTENCY_KEY_REUSED, message, field=HEADER)
        answer = known.answer if isinstance(known, _Kept) else await hangup.hold(asyncio.shield(known.task))
        return replace(answer, headers={**answer.headers, "Idempotent-Replayed": "true"})

    async def close(self) -> None:
        """End every wait; what the service was asked to do goes on."""
        self._hangup.hang_up()
        running = [in_hand.task for in_hand in self._in_hand.values()]
        await asyncio.gather(*running, return_exceptions=True)

    def _begin(
        self, key: str, digest: bytes, carry_out: Callable[[Hangup], Awaitable[Answer]]
    ) -> asyncio.Task[Answer]:
        if len(self._in_hand) >= self._most:
            raise TooManyError(f"at most {self._most} requests with a key can be in hand at once")
        task = asyncio.get_running_loop().create_task(_encoded(carry_out(self._hangup)))
        self._in_hand[key] = _InHand(digest, task)
        task.add_done_callback(lambda done: self._end(key, digest, done))
        return task

    def _end(self, key: str, digest: bytes, done: asyncio.Task[Answer]) -> None:
        del self._in_hand[key]
        # Asking for the exception also says that it was seen: every client may have left.
        if done.cancelled() or done.exception() is not None:
            return
        answer = done.result()
        size_bytes = len(key) + len(encode(answer.body)) + _OVERHEAD_BYTES
        self._kept[key] = _Kept(digest, answer, self._clock(), size_bytes)
        self._kept_bytes += size_bytes
        while len(self._kept) > 1 and (len(self._kept) > self._most or self._kept_bytes > self._most_bytes):
            self._forget_oldest()

    def _forget_old(self) -> None:
        now = self._clock()
        while self._kept and now - next(iter(self._kept.values())).since >= KEPT_S:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self._kept.pop(next(iter(self._kept)))
        self._kept_bytes -= oldest.size_bytes


async def _encoded(work: Awaitable[Answer]) -> Answer:
    answer = await work
    return replace(answer, body=Encoded(encode(answer.body)))
