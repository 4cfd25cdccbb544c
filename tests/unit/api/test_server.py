"""The endpoint's life: listening, bounds, what is no HTTP, faults, and a quick stop."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from focusd.api import connection
from focusd.api.listening import listen
from focusd.api.server import serve_http
from focusd.config import HttpSettings
from tests.unit.api.client import Client, connected, read_reply, send_bytes
from tests.unit.api.fake_supervisor import FakeSupervisor

JSON_POST = b"POST /v1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


async def test_port_zero_takes_a_free_port(supervisor: FakeSupervisor) -> None:
    """Two endpoints with port 0 do not meet."""
    settings = HttpSettings(port=0)

    async with serve_http(settings, supervisor) as one, serve_http(settings, supervisor) as other:
        assert one != other
        for url in (one, other):
            assert url.startswith("http://127.0.0.1:")
            async with Client(url) as client:
                assert (await client.get("/v1/health/live")).status == 200


async def test_localhost_is_every_loopback_address(supervisor: FakeSupervisor) -> None:
    """A name with several addresses is served on one port of all that this computer has."""
    async with serve_http(HttpSettings(host="localhost", port=0), supervisor) as url:
        port = int(url.rpartition(":")[2])
        infos = await asyncio.get_running_loop().getaddrinfo("localhost", port, type=socket.SOCK_STREAM)
        for address in {info[4][0] for info in infos}:
            host = f"[{address}]" if ":" in str(address) else address
            async with Client(f"http://{host}:{port}") as client:
                assert (await client.get("/v1/health/live")).status == 200


async def test_a_name_with_two_addresses_has_one_port(
    supervisor: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the port is chosen by the system; an address this computer lacks is passed over."""

    async def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, 1, 6, "", (ip, port)) for ip in ("127.0.0.1", "127.0.0.2", "203.0.113.1")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    sockets = await listen("localhost", 0)
    names = [listener.getsockname() for listener in sockets]
    for listener in sockets:
        listener.close()

    assert [address for address, _ in names] == ["127.0.0.1", "127.0.0.2"]
    assert names[0][1] == names[1][1] != 0


async def test_an_endpoint_on_all_addresses_is_reached_by_loopback(
    supervisor: FakeSupervisor, tmp_path: Path
) -> None:
    """The URL is one that a client on this computer can use."""
    token_file = tmp_path / "token"
    token_file.write_text("correct-horse-battery-staple")
    token_file.chmod(0o600)
    settings = HttpSettings(host="0.0.0.0", port=0, token_file=token_file)  # noqa: S104 - what is tested

    async with serve_http(settings, supervisor) as url, Client(url) as client:
        assert url.startswith("http://127.0.0.1:")
        assert (await client.get("/v1/health/live")).status == 200


async def test_an_address_in_use_is_said_in_one_line(supervisor: FakeSupervisor) -> None:
    """The message names the settings to change."""
    async with serve_http(HttpSettings(port=0), supervisor) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(
            OSError, match=rf"http\.host = 127\.0\.0\.1, http\.port = {port}: .*in use"
        ) as caught:
            async with serve_http(HttpSettings(port=port), supervisor):
                pytest.fail("it started")

    assert "\n" not in str(caught.value)


async def test_a_name_that_does_not_exist_is_said_in_one_line(
    supervisor: FakeSupervisor, tmp_path: Path
) -> None:
    """Also when it is the resolver that fails."""
    token_file = tmp_path / "token"
    token_file.write_text("correct-horse-battery-staple")
    token_file.chmod(0o600)

    with pytest.raises(OSError, match=r"http\.host = no-such-host\.invalid"):
        async with serve_http(
            HttpSettings(host="no-such-host.invalid", port=0, token_file=token_file), supervisor
        ):
            pytest.fail("it started")


async def test_the_port_is_free_again_after_a_stop(supervisor: FakeSupervisor) -> None:
    """A restart finds its address, even when a client was connected."""
    async with serve_http(HttpSettings(port=0), supervisor) as url:
        port = int(url.rpartition(":")[2])
        clients = AsyncExitStack()
        await clients.enter_async_context(connected(url))
    async with clients, serve_http(HttpSettings(port=port), supervisor) as again:
        assert again == url


