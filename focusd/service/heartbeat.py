"""Progress that can be checked: whoever works says by when it will be heard of next, and a watchdog asks.

There are two kinds of promise. The owner of the microscope has one at any time, and each step of its work
renews it (``expect``). Other work makes one for as long as it lasts (``promise``). A promise names the
longest wait for *others* that may be in it, such as the deadline of a call to the microscope; for focusd's
own part of the work ``OWN_WORK_S`` is added. So a slow microscope breaks none, and a thread or a disk that
hangs does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Final

OWN_WORK_S: Final = 60.0
"""For what focusd itself does in one step, measuring the largest of frames on a busy computer included."""
OWNER: Final = "the owner of the microscope"


@dataclass(slots=True)
class _Promise:
    what: str
    waits_s: float
    since: float

    @property
    def due(self) -> float:
        return self.since + self.waits_s + OWN_WORK_S


class Heartbeat:
    """Promises of progress, and which of them are broken.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._numbers = count(1)
        self._promises: dict[int, _Promise] = {}
        self._owner_due = clock() + OWN_WORK_S

    def expect(self, waits_s: float = 0.0) -> None:
        """Renew the owner's promise: for others it waits at most ``waits_s``, then it does its own work."""
        self._owner_due = self._clock() + waits_s + OWN_WORK_S

    @contextmanager
    def promise(self, what: str, waits_s: float = 0.0) -> Iterator[None]:
        """Promise that the block ends in time, or that meanwhile other work of its kind does.

        So a long queue breaks no promise as long as it moves. Work that is cancelled has moved nothing.

        Args:
            what: Names the kind of work, for the log too.
            waits_s: The longest it may wait for others, the queue not counted.
        """
        number = next(self._numbers)
        self._promises[number] = _Promise(what, waits_s, self._clock())
        try:
            yield
        except Exception:
            self._advance(what)
            raise
        else:
            self._advance(what)
        finally:
            del self._promises[number]

    @property
    def overdue(self) -> tuple[str, ...]:
        """What was not heard of when it had promised to be; each once."""
        now = self._clock()
        promises = [(OWNER, self._owner_due), *((each.what, each.due) for each in self._promises.values())]
        return tuple(dict.fromkeys(what for what, due in promises if now > due))

    @property
    def is_alive(self) -> bool:
        """Whether every promise still stands."""
        return not self.overdue

    def _advance(self, what: str) -> None:
        for promise in self._promises.values():
            if promise.what == what:
                promise.since = self._clock()
