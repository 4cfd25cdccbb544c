"""The one thread that touches a watched folder.

A dead network share blocks whoever asks it, for as long as it likes. Such a thread cannot be ended, so it
must be none that the event loop or the end of the process waits for: the pool of ``asyncio.to_thread`` is.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

CLOSE_S = 2.0
"""How long the end of the thread is waited for: it may be decoding an image."""


@dataclass(frozen=True, slots=True, eq=False)
class _Task(Generic[T]):
    work: Callable[[], T]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[T]

    def carry_out(self) -> None:
        """Run on the thread; whatever comes of it is handed to the loop."""
        try:
            result = self.work()
        except Exception as error:  # noqa: BLE001 - handed on, not swallowed: the caller gets it as its own
            self._hand(self._fail, error)
        else:
            self._hand(self._succeed, result)

    def _hand(self, how: Callable[[Any], None], what: object) -> None:
        try:
            self.loop.call_soon_threadsafe(how, what)
        except RuntimeError:
            # The loop has been closed meanwhile: nobody is left to be told.
            return

    def _succeed(self, result: T) -> None:
        if not self.answer.done():
            self.answer.set_result(result)

    def _fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class FolderThread:
    """Runs work on a thread of its own, one piece after the other; use it as ``async with``."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[_Task[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="focusd-folder", daemon=True)

    async def __aenter__(self) -> FolderThread:
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._tasks.put(None)
        await asyncio.to_thread(self._thread.join, CLOSE_S)

    def submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Queue work and give the future of its result; cancelling that does not end work that has begun."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._tasks.put(_Task(work, loop, answer))
        return answer

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            if not task.answer.cancelled():
                task.carry_out()