async def test_every_answer_is_focusds_own(client: Client) -> None:
    """Nobody is told which library serves, and nothing is kept in a cache."""
    replies = [
        await client.get("/v1/status"),
        await client.get("/nowhere"),
        await client.post("/v1/pause", {"reason": 7}),
        await client.delete("/v1/baselines/none"),
        await send_bytes(client.url, b"this is no HTTP\r\n\r\n"),
    ]

    for reply in replies:
        assert reply.headers["Server"] == "focusd"
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "content",
    [
        b"this is no HTTP\r\n\r\n",
        b"GET /v1/status\r\n\r\n",
        b"GET /v1/status HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\n\r\n",
        b"GET /v1/status HTTP/1.0\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"BREW /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /v1/pause HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n",
        JSON_POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_proper_request_gets_a_proper_problem(
    client: Client, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    """Nothing of it comes back, the log stays quiet, and the next client is served."""
    with capture_logs() as events:
        reply = await send_bytes(client.url, content)

    assert 400 <= reply.status < 500
    assert reply.problem
    assert b"evil" not in reply.content
    assert {event["log_level"] for event in events} <= {"debug"}
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
    assert (await client.get("/v1/status")).status == 200


@pytest.mark.parametrize(
    "content",
    [
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: 1\r\n" * 100 + b"\r\n",
    ],
)
async def test_headers_are_bounded(client: Client, content: bytes) -> None:
    """Neither one long line nor many short ones are collected."""
    reply = await send_bytes(client.url, content)

    assert (reply.status, reply.problem) in {(431, "headers-too-large"), (400, "bad-request")}


async def test_a_fault_inside_focusd_is_logged_and_not_told(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """The client gets a name under which the log tells the rest."""
    supervisor.fault = KeyError("secret detail of the inside")

    with capture_logs() as events:
        reply = await client.post("/v1/refocuses")

    assert (reply.status, reply.problem) == (500, "internal-error")
    assert b"secret" not in reply.content
    (logged,) = [event for event in events if event["log_level"] == "error"]
    assert (logged["event"], logged["incident"]) == ("http_handler_failed", reply.json["incident"])
    assert logged["exc_info"].__traceback__ is not None


async def test_a_request_is_one_line_in_the_log_at_level_debug(client: Client) -> None:
    """Method, path, status, duration; no query, no body, no header."""
    with capture_logs() as events:
        await client.get("/v1/frames?limit=3")

    (event,) = events
    assert event.pop("duration_s") >= 0
    assert event == {
        "event": "http_request",
        "log_level": "debug",
        "method": "GET",
        "path": "/v1/frames",
        "status": 200,
    }


@pytest.mark.parametrize(
    "request_line", ["GET /v1/ready?timeout_s=600", "POST /v1/scans", "DELETE /v1/refocuses/1"]
)
async def test_a_stop_keeps_nobody_waiting(supervisor: FakeSupervisor, request_line: str) -> None:
    """A wait is answered 503, and the stop takes less than a second."""
    await supervisor.start_refocus()
    supervisor.scan_ends.clear()
    supervisor.lens_is_back.clear()
    async with AsyncExitStack() as clients:
        async with serve_http(HttpSettings(port=0), supervisor) as url:
            content = f"{request_line} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            reader, _ = await clients.enter_async_context(connected(url, content))
            async with asyncio.timeout(5):
                while not supervisor.looks and not supervisor.waiting.is_set():
                    await asyncio.sleep(0.001)
            stopped_at = time.monotonic()
        took_s = time.monotonic() - stopped_at

        reply = await read_reply(reader)

    assert (reply.status, reply.problem) == (503, "stopping")
    assert took_s < 1.0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"POST /v1/pause HTTP/1.1\r\nHost: local",
        JSON_POST + b"Content-Length: 20\r\n\r\n{",
        JSON_POST + b"Content-Length: 99999999\r\n\r\n" + b"x" * 100_000,
    ],
    ids=["idle", "half a header", "half a body", "refused and still sending"],
)
async def test_a_stop_waits_for_no_client(supervisor: FakeSupervisor, content: bytes) -> None:
    """Clients that have not said all they want to say are closed within a second."""
    async with AsyncExitStack() as clients:
        async with serve_http(HttpSettings(port=0), supervisor) as url:
            await clients.enter_async_context(connected(url, content))
            async with Client(url) as client:
                assert (await client.get("/v1/health/live")).status == 200
            stopped_at = time.monotonic()
        assert time.monotonic() - stopped_at < 1.0


async def test_idle_connections_make_room_for_new_ones(
    supervisor: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that send nothing cannot lock others out; one that is being served stays."""
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 5)
    supervisor.scan_ends.clear()
    async with serve_http(HttpSettings(port=0), supervisor) as url, AsyncExitStack() as clients:
        scan = b"POST /v1/scans HTTP/1.1\r\nHost: localhost\r\n\r\n"
        busy, _ = await clients.enter_async_context(connected(url, scan))
        async with asyncio.timeout(5):
            await supervisor.waiting.wait()
        idle = [(await clients.enter_async_context(connected(url)))[0] for _ in range(20)]

        async with Client(url) as client:
            assert (await client.get("/v1/status")).status == 200
        async with asyncio.timeout(5):
            closed = [await reader.read() for reader in idle[:16]]
        supervisor.scan_ends.set()

        assert closed == [b""] * 16
        assert (await read_reply(busy)).status == 200


async def test_a_client_that_says_nothing_is_let_go(
    supervisor: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an idle connection, nor a header that never ends, nor one that was used is held for long."""
    assert connection._LIMITS["keepalive_timeout"] == 10
    monkeypatch.setitem(connection._LIMITS, "keepalive_timeout", 0.05)
    half_a_header = b"GET /v1/status HTTP/1.1\r\nHost: local"
    async with serve_http(HttpSettings(port=0), supervisor) as url, AsyncExitStack() as clients:
        silent, _ = await clients.enter_async_context(connected(url))
        slow, _ = await clients.enter_async_context(connected(url, half_a_header))
        used, _ = await clients.enter_async_context(connected(url, half_a_header + b"host\r\n\r\n"))
        assert (await read_reply(used)).status == 200

        async with asyncio.timeout(5):
            assert [await reader.read() for reader in (silent, slow, used)] == [b""] * 3
