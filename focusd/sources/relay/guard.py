"""What looks on must never stop what passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVarTuple

import structlog

Arguments = TypeVarTuple("Arguments")

_log = structlog.get_logger(__name__)


class Guard:
    """Runs code beside the stream of bytes: whatever it raises is logged once and goes no further.

    Args:
        what: What has failed, for the log.
        once_only: Whether it is given up after a failure.
        facts: Further facts for the log.
    """

    def __init__(self, what: str, *, once_only: bool, **facts: object) -> None:
        self._what = what
        self._once_only = once_only
        self._facts = facts
        self.failures = 0

    def run(self, work: Callable[[*Arguments], object], *arguments: *Arguments) -> None:
        """Call ``work``, unless it has been given up."""
        if self.failures and self._once_only:
            return
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001 - a client's scan must outlive any fault of who looks on
            self.failures += 1
            if self.failures == 1:
                problem = f"{type(error).__name__}: {error}"
                _log.exception("relay_onlooker_failed", what=self._what, error=problem, **self._facts)
