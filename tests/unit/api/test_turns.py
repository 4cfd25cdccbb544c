"""Scan leases and checkpoints over HTTP."""

from __future__ import annotations

import pytest

from tests.unit.api.client import Client


async def test_a_lease_is_taken_shown_renewed_and_ended(client: Client) -> None:
    """Its whole life."""
    taken = await client.post("/v1/scan-leases", {"holder": "montage.py", "expires_in_s": 30})
    path = taken.headers["Location"]

    assert (taken.status, taken.json["holder"], taken.json["expires_in_s"]) == (201, "montage.py", 30)
    assert path == f"/v1/scan-leases/{taken.json['lease_id']}"
    [shown] = (await client.get("/v1/scan-leases")).json["scan_leases"]
    assert shown["holder"] == "montage.py"
    assert 29 < shown["expires_in_s"] <= 30
    [shown] = (await client.get("/v1/status")).json["scan_leases"]
    assert shown["lease_id"] == taken.json["lease_id"]
    assert (await client.put(path, {"expires_in_s": 60})).json["expires_in_s"] == 60
    assert (await client.delete(path)).status == 204
    assert (await client.get("/v1/scan-leases")).json == {"scan_leases": []}
    gone = await client.put(path, {"expires_in_s": 60})
    assert (gone.status, gone.problem) == (404, "not-found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "holder"),
        ({"holder": ""}, "holder"),
        ({"holder": "me", "expires_in_s": 0}, "expires_in_s"),
        ({"holder": "me", "expires_in_s": 1e6}, "expires_in_s"),
    ],
)
async def test_a_lease_for_nobody_or_for_ever_is_refused(
    client: Client, body: dict[str, object], field: str
) -> None:
    """The problem names the field."""
    reply = await client.post("/v1/scan-leases", body)

    assert (reply.status, reply.json["field"]) == (422, field)


async def test_a_checkpoint_needs_a_microscope_and_nobody_scanning(client: Client) -> None:
    """Both are told apart, and the lease says when to ask again."""
    away = await client.post("/v1/checkpoint")
    await client.post("/v1/scan-leases", {"holder": "montage.py", "expires_in_s": 30})
    leased = await client.post("/v1/checkpoint")

    assert (away.status, away.problem) == (503, "not-connected")
    assert (leased.status, leased.problem, leased.headers["Retry-After"]) == (409, "scan-lease", "30")
    assert "montage.py" in leased.json["detail"]
    assert 29 < leased.json["free_in_s"] <= 30
