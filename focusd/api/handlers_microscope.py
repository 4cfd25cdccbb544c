"""The microscope: what it says of itself, and its lens by an operator's word."""

from __future__ import annotations

from focusd.api.rendering import microscope_json, plain
from focusd.api.routing import Answer, Call
from focusd.api.schemas import NoBody, NoQuery, WorkingDistanceBody
from focusd.errors import NotConnectedError


async def get_microscope(call: Call[NoQuery, NoBody]) -> Answer:
    """Answer the last reading of the microscope, 503 while there is no connection.

    Nothing is asked of the microscope for this; its shape is described at ``rendering.microscope_json``.
    """
    status = call.verbs.status
    if not status.link.connected:
        raise NotConnectedError(status.reason or "not connected to the microscope")
    return Answer(body=microscope_json(status))


async def put_working_distance(call: Call[NoQuery, WorkingDistanceBody]) -> Answer:
    """Move the lens and answer ``{"working_distance_mm", "working_distance_setpoint_mm"}`` as read back.

    A client that leaves before the move has begun takes its wish with it.
    """
    setpoint_mm = call.body.working_distance_mm
    readback_mm = await call.hold(call.verbs.set_working_distance(setpoint_mm))
    return Answer(
        body={
            "working_distance_mm": plain(readback_mm),
            "working_distance_setpoint_mm": plain(setpoint_mm),
        }
    )
