"""The four conditions of the electron column that a SharkSEM command can wait for.

The bits are those of the request header. A condition is raised either for a time or until it is let go;
whoever waits holds an ``asyncio.Event`` here that is set at every change.
"""

from __future__ import annotations

import asyncio
from collections import Counter

SCAN = 0x0100
"""A: the beam scans, for a client or for the microscope's own program."""
STAGE = 0x0200
"""B: the stage moves."""
OPTICS = 0x0400
"""C: a lens, the beam or the scan generator settles."""
PROCEDURE = 0x0800
"""D: an automatic procedure runs."""


class BusyConditions:
    """Which conditions are raised right now."""

    def __init__(self) -> None:
        self._holds: Counter[int] = Counter()
        self._until: dict[int, float] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._listeners: set[asyncio.Event] = set()

    def raised(self, mask: int) -> bool:
        """Tell whether any condition of the header mask is raised."""
        now = asyncio.get_running_loop().time()
        timed = any(until > now for bit, until in self._until.items() if bit & mask)
        return timed or any(count > 0 for bit, count in self._holds.items() if bit & mask)

    def hold(self, bit: int) -> None:
        """Raise a condition until ``release`` is called as often."""
        self._holds[bit] += 1

    def release(self, bit: int) -> None:
        """Undo one ``hold``."""
        self._holds[bit] -= 1
        self._tell()

    def raise_for(self, bit: int, seconds: float) -> None:
        """Raise a condition for so many real seconds; the longest of several counts."""
        if seconds <= 0:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if until <= self._until.get(bit, 0.0):
            return
        self._until[bit] = until
        self._later(until)

    def listen(self, wake: asyncio.Event) -> None:
        """Set this event at every change from now on."""
        self._listeners.add(wake)

    def unlisten(self, wake: asyncio.Event) -> None:
        """Forget the event."""
        self._listeners.discard(wake)

    def close(self) -> None:
        """Drop the timers."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _later(self, until: float) -> None:
        loop = asyncio.get_running_loop()

        def over() -> None:
            self._timers.discard(timer)
            # The loop may call a clock tick early; a listener that looked then would sleep for ever.
            if loop.time() < until:
                self._later(until)
            else:
                self._tell()

        timer = loop.call_at(until, over)
        self._timers.add(timer)

    def _tell(self) -> None:
        for wake in self._listeners:
            wake.set()
