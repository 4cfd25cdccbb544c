"""The endpoint in front of the true supervisor, with a microscope that is a model in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest_asyncio

from focusd.api.server import serve_http
from focusd.config import Config
from focusd.service.heartbeat import Heartbeat
from focusd.service.supervisor import Supervisor
from focusd.store.database import open_store
from tests.fake_microscope import DEPTH_OF_FIELD_UM, FakeMicroscope
from tests.unit.api.client import Client


class Bench:
    """A microscope, whose keeper answers over HTTP."""

    def __init__(self, microscope: FakeMicroscope, client: Client) -> None:
        self.microscope = microscope
        self.client = client


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A running supervisor behind an endpoint."""
    microscope = FakeMicroscope()

    @asynccontextmanager
    async def connect() -> AsyncIterator[FakeMicroscope]:
        yield microscope

    config = Config.model_validate(
        {
            "microscope": {"limits": {"working_distance_mm": microscope.limits_mm}},
            "scan": {"width": 192, "height": 192, "trigger": "request"},
            "refocus": {"depth_of_field_um": DEPTH_OF_FIELD_UM},
            "http": {"port": 0},
        }
    )
    async with open_store(tmp_path / "state", max_frames=1000) as store, asyncio.TaskGroup() as group:
        supervisor = Supervisor(config, store, connect=connect, heartbeat=Heartbeat())
        async with serve_http(config.http, supervisor) as url, Client(url) as client:
            owner = group.create_task(supervisor.run())
            reply = await client.get("/v1/ready?timeout_s=10")
            assert reply.status == 200
            yield Bench(microscope, client)
            owner.cancel()


async def test_the_first_frame_is_focused_and_becomes_the_baseline(bench: Bench) -> None:
    """One POST, and everything that follows from it can be read."""
    answer = (await bench.client.post("/v1/scans")).json

    assert answer["verdict"]["verdict"] == "learning"
    assert answer["refocus"]["trigger"] == "first_frame"
    assert answer["refocus"]["result"] in {"refocused", "confirmed_in_focus"}
    refocus_id = answer["refocus"]["refocus_id"]
    assert (await bench.client.get(f"/v1/refocuses/{refocus_id}")).json == answer["refocus"]
    (kept,) = (await bench.client.get("/v1/baselines")).json["baselines"]
    assert kept["condition"] == answer["verdict"]["condition"]
    status = (await bench.client.get("/v1/status")).json
    assert status["state"] == "monitoring"
    assert status["working_distance_mm"] == bench.microscope.working_distance_mm


async def test_a_refocus_is_started_waited_for_and_remembered(bench: Bench) -> None:
    """The record that a waiting client gets is the one that stays."""
    reply = await bench.client.post("/v1/refocuses?wait=true&timeout_s=30")

    assert reply.status == 200
    assert reply.json["result"] in {"refocused", "confirmed_in_focus"}
    assert reply.json["scans"][0]["role"] == "start"
    assert (await bench.client.get("/v1/refocuses")).json["refocuses"] == [reply.json]


async def test_an_operator_moves_the_lens_and_pauses(bench: Bench) -> None:
    """The readback is the microscope's; while paused nothing is scanned."""
    target_mm = bench.microscope.working_distance_mm + 0.01

    moved = await bench.client.put("/v1/microscope/working-distance", {"working_distance_mm": target_mm})
    paused = await bench.client.post("/v1/pause", {"reason": "changing the specimen"})

    assert moved.json["working_distance_mm"] == bench.microscope.working_distance_mm
    assert abs(moved.json["working_distance_mm"] - target_mm) < 0.001
    assert paused.json["state"] == "paused"
    assert (await bench.client.post("/v1/scans")).problem == "paused"
    assert (await bench.client.post("/v1/resume")).json["state"] != "paused"
