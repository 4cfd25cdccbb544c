"""Health, status, waiting until acquisition may go on, pause and resume."""

from __future__ import annotations

import asyncio

from focusd.api.problems import NOT_READY, OWNER_STUCK, ProblemError
from focusd.api.rendering import StatusRendering, status_json
from focusd.api.routing import Answer, Call
from focusd.api.schemas import NoBody, NoQuery, PauseBody, ReadyQuery
from focusd.service.pending import WaitsFor
from focusd.service.status import DaemonState

POLL_S = 0.05

_shown = StatusRendering()

_NOT_READY = frozenset({DaemonState.DISCONNECTED, DaemonState.REFOCUSING})


async def get_live(call: Call[NoQuery, NoBody]) -> Answer:
    """Answer ``{"status": "ok"}`` while the owner of the microscope makes progress, else 503.

    The same question as the watchdog's: 503 means that a restart would help. A microscope that is away is
    no reason.
    """
    _refuse_when_stuck(call)
    return Answer(body={"status": "ok"})


async def get_ready(call: Call[NoQuery, NoBody]) -> Answer:
    """Answer ``{"status": "ok", "state"}`` when focusd can do its work, else 503 with the reason.

    Ready means: HTTP answers, the owner of the microscope makes progress, and the microscope is connected.
    Paused and degraded count as ready: an operator knows of the one, and frames go on being judged in the
    other.
    """
    _refuse_when_stuck(call)
    status = call.verbs.status
    if not status.link.connected:
        raise ProblemError(
            NOT_READY,
            status.reason or "not connected to the microscope",
            state=status.state.value,
            reason=status.reason,
        )
    return Answer(body={"status": "ok", "state": status.state.value})


async def get_status(call: Call[NoQuery, NoBody]) -> Answer:
    """Answer the status; its shape is described at ``rendering.status_json``."""
    return Answer(body=_shown.of(call.verbs.status))


async def wait_until_ready(call: Call[ReadyQuery, NoBody]) -> Answer:
    """Answer ``{"ready": true, "state", "reason"}`` when acquisition may go on, 503 after ``timeout_s``.

    It may go on unless focusd is disconnected, refocusing, about to refocus, or on its way to a predicted
    focus; a refocus that waits for a checkpoint or for the end of a scan does not hold acquisition up.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + call.query.timeout_s
    while True:
        status = call.verbs.status
        pending = status.pending_refocus
        begins = pending is not None and pending.waits_for is WaitsFor.START
        if status.state not in _NOT_READY and not begins and not call.verbs.turns.is_following:
            return Answer(body={"ready": True, "state": status.state.value, "reason": status.reason})
        if clock() >= deadline:
            raise ProblemError(
                NOT_READY,
                f"focusd is {status.state.value}" + (f": {status.reason}" if status.reason else ""),
                state=status.state.value,
                reason=status.reason,
            )
        await call.hold(asyncio.sleep(min(POLL_S, max(0.0, deadline - clock()))))


async def pause(call: Call[NoQuery, PauseBody]) -> Answer:
    """Take the hands off and answer the status; a running refocus is being ended, the lens put back."""
    await call.verbs.pause(call.body.reason)
    return Answer(body=status_json(call.verbs.status))


async def resume(call: Call[NoQuery, NoBody]) -> Answer:
    """Go on after a pause or after giving up, and answer the status."""
    await call.verbs.resume()
    return Answer(body=status_json(call.verbs.status))


def _refuse_when_stuck(call: Call[NoQuery, NoBody]) -> None:
    if not call.verbs.is_alive:
        raise ProblemError(OWNER_STUCK, "it did not report when it had promised to; the log tells more")
