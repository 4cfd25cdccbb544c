"""Who may ask: token, Host, Origin."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
from multidict import CIMultiDict
from structlog.testing import capture_logs

from focusd.api.auth import Guard, make_guard, read_token
from focusd.api.problems import ProblemError
from focusd.api.server import serve_http
from focusd.config import HttpSettings
from focusd.errors import ConfigError
from tests.unit.api.client import Client, send_bytes
from tests.unit.api.fake_supervisor import FakeSupervisor

TOKEN = "correct-horse-battery-staple"  # noqa: S105 - made up for these tests


def write_token(directory: Path, content: bytes = TOKEN.encode() + b"\n", mode: int = 0o600) -> Path:
    """A token file."""
    path = directory / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest_asyncio.fixture
async def guarded(supervisor: FakeSupervisor, tmp_path: Path) -> AsyncIterator[Client]:
    """A client of an endpoint that wants a token."""
    settings = HttpSettings(port=0, token_file=write_token(tmp_path))
    async with serve_http(settings, supervisor) as url, Client(url) as client:
        yield client


async def test_the_token_opens(guarded: Client) -> None:
    """The scheme's name may be written in any case."""
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert (await guarded.get("/v1/status", Authorization=f"{scheme} {TOKEN}")).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN.upper()}"},
        {"Authorization": "Bearer pässwörd-with-umlauts"},
        {"Authorization": "Bearer " + "x" * 8000},
    ],
)
async def test_anything_else_does_not(guarded: Client, headers: Mapping[str, str]) -> None:
    """The answer says how to do it right, whatever was asked."""
    for path in ("/v1/status", "/v1/nowhere"):
        reply = await guarded.send("GET", path, headers=headers)
        assert (reply.status, reply.problem) == (401, "unauthorized")
        assert reply.headers["WWW-Authenticate"].startswith('Bearer realm="focusd"')


@pytest.mark.parametrize("sent", [b"\xff\xfe\x80" * 6, "тайное-слово-длинное".encode(), TOKEN.encode() * 2])
async def test_a_token_of_any_bytes_is_only_wrong(guarded: Client, sent: bytes) -> None:
    """Bytes that are no ASCII, or no UTF-8, are compared like any other."""
    request = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + sent + b"\r\n\r\n"

    assert (await send_bytes(guarded.url, request)).problem == "unauthorized"


async def test_two_tokens_are_none(guarded: Client) -> None:
    """A header that comes twice may mean two things, so it means nothing."""
    line = f"Authorization: Bearer {TOKEN}\r\n"

    reply = await send_bytes(
        guarded.url, f"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n{line}{line}\r\n".encode()
    )

    assert reply.status in {400, 401}


async def test_health_needs_no_token(guarded: Client) -> None:
    """Probes know no secrets."""
    assert (await guarded.get("/v1/health/live")).status == 200
    assert (await guarded.get("/v1/health/ready")).status == 200
    assert (await guarded.post("/v1/health/live")).status == 405


async def test_nothing_is_done_without_the_token(guarded: Client, supervisor: FakeSupervisor) -> None:
    """A refused request leaves no trace."""
    assert (await guarded.post("/v1/refocuses")).status == 401
    assert (await guarded.put("/v1/microscope/working-distance", {"working_distance_mm": 12})).status == 401
    assert supervisor.status.current_refocus is None
    assert supervisor.lens_mm == 9.0


async def test_no_log_holds_a_secret(guarded: Client) -> None:
    """Neither the right token nor a wrong one, which may be a password of something else."""
    wrong = "my-bank-password-is-hunter2"

    with capture_logs() as events:
        await guarded.get("/v1/status", Authorization=f"Bearer {TOKEN}")
        await guarded.get(f"/v1/frames?token={TOKEN}", Authorization=f"Bearer {TOKEN}")
        await guarded.get("/v1/status", Authorization=f"Bearer {wrong}")
        await guarded.post("/v1/pause", {"token": TOKEN})

    written = json.dumps(events, default=repr)
    assert [event["status"] for event in events] == [200, 422, 401, 401]
    assert TOKEN not in written
    assert wrong not in written


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost:80",
        "127.0.0.1",
        "127.0.0.1:8470",
        "[::1]",
        "[::1]:1",
        "localhost.",
    ],
)
async def test_loopback_names_are_this_daemons(client: Client, host: str) -> None:
    """In any case, with any port."""
    assert (await client.get("/v1/status", Host=host)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example:8470",
        "localhost@evil.example",
        "localhost:8470:evil.example",
        "192.168.1.5",
        "[::2]",
        "localhost/",
        "localhost:port",
        "[::1",
    ],
)
async def test_a_name_that_is_not_this_daemons_is_refused(client: Client, host: str) -> None:
    """Also for health: a page that rebinds its name to this computer learns nothing."""
    for path in ("/v1/status", "/v1/health/live"):
        reply = await client.get(path, Host=host)
        assert (reply.status, reply.problem) == (421, "unknown-host")


