"""The threads of ``asyncio.to_thread``, which can tell whether one of them hangs."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MANY: Final = 32
"""The names of computers are looked up in these threads too: a name server that is away must not leave frames
without one."""
LONGEST_WORK_S: Final = 300.0
"""Above the time-out of a name server, and of any decoding of an image."""

NICENESS: Final = 5
"""A frame may be scored a little later; whoever waits for the event loop is many."""

LAST_MOMENT_S: Final = 2.0
"""For threads that are at work when the daemon stops."""
LEFT_BEHIND: Final = "left behind:"
"""Begins the name of a thread that nobody waits for any more."""


class Workers(ThreadPoolExecutor):
    """A pool of threads.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(
            max_workers=MANY, thread_name_prefix="focusd-worker", initializer=_step_behind_the_event_loop
        )
        self._clock = clock
        self._numbers = count()
        self._begun: dict[int, float] = {}
        self._begun_lock = threading.Lock()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn`` in a thread, and know since when it runs."""
        return super().submit(self._timed, lambda: fn(*args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work. Wait a moment for what is at work, and mark the threads that hang."""
        super().shutdown(wait=False, cancel_futures=cancel_futures)
        limit = time.monotonic() + LAST_MOMENT_S
        for thread in list(self._threads) if wait else []:
            thread.join(max(0.0, limit - time.monotonic()))
            if thread.is_alive():
                thread.name = f"{LEFT_BEHIND} {thread.name}"

    @property
    def overdue(self) -> tuple[str, ...]:
        """Says so if a thread has worked on one thing for longer than any takes."""
        with self._begun_lock:
            oldest = min(self._begun.values(), default=self._clock())
        return ("a thread",) if self._clock() - oldest > LONGEST_WORK_S else ()

    def _timed(self, work: Callable[[], T]) -> T:
        with self._begun_lock:
            number = next(self._numbers)
            self._begun[number] = self._clock()
        try:
            return work()
        finally:
            with self._begun_lock:
                del self._begun[number]


def _step_behind_the_event_loop() -> None:
    """Let the event loop go first where cores are few; only Linux gives a thread a priority of its own."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # A sandbox may forbid it; then the threads compete as equals.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
