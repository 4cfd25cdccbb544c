"""The access tokens: who is let in, who may only look, and what is no token."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
from multidict import CIMultiDict
from structlog.testing import capture_logs

from focusd.api.app import ROUTES
from focusd.api.problems import ProblemError
from focusd.api.routing import AnyRoute
from focusd.api.server import serve_http
from focusd.api.tokens import FREE_FAILURES, Scope, Tokens, read_token
from focusd.config import HttpSettings
from focusd.errors import ConfigError
from tests.unit.api.client import Client, send_bytes
from tests.unit.api.fake_supervisor import FakeSupervisor

TOKEN = "correct-horse-battery-staple"  # noqa: S105 - made up for these tests


READ_TOKEN = "look-but-do-not-touch"  # noqa: S105


def write_token(
    directory: Path, content: bytes = TOKEN.encode() + b"\n", mode: int = 0o600, name: str = "token"
) -> Path:
    """A token file."""
    path = directory / name
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


@pytest_asyncio.fixture
async def two_tokens(supervisor: FakeSupervisor, tmp_path: Path) -> AsyncIterator[Client]:
    """A client of an endpoint that has a token for either scope."""
    settings = HttpSettings(
        port=0,
        token_file=write_token(tmp_path),
        read_token_file=write_token(tmp_path, READ_TOKEN.encode(), name="read-token"),
    )
    async with serve_http(settings, supervisor) as url, Client(url) as client:
        yield client


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_who_may_only_look_changes_nothing(two_tokens: Client, route: AnyRoute) -> None:
    """Each operation that is more than looking is refused to the second token, and to it only for that."""
    path = route.path.replace("{", "").replace("}", "")
    headers = {"Authorization": f"Bearer {READ_TOKEN}"}
    if route.path == "/v1/ready":
        path += "?timeout_s=0.01"
    reply = await two_tokens.send(route.method, path, headers=headers)

    if route.scope <= Scope.READ:
        assert reply.status not in {401, 403}
    else:
        assert (reply.status, reply.problem) == (403, "read-only-token")


def test_what_only_looks_is_known() -> None:
    """A new operation is control unless somebody has thought about it."""
    looking = {f"{route.method} {route.path}" for route in ROUTES if route.scope <= Scope.READ}
    assert {one for one in looking if not one.startswith("GET ")} == {"POST /v1/focus-surface/predict"}


async def test_the_first_token_opens_all(two_tokens: Client, supervisor: FakeSupervisor) -> None:
    """It also looks."""
    headers = {"Authorization": f"Bearer {TOKEN}"}

    assert (await two_tokens.send("POST", "/v1/pause", headers=headers)).status == 200
    assert (await two_tokens.send("GET", "/v1/status", headers=headers)).status == 200
    assert supervisor.paused_because is not None


async def test_two_scopes_need_two_tokens(supervisor: FakeSupervisor, tmp_path: Path) -> None:
    """Else who looks could also change."""
    file = write_token(tmp_path)
    with pytest.raises(ConfigError, match=r"http\.read_token_file must hold another token"):
        async with serve_http(HttpSettings(port=0, token_file=file, read_token_file=file), supervisor):
            pytest.fail("it started")


async def test_many_wrong_tokens_are_answered_slowly_and_the_right_one_never() -> None:
    """Who guesses gets one try a second and connection; whoever knows the token is not kept waiting."""
    pauses: list[float] = []
    now = 0.0

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    tokens = Tokens({Scope.CONTROL: TOKEN.encode()}, clock=lambda: now, pause=pause)
    wrong = CIMultiDict(Authorization="Bearer not-the-right-token")
    with capture_logs() as events:
        for _ in range(FREE_FAILURES + 3):
            with pytest.raises(ProblemError):
                await tokens.scope(wrong)
    assert len(pauses) == 3
    assert [event["event"] for event in events] == ["wrong_tokens"]

    assert await tokens.scope(CIMultiDict(Authorization=f"Bearer {TOKEN}")) is Scope.CONTROL
    with pytest.raises(ProblemError):
        await tokens.scope(CIMultiDict())
    assert len(pauses) == 3

    now = 61.0
    with pytest.raises(ProblemError):
        await tokens.scope(wrong)
    assert len(pauses) == 3
