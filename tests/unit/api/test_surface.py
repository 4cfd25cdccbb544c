"""The focus surface over HTTP: what was found, what is predicted, and what is no place."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from focusd.api.server import serve_http
from focusd.config import HttpSettings
from focusd.store.database import open_store
from tests.unit.api.client import Client
from tests.unit.api.fake_supervisor import FakeSupervisor
from tests.unit.service.surfaces_made import CONDITIONS, NEXT_MM, PLACES_MM, focus_mm, teach
from tests.unit.service.test_following import following

PREDICT = "/v1/focus-surface/predict"
SEEN = replace(CONDITIONS, pixel_size_nm=100_000.0 / 1024)
"""As the supervisor's microscope sees now."""


async def test_a_surface_shows_its_points_and_what_they_say(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """Tilt, drift and relief with their standard deviations, and each point with all that is known of it."""
    empty = (await client.get("/v1/focus-surface")).json
    await teach(supervisor.surfaces)
    [surface] = (await client.get("/v1/focus-surface")).json["surfaces"]

    assert empty == {"surfaces": []}
    assert surface["condition"] == CONDITIONS.key
    assert (surface["depth_of_field_um"], surface["is_doubted"]) == (2.0, False)
    fit = surface["fit"]
    assert abs(fit["tilt_x_um_per_mm"] - 100.0) < 2 * fit["tilt_x_sd_um_per_mm"] < 100.0
    assert (fit["points"], fit["left_out"]) == (len(PLACES_MM), [])
    assert [(point["x_mm"], point["y_mm"]) for point in surface["points"]] == list(PLACES_MM)
    assert surface["points"][2]["working_distance_mm"] == focus_mm(PLACES_MM[2][0])
    assert surface["points"][0]["conditions"]["detector"] == "SE"


async def test_focus_is_predicted_in_the_order_of_the_positions(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """Less surely far away, and later."""
    await teach(supervisor.surfaces, conditions=SEEN)
    places = [{"x_mm": 0.05, "y_mm": 0.01}, {"x_mm": 5, "y_mm": -5.0}]
    now = (await client.post(PREDICT, {"positions": places})).json
    later = (await client.post(PREDICT, {"positions": places, "at": 4_000_000_000.0})).json

    near, far = now["predictions"]
    assert now["condition"] == SEEN.key
    assert {name: near[name] for name in ("x_mm", "y_mm")} == places[0]
    assert abs(near["working_distance_mm"] - focus_mm(0.05)) * 1000 < 2 * near["standard_deviation_um"] < 4
    assert far["standard_deviation_um"] > 10 * near["standard_deviation_um"]
    assert later["predictions"][0]["standard_deviation_um"] > 1000


async def test_where_nothing_was_found_nothing_is_predicted(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """Also after an operator has cleared the surface."""
    body = {"positions": [{"x_mm": 0, "y_mm": 0}]}
    await teach(supervisor.surfaces)
    cleared = await client.delete("/v1/focus-surface")
    reply = await client.post(PREDICT, body)

    assert (cleared.status, cleared.json) == (200, {"points_forgotten": len(PLACES_MM)})
    assert (reply.status, reply.problem) == (404, "not-found")


@pytest.mark.parametrize(
    ("body", "field", "range_told"),
    [
        ({}, "positions", "required"),
        ({"positions": []}, "positions", "at least 1"),
        ({"positions": [{"x_mm": 0, "y_mm": 0}] * 1001}, "positions", "at most 1000"),
        ({"positions": [{"x_mm": 0}]}, "positions.0.y_mm", "required"),
        ({"positions": [{"x_mm": 0, "y_mm": 0}, {"x_mm": "1", "y_mm": 0}]}, "positions.1.x_mm", "number"),
        ({"positions": [{"x_mm": 1001, "y_mm": 0}]}, "positions.0.x_mm", "less than or equal to 1000"),
        ({"positions": [{"x_mm": 0, "y_mm": 0, "z_mm": 1}]}, "positions.0.z_mm", "not permitted"),
        ({"positions": [{"x_mm": 0, "y_mm": 0}], "at": -1}, "at", "greater than or equal to 0"),
    ],
)
async def test_what_is_no_place_is_refused_by_name(
    client: Client, body: dict[str, object], field: str, range_told: str
) -> None:
    """The problem names the field and what it may hold."""
    reply = await client.post(PREDICT, body)

    assert (reply.status, reply.problem, reply.json["field"]) == (422, "invalid-request", field)
    assert range_told in reply.json["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"position": {"x_mm": 1}}, "position.y_mm"),
        ({"position": {"x_mm": 1, "y_mm": -2000}}, "position.y_mm"),
        ({"position": [1, 2]}, "position"),
        ({"place": {"x_mm": 1, "y_mm": 2}}, "place"),
    ],
)
async def test_a_checkpoint_refuses_what_is_no_position(
    client: Client, body: dict[str, object], field: str
) -> None:
    """Before anything is done."""
    reply = await client.post("/v1/checkpoint", body)

    assert (reply.status, reply.json["field"]) == (422, field)


async def test_acquisition_may_not_go_on_while_the_lens_is_on_its_way(tmp_path: Path) -> None:
    """Who gave a checkpoint up asks when it may, and is told: not before the lens stands."""
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def wait(_: int) -> None:
        begun.set()
        await goes_on.wait()

    async with (
        open_store(tmp_path / "state", max_frames=100) as store,
        following(store) as bench,
        serve_http(HttpSettings(port=0), bench.supervisor) as url,
        Client(url) as client,
    ):
        bench.microscope.before_move = wait
        body = {"position": {"x_mm": NEXT_MM[0], "y_mm": NEXT_MM[1]}}
        gone = await client.post("/v1/checkpoint?timeout_s=2", body)
        await begun.wait()
        waiting = await client.get("/v1/ready?timeout_s=0")
        goes_on.set()
        ready = await client.get("/v1/ready?timeout_s=10")
        moved = await client.post("/v1/checkpoint", body)

    assert (gone.status, gone.problem) == (503, "not-ready")
    assert (waiting.status, waiting.problem) == (503, "not-ready")
    assert ready.status == 200
    assert moved.json["prediction"]["reason"] == "the lens is there already"
