"""One direction of a client's control connection.

Rules kept here:

1. What goes in comes out in the same order. A part that has to wait holds up those behind it, and no
   other lane.
2. Parts that came together go out in one write.
3. At most ``MAX_BACKLOG_BYTES`` and what one read brings wait; then the source is no longer read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

import structlog

from focusd.protocol.sharksem_parts import MessageSplitter, Part

MAX_BACKLOG_BYTES: Final = 1 << 16

Delay: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""Makes what a part has to wait for."""
Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]

_log = structlog.get_logger(__name__)


class Lane:
    """Passes messages on.

    Args:
        splitter: Cuts what comes in.
        delay: Gives what a part has to wait for, or ``None``.
        convert: Takes note of a part that goes out and gives its bytes.
        write: Where they go.
        spawn: Starts a task.
        pause: Called when too much waits.
        resume: Called when that is over.
    """

    def __init__(
        self,
        splitter: MessageSplitter,
        *,
        delay: Callable[[Part], Delay | None],
        convert: Callable[[Part], bytes],
        write: Callable[[bytes], None],
        spawn: Spawn,
        pause: Callable[[], None],
        resume: Callable[[], None],
    ) -> None:
        self._splitter = splitter
        self._delay = delay
        self._convert = convert
        self._write = write
        self._spawn = spawn
        self._pause = pause
        self._resume = resume
        self._backlog: deque[Part] = deque()
        self._backlog_bytes = 0
        self._waiting: asyncio.Task[None] | None = None
        self._stopped_source = False

    def receive(self, data: bytes) -> None:
        """Take the next bytes."""
        parts = self._splitter.split(data)
        self._backlog.extend(parts)
        self._backlog_bytes += sum(len(part.data) for part in parts)
        if self._waiting is None:
            self._advance()
        self._regulate()

    def finish(self) -> None:
        """Pass on what is left at the end of the source; what waits is dropped."""
        if self._waiting is not None:
            self._waiting.cancel()
        rest = self._splitter.rest()
        if rest and not self._backlog:
            self._write(rest)
        self._backlog.clear()

    def _advance(self) -> None:
        """Pass on up to the next part that has to wait."""
        out: list[bytes] = []
        while self._backlog:
            delay = self._delay(self._backlog[0])
            if delay is not None:
                self._waiting = self._spawn(self._wait(delay))
                break
            out.append(self._pop())
        if out:
            self._write(b"".join(out))

    def _pop(self) -> bytes:
        part = self._backlog.popleft()
        self._backlog_bytes -= len(part.data)
        return self._convert(part)

    async def _wait(self, delay: Delay) -> None:
        try:
            await delay()
        except Exception:  # noqa: BLE001 - whatever holds a message up may fail: the message goes on
            _log.exception("relay_wait_failed", command=self._backlog[0].head.name)
        self._waiting = None
        self._write(self._pop())
        self._advance()
        self._regulate()

    def _regulate(self) -> None:
        too_much = self._backlog_bytes > MAX_BACKLOG_BYTES
        if too_much is not self._stopped_source:
            self._stopped_source = too_much
            (self._pause if too_much else self._resume)()
