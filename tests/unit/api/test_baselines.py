"""Baselines over HTTP: read, capture, set by hand, forget."""

from __future__ import annotations

import time

import pytest
import pytest_asyncio

from focusd.focus.metrics import METRICS
from tests.unit.api.client import Client
from tests.unit.api.fake_supervisor import CONDITIONS, FakeSupervisor, baseline

PATH = f"/v1/baselines/{CONDITIONS.key}"


@pytest_asyncio.fixture
async def kept(supervisor: FakeSupervisor) -> None:
    """One baseline in the store."""
    await supervisor.store.baselines.put(baseline())


@pytest.mark.usefixtures("kept")
async def test_a_baseline_is_found_by_its_condition(client: Client) -> None:
    """The list and the single one tell the same."""
    listed = (await client.get("/v1/baselines")).json["baselines"]
    one = (await client.get(PATH)).json

    assert listed == [one]
    assert one["condition"] == CONDITIONS.key
    assert one["conditions"]["pixel_size_nm"] == 10.0
    assert one["sharpness"] == {"band_ratio": 0.26, "log_energy": 900.0}
    assert (one["source"], one["frames"], one["working_distance_mm"]) == ("refocus", 1, 9.0)


async def test_there_is_none_at_first(client: Client) -> None:
    """An empty list, and nothing at any name, not even at the one that captures."""
    assert (await client.get("/v1/baselines")).json == {"baselines": []}
    for path in (PATH, "/v1/baselines/capture", "/v1/baselines/%2F..%2Fsecret", "/v1/baselines/%00"):
        reply = await client.get(path)
        assert (reply.status, reply.problem) == (404, "not-found")


async def test_the_last_frame_becomes_the_baseline(client: Client) -> None:
    """Capture answers the new baseline and where it is; without a frame there is nothing to capture."""
    early = await client.post("/v1/baselines/capture")
    assert (early.status, early.problem) == (404, "not-found")

    await client.post("/v1/scans")
    reply = await client.post("/v1/baselines/capture")

    assert (reply.status, reply.json["source"]) == (201, "operator")
    assert (await client.get(reply.headers["Location"])).json == reply.json


@pytest.mark.usefixtures("kept")
async def test_an_operator_replaces_the_reference_values(client: Client) -> None:
    """The values are new, the condition stays, and the record says whose word it is."""
    before = time.time()

    reply = await client.put(PATH, {"sharpness": {"band_ratio": 1, "log_energy": 800.5}})

    assert reply.status == 200
    assert reply.json["sharpness"] == {"band_ratio": 1.0, "log_energy": 800.5}
    assert (reply.json["source"], reply.json["frames"]) == ("operator", 0)
    assert before <= reply.json["created_at"] <= time.time()
    assert reply.json["conditions"] == (await client.get(PATH)).json["conditions"]


async def test_a_condition_that_was_never_seen_has_no_baseline_to_replace(client: Client) -> None:
    """What a condition consists of is learnt from frames, not told."""
    reply = await client.put(PATH, {"sharpness": {"band_ratio": 0.3}})

    assert (reply.status, reply.problem) == (404, "not-found")


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b'{"sharpness": {"band_ratio": 0}}', "sharpness.band_ratio"),
        (b'{"sharpness": {"band_ratio": -1.0}}', "sharpness.band_ratio"),
        (b'{"sharpness": {"band_ratio": NaN}}', "sharpness.band_ratio"),
        (b'{"sharpness": {"band_ratio": Infinity}}', "sharpness.band_ratio"),
        (b'{"sharpness": {"band_ratio": 1e400}}', "sharpness.band_ratio"),
        (b'{"sharpness": {"band_ratio": "0.3"}}', "sharpness.band_ratio"),
        (b'{"sharpness": {"band_ratio": true}}', "sharpness.band_ratio"),
        (b'{"sharpness": {}}', "sharpness"),
        (b'{"sharpness": null}', "sharpness"),
        (b"{}", "sharpness"),
        (b"", "sharpness"),
        (b'{"sharpness": {"band_ratio": 0.3}, "frames": 3}', "frames"),
    ],
)
async def test_only_positive_numbers_are_reference_values(
    client: Client, supervisor: FakeSupervisor, content: bytes, field: str
) -> None:
    """Anything else is refused by name, and the old baseline stays."""
    reply = await client.send("PUT", PATH, raw=content)

    assert (reply.status, reply.problem, reply.json["field"]) == (422, "invalid-request", field)
    assert await supervisor.store.baselines.get(CONDITIONS.key) == baseline()


@pytest.mark.usefixtures("kept")
async def test_a_metric_that_does_not_exist_is_refused(client: Client) -> None:
    """The answer lists those that do."""
    reply = await client.put(PATH, {"sharpness": {"band_ratoi": 0.3}})

    assert (reply.status, reply.problem) == (422, "invalid-request")
    assert reply.json["field"].startswith("sharpness.band_ratoi")
    assert all(name in reply.json["detail"] for name in METRICS)


@pytest.mark.usefixtures("kept")
async def test_a_baseline_can_be_forgotten_once(client: Client) -> None:
    """After that it is not there."""
    first, second = await client.delete(PATH), await client.delete(PATH)

    assert (first.status, first.content) == (204, b"")
    assert (second.status, second.problem) == (404, "not-found")


@pytest.mark.usefixtures("kept")
async def test_the_name_of_a_condition_may_be_percent_encoded(client: Client) -> None:
    """A client that encodes more than it must finds the same baseline."""
    encoded = "".join(f"%{byte:02X}" for byte in CONDITIONS.key.encode())

    assert (await client.get(f"/v1/baselines/{encoded}")).status == 200
