"""Health, status, readiness, pause and resume."""

from __future__ import annotations

import asyncio

import pytest

from focusd.errors import StoreError
from focusd.records import RefocusTrigger
from focusd.service.pending import PendingRefocus, WaitsFor
from focusd.service.status import DaemonState
from tests.unit.api.client import Client
from tests.unit.api.fake_supervisor import LIMITS_MM, START_MM, FakeSupervisor, verdict


async def test_status_is_one_object_with_the_readback_beside_the_setpoint(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """The status names what is commanded and what is read back, and keeps the records' own names."""
    supervisor.lens_mm = 9.0042
    supervisor.last_verdict = verdict(41)

    reply = await client.get("/v1/status")

    status = reply.json
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert status["state"] == "monitoring"
    assert status["working_distance_mm"] == 9.0042
    assert status["working_distance_setpoint_mm"] == START_MM
    assert status["limits_mm"] == list(LIMITS_MM)
    assert status["link"]["connected"] is True
    assert status["column"]["field_of_view_um"] == 100.0
    assert status["last_verdict"]["verdict"] == "in_focus"
    assert status["last_verdict"]["stage_position"]["x_mm"] == 1.5
    assert status["baseline"]["condition"].startswith("SE-")
    assert status["current_refocus"] is None
    assert status["counters"] == {
        "frames_judged": 0,
        "frames_unjudgeable": 0,
        "refocuses": 0,
        "refocuses_failed": 0,
        "predicted_moves": 0,
    }


async def test_status_shows_the_scans_of_the_running_refocus(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """Progress can be followed in the status alone."""
    await supervisor.start_refocus()
    supervisor.take_search_scan(9.01)

    current = (await client.get("/v1/status")).json["current_refocus"]

    assert current["refocus_id"] == 1
    assert current["result"] is None
    assert current["beam_time_s"] == 0.25
    assert [scan["working_distance_mm"] for scan in current["scans"]] == [9.01]


async def test_status_says_nothing_of_a_microscope_that_is_away(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """An old reading is not shown as if it were true now."""
    supervisor.connected = False

    status = (await client.get("/v1/status")).json

    assert (status["state"], status["reason"]) == ("disconnected", "connection refused")
    assert status["working_distance_mm"] is None
    assert status["column"] is None


async def test_ready_means_that_the_microscope_answers(client: Client, supervisor: FakeSupervisor) -> None:
    """Live does not depend on the microscope, ready does, and says why not."""
    assert (await client.get("/v1/health/ready")).json == {"status": "ok", "state": "monitoring"}

    supervisor.connected = False

    assert (await client.get("/v1/health/live")).json == {"status": "ok"}
    refused = await client.get("/v1/health/ready")
    assert (refused.status, refused.problem) == (503, "not-ready")
    assert refused.json["reason"] == "connection refused"


@pytest.mark.parametrize("path", ["/v1/health/live", "/v1/health/ready"])
async def test_a_stuck_owner_is_neither_live_nor_ready(
    client: Client, supervisor: FakeSupervisor, path: str
) -> None:
    """HTTP that answers is not enough: whoever owns the microscope must make progress."""
    supervisor.is_alive = False

    reply = await client.get(path)

    assert (reply.status, reply.problem) == (503, "owner-stuck")


async def test_acquisition_waits_until_the_refocus_has_ended(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """The long poll answers when the lens stands still again, not before."""
    await supervisor.start_refocus()
    waiting = asyncio.create_task(client.get("/v1/ready"))
    assert (await client.get("/v1/status")).json["state"] == "refocusing"
    assert not waiting.done()

    await supervisor.finish()

    reply = await waiting
    assert reply.status == 200
    assert reply.json == {"ready": True, "state": "monitoring", "reason": ""}


async def test_acquisition_is_told_when_the_wait_was_in_vain(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """A timeout is an error, so that a script that looks at the status alone does not go on."""
    supervisor.connected = False

    reply = await client.get("/v1/ready?timeout_s=0.1")

    assert (reply.status, reply.problem) == (503, "not-ready")
    assert reply.json["state"] == "disconnected"


@pytest.mark.parametrize(
    ("waits_for", "goes_on"),
    [(WaitsFor.START, False), (WaitsFor.CHECKPOINT, True), (WaitsFor.SCAN_LEASE, True), (None, True)],
)
async def test_acquisition_waits_for_a_refocus_only_when_it_is_about_to_begin(
    client: Client, supervisor: FakeSupervisor, waits_for: WaitsFor | None, goes_on: bool
) -> None:
    """One that itself waits for the acquisition, or is only advised, keeps nobody waiting."""
    supervisor.state = DaemonState.PENDING
    if waits_for is not None:
        supervisor.pending = PendingRefocus(RefocusTrigger.DRIFT, 7, waits_for)

    reply = await client.get("/v1/ready?timeout_s=0.1")

    assert reply.status == (200 if goes_on else 503)
    assert reply.json["state"] == "pending"


async def test_pause_takes_the_hands_off_and_resume_goes_on(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """Both answer with the status that follows."""
    paused = await client.post("/v1/pause", {"reason": "changing the specimen"})
    assert (paused.json["state"], paused.json["reason"]) == ("paused", "changing the specimen")
    assert supervisor.paused_because == "changing the specimen"

    resumed = await client.post("/v1/resume")
    assert resumed.json["state"] == "monitoring"


@pytest.mark.parametrize("body", [None, {}])
async def test_pause_needs_no_reason(client: Client, supervisor: FakeSupervisor, body: object) -> None:
    """No body, or one without a reason, is enough in a hurry."""
    assert (await client.post("/v1/pause", body)).status == 200
    assert supervisor.paused_because == "paused on request"


@pytest.mark.parametrize("reason", ["two\nlines", "bell\x07", "", "x" * 201, "\u2028", 7, None, ["a"]])
async def test_a_reason_is_one_line_of_text(
    client: Client, supervisor: FakeSupervisor, reason: object
) -> None:
    """What goes to systemd and to terminals holds no control characters."""
    reply = await client.post("/v1/pause", {"reason": reason})

    assert (reply.status, reply.problem, reply.json["field"]) == (422, "invalid-request", "reason")
    assert supervisor.paused_because is None


async def test_a_pause_that_cannot_be_kept_is_an_error(client: Client, supervisor: FakeSupervisor) -> None:
    """A store that cannot be written is said, not hidden."""
    supervisor.fault = StoreError("state/focusd.sqlite: disk I/O error")

    reply = await client.post("/v1/pause")

    assert (reply.status, reply.problem) == (503, "store-unavailable")
