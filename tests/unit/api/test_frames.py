"""Scans on request and the verdicts of frames."""

from __future__ import annotations

import asyncio

import pytest

from focusd.errors import LinkTimeoutError, ScanIncompleteError, ScanRefusedError
from tests.unit.api.client import Client, connected, read_reply
from tests.unit.api.fake_supervisor import FakeSupervisor, verdict


async def keep_frames(supervisor: FakeSupervisor, count: int) -> None:
    """Have ``count`` frames in the store."""
    for _ in range(count):
        await supervisor.store.frames.append(verdict(await supervisor.store.frames.next_id()))


async def test_a_scan_answers_the_verdict(client: Client) -> None:
    """A frame taken on request is judged, kept, and told in the answer."""
    reply = await client.post("/v1/scans")

    assert reply.status == 200
    assert reply.json["verdict"]["frame_id"] == 1
    assert reply.json["verdict"]["verdict"] == "in_focus"
    assert reply.json["refocus"] is None
    assert (await client.get("/v1/frames/1")).json == reply.json["verdict"]


@pytest.mark.parametrize(
    ("fault", "status", "slug"),
    [
        (ScanRefusedError("the beam is off"), 502, "scan-refused"),
        (ScanIncompleteError("3 of 512 rows"), 502, "scan-incomplete"),
        (LinkTimeoutError("no answer within 5 s"), 503, "link-lost"),
    ],
)
async def test_a_lost_scan_says_why(
    client: Client, supervisor: FakeSupervisor, fault: Exception, status: int, slug: str
) -> None:
    """Each way of losing a frame is a problem of its own."""
    supervisor.fault = fault

    reply = await client.post("/v1/scans")

    assert (reply.status, reply.problem, reply.json["detail"]) == (status, slug, str(fault))


async def test_no_scan_while_paused_or_disconnected(client: Client, supervisor: FakeSupervisor) -> None:
    """Paused is the client's affair (409), a missing microscope is not (503)."""
    supervisor.paused_because = "lunch"
    paused = await client.post("/v1/scans")
    assert (paused.status, paused.problem) == (409, "paused")

    supervisor.paused_because, supervisor.connected = None, False
    away = await client.post("/v1/scans")
    assert (away.status, away.problem) == (503, "not-connected")


async def test_a_client_that_leaves_takes_its_wish_with_it(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """The wait for a scan ends with the connection, and the daemon goes on serving others."""
    supervisor.scan_ends.clear()

    async with connected(client.url, b"POST /v1/scans HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        async with asyncio.timeout(5):
            await supervisor.waiting.wait()

    async with asyncio.timeout(5):
        while not supervisor.abandoned_waits:
            await asyncio.sleep(0.001)
    supervisor.scan_ends.set()
    assert (await client.post("/v1/scans")).status == 200


async def test_frames_come_newest_first_in_pages(client: Client, supervisor: FakeSupervisor) -> None:
    """Following ``next`` gives every frame once."""
    await keep_frames(supervisor, 5)

    first = (await client.get("/v1/frames?limit=2")).json
    second = (await client.get(f"/v1/frames?limit=2&before={first['next']}")).json
    last = (await client.get(f"/v1/frames?limit=2&before={second['next']}")).json

    pages = [[frame["frame_id"] for frame in page["frames"]] for page in (first, second, last)]
    assert pages == [[5, 4], [3, 2], [1]]
    assert last["next"] is None


async def test_a_page_that_just_holds_the_rest_is_the_last(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """No empty page follows a full one."""
    await keep_frames(supervisor, 2)

    assert (await client.get("/v1/frames?limit=2")).json["next"] is None
    assert (await client.get("/v1/frames?limit=2.0&before=3")).json["frames"][0]["frame_id"] == 2


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("limit=", "limit"),
        ("limit=1.5", "limit"),
        ("limit=true", "limit"),
        ("limit=2_0", "limit"),
        ("limit=+2", "limit"),
        ("limit=NaN", "limit"),
        ("limit=1e400", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=2&limit=3", "limit"),
        ("before=0", "before"),
        ("before=9223372036854775808", "before"),
        ("pages=2", "pages"),
    ],
)
async def test_a_query_that_cannot_be_meant_is_refused(client: Client, query: str, field: str) -> None:
    """The answer names the parameter."""
    reply = await client.get(f"/v1/frames?{query}")

    assert (reply.status, reply.problem, reply.json["field"]) == (422, "invalid-request", field)


async def test_a_frame_that_is_not_there_is_not_found(client: Client) -> None:
    """An id that nobody has is 404."""
    reply = await client.get("/v1/frames/7")

    assert (reply.status, reply.problem) == (404, "not-found")


@pytest.mark.parametrize("frame_id", ["abc", "0", "-1", "1.0", "9223372036854775808", "%D9%A1", "1" * 6000])
async def test_an_id_is_an_integer(client: Client, frame_id: str) -> None:
    """What can be no id is refused before the store is asked."""
    reply = await client.get(f"/v1/frames/{frame_id}")

    assert (reply.status, reply.problem, reply.json["field"]) == (422, "invalid-request", "frame_id")


async def test_head_answers_as_get_without_a_body(client: Client) -> None:
    """HEAD tells the length that GET would have."""
    got, head = await client.get("/v1/frames"), await client.send("HEAD", "/v1/frames")

    assert head.status == 200
    assert head.content == b""
    assert head.headers["Content-Length"] == str(len(got.content))


async def test_requests_on_one_connection_are_answered_in_turn(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """A second request that is sent before the first is answered waits for its turn."""
    await keep_frames(supervisor, 2)
    requests = [f"GET /v1/frames/{n} HTTP/1.1\r\nHost: localhost\r\n\r\n" for n in (2, 1)]

    async with connected(client.url, "".join(requests).encode()) as (reader, _):
        answered = [(await read_reply(reader)).json["frame_id"] for _ in requests]

    assert answered == [2, 1]
