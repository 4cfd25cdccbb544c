"""How late the event loop gets to what is due: everybody who waits for an answer waits that much longer.

A task sleeps for a tenth of a second, again and again, and looks how much longer it took. What it finds is
kept for a minute.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

PERIOD_S: Final = 0.1
WINDOW: Final = round(60.0 / PERIOD_S)
BOUND_S: Final = 0.25
"""A longer lag than this is told of in the log, ..."""
CALM: Final = round(60.0 / PERIOD_S)
"""... and not again before so many ticks without one."""
SUMMARY_TICKS: Final = round(1.0 / PERIOD_S)


@dataclass(frozen=True, slots=True)
class LagSummary:
    """Lag of the event loop over the last minute, in milliseconds: the middle, 99 of 100, and the worst."""

    p50: float
    p99: float
    max: float


class LoopLag:
    """Watches the event loop it runs in.

    Args:
        clock: Monotonic seconds; the event loop's own unless given.
        on_summary: Told of each new summary, once a second.
    """

    def __init__(
        self,
        on_summary: Callable[[LagSummary], object] = lambda _: None,
        *,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._clock = clock
        self._on_summary = on_summary
        self._late_s: deque[float] = deque(maxlen=WINDOW)
        self._ticks = 0
        self._calm_ticks = CALM

    async def watch(self) -> None:
        """Watch for ever."""
        clock = self._clock or asyncio.get_running_loop().time
        while True:
            due = clock() + PERIOD_S
            await asyncio.sleep(PERIOD_S)
            self.note(max(0.0, clock() - due))

    def note(self, late_s: float) -> None:
        """Take note of one tick and how late it was."""
        self._late_s.append(late_s)
        self._ticks += 1
        if self._ticks % SUMMARY_TICKS == 0:
            self._on_summary(self._summary())
        if late_s <= BOUND_S:
            self._calm_ticks += 1
            return
        if self._calm_ticks >= CALM:
            _log.warning("event_loop_late", lag_ms=round(1000 * late_s, 1), bound_ms=1000 * BOUND_S)
        self._calm_ticks = 0

    def _summary(self) -> LagSummary:
        rising = sorted(self._late_s)
        last = len(rising) - 1
        return LagSummary(*(round(1000 * rising[round(share * last)], 2) for share in (0.5, 0.99, 1.0)))
