"""The one place where the daemon's status stands; each change makes a new frozen snapshot."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from focusd.records import RefocusResult, Verdict
from focusd.service.status import DaemonState, Status

_log = structlog.get_logger(__name__)

_STATE_OF_VERDICT = {
    Verdict.OUT_OF_FOCUS: DaemonState.PENDING,
    Verdict.SUSPECT: DaemonState.SUSPECT,
}


class StatusBoard:
    """Holds the present ``Status`` and tells listeners when its state, or the reason for it, changes."""

    def __init__(self, initial: Status) -> None:
        self.current = initial
        self._listeners: list[Callable[[Status], object]] = []
        self._paused_because: str | None = None
        self._degraded_because: str | None = None
        self._store_failure = ""

    def listen(self, listener: Callable[[Status], object]) -> None:
        """Call ``listener`` with each new snapshot whose state or reason differs from the one before."""
        self._listeners.append(listener)

    def set_paused(self, because: str | None) -> None:
        """Note why an operator paused focusd; ``None`` when resumed."""
        self._paused_because = because
        self.update()

    def set_degraded(self, because: str | None) -> None:
        """Note why focusd makes no automatic move for now; ``None`` when it does again."""
        self._degraded_because = because
        self.update()

    def set_store_failed(self, failure: str) -> None:
        """Note why nothing can be written down, and so nothing moved; ``""`` when it can be again."""
        self._store_failure = failure
        self.update()

    def update(self, **changes: Any) -> None:  # noqa: ANN401 - the snapshot's own fields, checked by replace
        """Publish a new snapshot with ``changes``; its state and reason follow from what it holds."""
        before = self.current
        changed = replace(before, **changes, updated_at=time.time())
        state, reason = self._derive(changed)
        self.current = replace(changed, state=state, reason=reason)
        if state is not before.state:
            _log.info("state_changed", state=state.value, before=before.state.value, reason=reason)
        if (state, reason) != (before.state, before.reason):
            for listener in self._listeners:
                listener(self.current)

    def _derive(self, status: Status) -> tuple[DaemonState, str]:
        """Say in one word what a snapshot means, and why; the strongest statement wins."""
        if not status.link.connected:
            why = status.link.error or "not connected yet"
            return DaemonState.DISCONNECTED, "; ".join(filter(None, (why, self._store_failure)))
        if status.current_refocus is not None:
            return DaemonState.REFOCUSING, ""
        if self._paused_because is not None:
            return DaemonState.PAUSED, self._paused_because
        if because := self._store_failure or self._degraded_because:
            return DaemonState.DEGRADED, because
        verdict = _unsettled(status)
        if verdict in _STATE_OF_VERDICT:
            return _STATE_OF_VERDICT[verdict], ""
        return (DaemonState.MONITORING if status.baseline else DaemonState.LEARNING), ""


def _unsettled(status: Status) -> Verdict | None:
    """The last verdict, unless a refocus has dealt with that very frame."""
    verdict, refocus = status.last_verdict, status.last_refocus
    if verdict is None:
        return None
    if refocus is None or refocus.result is None or refocus.frame_id != verdict.frame_id:
        return verdict.verdict
    if refocus.result.is_failure or refocus.result is RefocusResult.CANCELLED:
        return verdict.verdict
    return None
