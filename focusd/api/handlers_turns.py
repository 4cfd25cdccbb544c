"""Taking turns: what acquisition software says between tiles and before a scan."""

from __future__ import annotations

from focusd.api.problems import NOT_READY, ProblemError
from focusd.api.rendering import plain
from focusd.api.routing import Answer, Call
from focusd.api.schemas import (
    CheckpointBody,
    CheckpointQuery,
    LeaseBody,
    LeaseQuery,
    NoBody,
    NoQuery,
    RenewalBody,
)
from focusd.service.surface import Place


async def checkpoint(call: Call[CheckpointQuery, CheckpointBody]) -> Answer:
    """Do what is pending between two tiles, and make ready for the next one.

    Answer ``{"action", "reacquire_from", "working_distance_mm", "refocus", "prediction"}``: ``action`` is
    ``none``, how the refocus ended, or ``moved``; after a success ``reacquire_from`` is the id of the first
    frame that was taken out of focus, if one was. With a ``position``, and unless tiles are to be taken
    again, ``prediction`` is ``{"x_mm", "y_mm", "working_distance_mm", "standard_deviation_um", "points",
    "applied", "readback_mm", "reason"}``, ``null`` where there is nothing to go by; ``reason`` says why it
    was not applied. A wait that outlasts ``timeout_s`` is answered 503; the refocus goes on.
    """
    position = call.body.position
    place = None if position is None else Place(position.x_mm, position.y_mm)
    checkpoint = await call.hold(call.verbs.turns.checkpoint(place, timeout_s=call.query.timeout_s))
    if checkpoint is None:
        message = f"what is pending has not been done within {call.query.timeout_s:g} s; it goes on"
        raise ProblemError(NOT_READY, message, headers={"Retry-After": "1"})
    return Answer(body=plain(checkpoint))


async def take_lease(call: Call[LeaseQuery, LeaseBody]) -> Answer:
    """Keep the lens still while somebody scans; 201 with the lease. A running refocus is waited for."""
    lease = await call.hold(
        call.verbs.turns.take_lease(call.body.holder, call.body.expires_in_s, wait_s=call.query.wait_s)
    )
    return Answer(status=201, body=plain(lease), headers={"Location": f"/v1/scan-leases/{lease.lease_id}"})


async def list_leases(call: Call[NoQuery, NoBody]) -> Answer:
    """Answer ``{"scan_leases": [...]}``, oldest first."""
    return Answer(body={"scan_leases": plain(call.verbs.status.scan_leases)})


async def renew_lease(call: Call[NoQuery, RenewalBody]) -> Answer:
    """Let a lease run on and answer it; 404 if it has run out."""
    lease = call.verbs.turns.renew_lease(call.path["lease_id"], call.body.expires_in_s)
    return Answer(body=plain(lease))


async def end_lease(call: Call[NoQuery, NoBody]) -> Answer:
    """Give a lease back; 404 if it has run out."""
    call.verbs.turns.end_lease(call.path["lease_id"])
    return Answer(status=204)
