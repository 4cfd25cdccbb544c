"""Who may ask: Host, Origin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from multidict import CIMultiDict

from focusd.api.auth import Guard, make_guard
from focusd.api.problems import ProblemError
from focusd.config import HttpSettings
from tests.unit.api.client import Client
from tests.unit.api.fake_supervisor import FakeSupervisor


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


def test_a_daemon_goes_by_the_name_it_listens_on() -> None:
    """The configured host counts beside the loopback names, and so does the computer's own name."""
    guard = make_guard(HttpSettings(host="SEM-PC.lab", token_file=Path("token")))

    assert passes(guard, "sem-pc.lab:8470")
    assert passes(guard, os.uname().nodename)
    assert not passes(guard, "sem-pc")
    assert not passes(guard, "10.0.0.5")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - that is what is tested
def test_a_daemon_on_all_addresses_goes_by_each_of_them(host: str) -> None:
    """Numbers cannot be rebound, names can."""
    guard = make_guard(HttpSettings(host=host, token_file=Path("token")))

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
