"""The microscope over HTTP: its last reading, and its lens by an operator's word."""

from __future__ import annotations

import pytest

from focusd.errors import MicroscopeError, WorkingDistanceNotSetError
from tests.unit.api.client import Client
from tests.unit.api.fake_supervisor import START_MM, FakeSupervisor

PATH = "/v1/microscope/working-distance"


async def test_the_microscope_is_one_flat_object(client: Client) -> None:
    """Who it is, its limits, and the last reading of the column."""
    reply = await client.get("/v1/microscope")

    assert reply.status == 200
    assert reply.json == {
        "vendor": "TESCAN",
        "model": "MIRA",
        "serial": "117-0042",
        "software_version": "",
        "protocol_version": "",
        "address": "127.0.0.1:8300",
        "limits_mm": [4.0, 30.0],
        "working_distance_setpoint_mm": START_MM,
        "working_distance_mm": START_MM,
        "field_of_view_um": 100.0,
        "detector": None,
        "accelerating_voltage_kv": None,
        "probe_current_pa": None,
        "beam_on": True,
        "stage_position": None,
    }


async def test_a_microscope_that_is_away_tells_nothing(client: Client, supervisor: FakeSupervisor) -> None:
    """No old reading in place of a true one."""
    supervisor.connected = False

    for reply in (await client.get("/v1/microscope"), await client.put(PATH, {"working_distance_mm": 9.0})):
        assert (reply.status, reply.problem) == (503, "not-connected")


async def test_the_lens_goes_where_it_is_told_and_the_readback_is_answered(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """What counts is where the lens is, not where it was sent; whole millimetres are numbers too."""
    reply = await client.put(PATH, {"working_distance_mm": 12})

    assert reply.status == 200
    assert reply.json == {"working_distance_mm": 12.0001, "working_distance_setpoint_mm": 12.0}
    assert supervisor.lens_mm == 12.0001


@pytest.mark.parametrize("asked_mm", [3.999, 30.001, -5, 0, 1e300])
async def test_the_lens_never_goes_past_its_limits(
    client: Client, supervisor: FakeSupervisor, asked_mm: float
) -> None:
    """The answer names the field and what is allowed."""
    reply = await client.put(PATH, {"working_distance_mm": asked_mm})

    assert (reply.status, reply.problem) == (422, "working-distance-limit")
    assert (reply.json["field"], reply.json["allowed"], reply.json["unit"]) == (
        "working_distance_mm",
        [4.0, 30.0],
        "mm",
    )
    assert supervisor.lens_mm == START_MM


@pytest.mark.parametrize(
    "content",
    [
        b'{"working_distance_mm": NaN}',
        b'{"working_distance_mm": -Infinity}',
        b'{"working_distance_mm": "9.5"}',
        b'{"working_distance_mm": true}',
        b'{"working_distance_mm": null}',
        b'{"working_distance_mm": [9.5]}',
        b'{"working_distance_um": 9500}',
        b"{}",
        b"",
    ],
)
async def test_a_working_distance_is_a_finite_number(
    client: Client, supervisor: FakeSupervisor, content: bytes
) -> None:
    """Whatever else is sent moves nothing."""
    reply = await client.send("PUT", PATH, raw=content)

    assert (reply.status, reply.problem) == (422, "invalid-request")
    fields = {error["field"] for error in reply.json["errors"]}
    assert "working_distance_mm" in fields
    assert supervisor.lens_mm == START_MM


async def test_the_lens_is_not_taken_from_a_running_refocus(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """The answer says which one."""
    running = await supervisor.start_refocus()

    reply = await client.put(PATH, {"working_distance_mm": 9.5})

    assert (reply.status, reply.problem) == (409, "busy")
    assert reply.json["running_id"] == running.refocus_id


@pytest.mark.parametrize(
    ("fault", "slug"),
    [
        (WorkingDistanceNotSetError(9.5, 9.0), "working-distance-not-set"),
        (MicroscopeError("the column is locked by the operator"), "microscope-error"),
    ],
)
async def test_a_microscope_that_refuses_is_the_gateways_fault(
    client: Client, supervisor: FakeSupervisor, fault: Exception, slug: str
) -> None:
    """502: focusd did what it could, the instrument behind it did not."""
    supervisor.fault = fault

    reply = await client.put(PATH, {"working_distance_mm": 9.5})

    assert (reply.status, reply.problem, reply.json["detail"]) == (502, slug, str(fault))
