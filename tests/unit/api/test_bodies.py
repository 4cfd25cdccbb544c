"""Bodies and paths that no friendly client would send."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from focusd.api import reading
from focusd.api.server import serve_http
from focusd.config import HttpSettings
from focusd.store.database import open_store
from tests.unit.api.client import Client, connected, read_reply, send_bytes
from tests.unit.api.fake_supervisor import START_MM, FakeSupervisor

PATH = "/v1/microscope/working-distance"
HEAD = f"PUT {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"7",
        b"null",
        b'"text"',
        b"working_distance_mm=9.5",
        b'{"working_distance_mm": 9.5,}',
        b'{"working_distance_mm": 9.5} trailing',
        b"\xff\xfe",
        b"\x00",
        b'{"\xff": 1}',
        b'{"working_distance_mm": ' + b"9" * 5000 + b"}",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"reason": "\\ud800"}',
    ],
)
async def test_what_is_no_proper_json_is_refused(
    client: Client, supervisor: FakeSupervisor, content: bytes
) -> None:
    """Nothing of it comes back in the answer, and nothing is moved."""
    reply = await client.send("PUT", PATH, raw=content)

    assert (reply.status, reply.problem) == (422, "invalid-request")
    assert len(reply.content) < 5000
    assert supervisor.lens_mm == START_MM


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ("application/json; charset=utf-16", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/problem+json", 415),
        ("json", 415),
        ("", 415),
        (";;;", 415),
    ],
)
async def test_a_body_says_that_it_is_json(client: Client, kind: str, status: int) -> None:
    """A form of a web page cannot send this content type without asking first, which is the point."""
    reply = await client.send(
        "PUT", PATH, raw=b'{"working_distance_mm": 9.5}', headers={"Content-Type": kind}
    )

    assert reply.status == status
    if status == 415:
        assert reply.problem == "unsupported-media-type"
        assert reply.json["allowed"] == ["application/json"]


async def test_a_packed_body_is_refused(client: Client) -> None:
    """What is small on the wire could be large in memory."""
    reply = await client.send("PUT", PATH, raw=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})

    assert (reply.status, reply.problem) == (415, "unsupported-media-type")


@pytest.mark.parametrize("path", ["/v1/resume", "/v1/scans", "/v1/refocuses"])
async def test_what_needs_no_body_takes_an_empty_object(client: Client, path: str) -> None:
    """Many clients send ``{}`` with every POST; anything in it would be a misunderstanding."""
    assert (await client.post(path, {"mode": "fast"})).problem == "invalid-request"
    assert (await client.post(path, {})).status in {200, 202}


async def test_a_body_that_is_too_large_is_refused_unread(client: Client) -> None:
    """By its announced length, before a byte of it is sent; the connection ends with the answer."""
    reply = await send_bytes(client.url, HEAD + b"Content-Length: 65537\r\n\r\n")

    assert (reply.status, reply.problem, reply.json["max_bytes"]) == (413, "body-too-large", 65536)
    assert reply.headers["Connection"] == "close"


async def test_a_body_without_a_length_is_counted(client: Client, supervisor: FakeSupervisor) -> None:
    """A chunked body is refused as soon as it is too large."""
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"

    reply = await send_bytes(client.url, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 17)

    assert (reply.status, reply.problem) == (413, "body-too-large")
    assert supervisor.lens_mm == START_MM


async def test_a_body_of_just_the_right_size_is_read(client: Client) -> None:
    """The bound itself is allowed."""
    content = b'{"working_distance_mm": 9.5}'.ljust(65536)

    assert (await client.send("PUT", PATH, raw=content)).status == 200


async def test_a_body_may_come_in_pieces(client: Client) -> None:
    """Chunked, byte by byte, it is the same body."""
    content = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in b'{"working_distance_mm":9.5}')

    reply = await send_bytes(
        client.url, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + content + b"0\r\n\r\n"
    )

    assert reply.status == 200


async def test_a_body_that_does_not_come_is_not_waited_for(
    client: Client, supervisor: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """408 after the deadline, and the connection is closed."""
    monkeypatch.setattr(reading, "BODY_DEADLINE_S", 0.05)

    reply = await send_bytes(client.url, HEAD + b'Content-Length: 28\r\n\r\n{"working')

    assert (reply.status, reply.problem) == (408, "body-too-slow")
    assert reply.headers["Connection"] == "close"
    assert supervisor.lens_mm == START_MM


async def test_a_client_that_leaves_in_the_middle_of_its_body_moves_nothing(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """Half a request is none."""
    async with connected(client.url, HEAD + b'Content-Length: 28\r\n\r\n{"working'):
        assert (await client.get("/v1/status")).status == 200

    assert (await client.get("/v1/status")).status == 200
    assert supervisor.lens_mm == START_MM


async def test_a_client_may_ask_before_it_sends(client: Client) -> None:
    """``Expect: 100-continue`` is answered when the headers are found good, and refused otherwise."""
    asked = HEAD + b"Content-Length: 28\r\nExpect: 100-continue\r\n\r\n"
    async with connected(client.url, asked) as (reader, writer):
        interim = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.write(b'{"working_distance_mm": 9.5}')
        final = await read_reply(reader)

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert final.status == 200
    refused = await send_bytes(client.url, HEAD + b"Content-Length: 99999\r\nExpect: 100-continue\r\n\r\n")
    assert refused.status == 413
    other = await send_bytes(client.url, HEAD + b"Content-Length: 2\r\nExpect: miracles\r\n\r\n{}")
    assert (other.status, other.problem) == (417, "expectation-failed")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/v1/status/",
        "/v1//status",
        "//v1/status",
        "/V1/status",
        "/v2/status",
        "/v1/frames/1/preview",
        "/v1/frames/",
        "/v1/../etc/passwd",
        "/v1/%2e%2e/etc/passwd",
        "/v1/baselines/%ff",
        "/v1/baselines/",
        "/v1/status%00",
        "/.git/config",
    ],
)
async def test_there_is_nothing_else(client: Client, path: str) -> None:
    """A path that is not in the table is a 404 like any other."""
    reply = await client.get(path)

    assert (reply.status, reply.problem) == (404, "no-such-path")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/status", ["GET", "HEAD"]),
        ("DELETE", "/v1/status", ["GET", "HEAD"]),
        ("GET", "/v1/scans", ["POST"]),
        ("HEAD", "/v1/scans", ["POST"]),
        ("PATCH", "/v1/refocuses/1", ["DELETE", "GET", "HEAD"]),
        ("PUT", "/v1/refocuses", ["GET", "HEAD", "POST"]),
        ("POST", PATH, ["PUT"]),
        ("OPTIONS", "/v1/pause", ["POST"]),
        ("TRACE", "/v1/pause", ["POST"]),
        ("PATCH", "/v1/baselines/capture", ["DELETE", "GET", "HEAD", "POST", "PUT"]),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    client: Client, method: str, path: str, allowed: list[str]
) -> None:
    """In the Allow header and in the document."""
    reply = await client.send(method, path)

    assert reply.status == 405
    assert reply.headers["Allow"] == ", ".join(allowed)
    if method != "HEAD":
        assert (reply.problem, reply.json["allowed"]) == ("method-not-allowed", allowed)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=8,
)
WRITES = [
    ("POST", "/v1/pause"),
    ("POST", "/v1/resume"),
    ("PUT", PATH),
    ("PUT", "/v1/baselines/nothing"),
    ("POST", "/v1/baselines/capture"),
]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON_LIKE, keys=st.sampled_from(["", "reason", "working_distance_mm", "sharpness"]))
def test_no_body_brings_focusd_into_trouble(body: object, keys: str) -> None:
    """Whatever is sent, the answer is a status that blames the right side; never 500."""
    asyncio.run(_send_to_all({keys: body} if keys else body))


async def _send_to_all(body: object) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with open_store(Path(directory), max_frames=1000) as store:
            supervisor = FakeSupervisor(store)
            async with serve_http(HttpSettings(port=0), supervisor) as url, Client(url) as client:
                for method, path in WRITES:
                    reply = await client.send(method, path, body)
                    assert reply.status in {200, 404, 422}
                    assert 4.0 <= supervisor.lens_mm <= 30.001