def passes(guard: Guard, host: str) -> bool:
    """Whether a guard lets a Host through."""
    try:
        guard.check_host(CIMultiDict(Host=host))
    except ProblemError:
        return False
    return True


def test_a_daemon_goes_by_the_name_it_listens_on(tmp_path: Path) -> None:
    """The configured host counts beside the loopback names, and so does the computer's own name."""
    guard = make_guard(HttpSettings(host="SEM-PC.lab", token_file=write_token(tmp_path)))

    assert passes(guard, "sem-pc.lab:8470")
    assert passes(guard, os.uname().nodename)
    assert not passes(guard, "sem-pc")
    assert not passes(guard, "10.0.0.5")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - that is what is tested
def test_a_daemon_on_all_addresses_goes_by_each_of_them(tmp_path: Path, host: str) -> None:
    """Numbers cannot be rebound, names can."""
    guard = make_guard(HttpSettings(host=host, token_file=write_token(tmp_path)))

    assert passes(guard, "10.0.0.5:8470")
    assert passes(guard, "[fd00::5]:8470")
    assert not passes(guard, "evil.example")


def test_a_request_without_a_host_is_refused() -> None:
    """HTTP/1.0 allows it, focusd does not."""
    with pytest.raises(ProblemError):
        Guard([]).check_host(CIMultiDict())


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8470", "localhost:8470"),
        ("http://LOCALHOST:8470", "localhost:8470"),
        ("http://[::1]:8470", "[::1]:8470"),
        ("http://localhost", "localhost:80"),
        ("https://localhost:443", "localhost"),
    ],
)
async def test_its_own_page_may_ask(client: Client, origin: str, host: str) -> None:
    """The dashboard's origin is the host it was asked by, in whatever way the port is written."""
    reply = await client.send("POST", "/v1/pause", headers={"Origin": origin, "Host": host})

    assert reply.status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://localhost:3000",
        "http://127.0.0.1:8470",
        "http://localhost:8470.evil.example",
        "file://",
        "ftp://localhost:8470",
        "http://[::1",
        "localhost:8470",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_other_pages_may_not(
    client: Client, supervisor: FakeSupervisor, origin: str, method: str
) -> None:
    """Neither change nor read, and no CORS header ever invites them."""
    path = "/v1/status" if method == "GET" else "/v1/pause"

    reply = await client.send(method, path, headers={"Origin": origin, "Host": "localhost:8470"})

    assert (reply.status, reply.problem) == (403, "forbidden-origin")
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]
    assert supervisor.paused_because is None


async def test_what_a_browser_calls_cross_site_changes_nothing(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """A form of another site sends no Origin in old browsers, but says so in this header."""
    reply = await client.send("POST", "/v1/pause", headers={"Sec-Fetch-Site": "cross-site"})
    assert (reply.status, reply.problem) == (403, "forbidden-origin")
    assert supervisor.paused_because is None

    # A link on another site that leads here only reads.
    assert (await client.send("GET", "/v1/status", headers={"Sec-Fetch-Site": "cross-site"})).status == 200
    assert (await client.send("POST", "/v1/pause", headers={"Sec-Fetch-Site": "same-origin"})).status == 200


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_token_is_one_line(tmp_path: Path, mode: int, ending: bytes) -> None:
    """Its end does not belong to it."""
    assert read_token(write_token(tmp_path, TOKEN.encode() + ending, mode)) == TOKEN.encode()


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666, 0o660, 0o602, 0o601])
def test_a_token_that_everybody_can_read_is_no_secret(tmp_path: Path, mode: int) -> None:
    """The message says what to do."""
    with pytest.raises(ConfigError, match=r"http\.token_file .*chmod 600"):
        read_token(write_token(tmp_path, mode=mode))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"fifteen-letters\n",
        TOKEN.encode() + b"\n\n",
        TOKEN.encode() + b"\nsecond line\n",
        b"two words of a token",
        b"\xef\xbb\xbf" + TOKEN.encode(),
        "pässwörd-with-umlauts".encode(),
        TOKEN.encode() + b"\x00",
        b"x" * 4097,
        b"x" * 100_000,
    ],
)
def test_a_file_that_holds_no_token_is_refused(tmp_path: Path, content: bytes) -> None:
    """The message names the setting and never what is in the file."""
    with pytest.raises(ConfigError, match=r"http\.token_file") as caught:
        read_token(write_token(tmp_path, content))

    assert TOKEN not in str(caught.value)


def test_a_token_file_must_be_a_file(tmp_path: Path) -> None:
    """Missing, a directory, a pipe that nobody writes to: each is said at once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)

    for path in (tmp_path / "missing", tmp_path, pipe):
        with pytest.raises(ConfigError, match=r"http\.token_file"):
            read_token(path)


async def test_a_daemon_without_its_token_does_not_start(supervisor: FakeSupervisor, tmp_path: Path) -> None:
    """An open door is no substitute for a lost key."""
    settings = HttpSettings(port=0, token_file=tmp_path / "missing")

    with pytest.raises(ConfigError, match=r"http\.token_file"):
        async with serve_http(settings, supervisor):
            pytest.fail("it started")
