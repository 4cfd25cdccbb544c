"""Feed systemd's watchdog, and only on proof of progress.

It runs in the event loop, so it stops with it. Before each feeding everything that must answer is asked, and
the promises of progress are looked at. What does not answer, or is overdue, is named in the log, and the
watchdog starves until it is well again: systemd then ends the process and starts it anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog

from focusd.errors import FocusdError
from focusd.notify import Notifier

_log = structlog.get_logger(__name__)

SHARE: Final = 3
"""The watchdog is fed this many times in its own period."""


async def feed(
    notifier: Notifier,
    overdue: Callable[[], Sequence[str]],
    signs: Mapping[str, Callable[[], Awaitable[object]]],
    *,
    watchdog_s: float,
) -> None:
    """Feed for ever.

    Args:
        notifier: Tells systemd.
        overdue: Names what has broken its promise of progress.
        signs: Asks for a sign of life, by the name of what is asked. A refusal (``FocusdError``) is one.
        watchdog_s: The watchdog's period.
    """
    while True:
        silent = [name for name, ask in signs.items() if not await _answers(ask, watchdog_s / SHARE)]
        stuck = [*silent, *overdue()]
        if stuck:
            _log.error("no_progress", stuck=stuck)
        else:
            notifier.watchdog()
        if not silent:
            # Who does not answer is asked again at once: it has had its time.
            await asyncio.sleep(watchdog_s / SHARE)


async def _answers(ask: Callable[[], Awaitable[object]], within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s) as deadline:
            await ask()
    except FocusdError:
        return True
    except TimeoutError:
        if not deadline.expired():
            raise
        return False
    return True
