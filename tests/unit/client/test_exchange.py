"""Either client over real HTTP against a daemon that breaks off, refuses, is silent or is somebody else."""

from __future__ import annotations

import asyncio
import itertools
from types import ModuleType

import pytest

from focusd.client import Client, ClientError
from focusd.client.exchange import backoff
from tests.unit.client.faces import BOTH, client_of
from tests.unit.client.scripted_daemon import DROP, JUDGED, SILENCE, Said, problem, scripted

TILE = bytes(64 * 64)
SHAPE = (64, 64)
TOKEN = "t0" * 8

both = pytest.mark.parametrize("kind", BOTH, ids=lambda module: module.__name__)


@both
async def test_a_frame_whose_connection_broke_is_sent_again_under_the_same_key(kind: ModuleType) -> None:
    """The daemon can tell the second attempt from a second frame."""
    async with scripted(DROP, DROP, Said(JUDGED)) as daemon, client_of(kind, daemon.url) as focusd:
        judgement = await focusd.judge(TILE, shape=SHAPE)
        await focusd.judge(TILE, shape=SHAPE)

    keys = [asked.headers["idempotency-key"] for asked in daemon.asked]
    assert judgement.frame_id == 3
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]
    assert {asked.body for asked in daemon.asked} == {TILE}


@both
async def test_a_daemon_that_is_full_is_asked_again_when_it_says(kind: ModuleType) -> None:
    """503 with Retry-After is no failure."""
    async with (
        scripted(problem("too-many", 503, retry_after="0"), Said(JUDGED)) as daemon,
        client_of(kind, daemon.url) as focusd,
    ):
        judgement = await focusd.judge(TILE, shape=SHAPE)

    assert judgement.frame_id == 3
    assert len(daemon.asked) == 2


@both
async def test_an_answer_that_does_not_come_is_asked_for_again(kind: ModuleType) -> None:
    """A connection may be half open: a new one is told the outcome of what the first had asked for."""
    async with (
        scripted(SILENCE, Said(JUDGED)) as daemon,
        client_of(kind, daemon.url, silence_s=0.1) as focusd,
    ):
        judgement = await focusd.judge(TILE, shape=SHAPE)

    assert judgement.frame_id == 3
    assert daemon.asked[0].headers["idempotency-key"] == daemon.asked[1].headers["idempotency-key"]


@both
async def test_a_daemon_that_is_started_again_is_waited_for(kind: ModuleType) -> None:
    """A script outlasts a restart of focusd."""
    async with scripted(DROP) as first:
        port = first.port
    async with client_of(kind, f"http://127.0.0.1:{port}") as focusd:
        judging = asyncio.create_task(focusd.judge(TILE, shape=SHAPE))
        await asyncio.sleep(0)
        async with scripted(Said(JUDGED), port=port):
            judgement = await judging

    assert judgement.frame_id == 3


@both
async def test_nobody_there_is_known_soon_however_long_focus_would_be_waited_for(kind: ModuleType) -> None:
    """A scan does not stand still for ten minutes because a daemon is gone."""
    async with scripted(DROP) as gone:
        url = gone.url
    async with client_of(kind, url, patience_s=0.3) as focusd, asyncio.timeout(5):
        with pytest.raises(kind.UnreachableError, match="no focusd answers") as caught:
            await focusd.judge(TILE, shape=SHAPE, timeout_s=600)

    assert isinstance(caught.value, ConnectionError)


@both
async def test_a_daemon_that_never_answers_costs_the_deadline(kind: ModuleType) -> None:
    """A wait has an end, whatever the other side does."""
    async with scripted(SILENCE) as daemon, client_of(kind, daemon.url) as focusd:
        with pytest.raises(kind.DeadlineError) as caught:
            await focusd.status(timeout_s=0.2)

    assert isinstance(caught.value, TimeoutError)


@both
@pytest.mark.parametrize(
    ("slug", "status", "name"),
    [
        ("paused", 409, "PausedError"),
        ("degraded", 409, "DegradedError"),
        ("not-connected", 503, "NotConnectedError"),
        ("link-lost", 503, "NotConnectedError"),
        ("not-ready", 503, "NotReadyError"),
        ("unauthorized", 401, "UnauthorizedError"),
        ("invalid-frame", 422, "InvalidRequestError"),
        ("body-too-large", 413, "InvalidRequestError"),
        ("disk-full", 507, "ProblemError"),
        ("something-new", 418, "ProblemError"),
    ],
)
async def test_each_refusal_has_its_name(kind: ModuleType, slug: str, status: int, name: str) -> None:
    """Problem documents become errors, at the first attempt; ones from a newer daemon are plain."""
    async with scripted(problem(slug, status, field="x")) as daemon, client_of(kind, daemon.url) as focusd:
        with pytest.raises(kind.ProblemError) as caught:
            await focusd.checkpoint()

    assert type(caught.value) is getattr(kind, name)
    assert (caught.value.slug, caught.value.status, caught.value.detail) == (slug, status, "d")
    assert caught.value.facts["field"] == "x"
    assert str(caught.value) == "T: d"
    assert len(daemon.asked) == 1


@both
async def test_facts_of_a_refusal_are_at_hand(kind: ModuleType) -> None:
    """Which refocus runs, and for how long the lens is left alone at most."""
    script = (problem("busy", 409, running_id=7), problem("scan-lease", 409, retry_after="9", free_in_s=8.5))
    async with scripted(*script) as daemon, client_of(kind, daemon.url) as focusd:
        with pytest.raises(kind.BusyError) as busy:
            await focusd.refocus()
        with pytest.raises(kind.LeasedError) as leased:
            await focusd.checkpoint()

    assert busy.value.facts["running_id"] == 7
    assert leased.value.facts["free_in_s"] == 8.5
    assert leased.value.retry_after_s == 9.0


@both
@pytest.mark.parametrize(
    "said",
    [
        Said(b"<html>"),
        Said({"state": 5}),
        Said([1]),
        Said({}),
        Said(b"no", 404),
        Said({"error": "x"}, 500),
        Said(b"", 302, {"Location": "http://127.0.0.1:1/"}),
        Said(b"[" * 100_000),
        Said(b"1" * 9_000_000),
    ],
)
async def test_somebody_else_at_the_address_is_said_to_be(kind: ModuleType, said: Said) -> None:
    """What does not answer as focusd does is not believed, and never raises anything unforeseen."""
    async with scripted(said) as daemon, client_of(kind, daemon.url) as focusd:
        with pytest.raises(kind.StrangerError):
            await focusd.status()


@both
async def test_waiting_until_ready_asks_until_it_may_go_on(kind: ModuleType) -> None:
    """A long poll that ends without success is begun again, while there is time."""
    ready = Said({"ready": True, "state": "monitoring", "reason": ""})
    script = (problem("not-ready", 503), DROP, ready)
    async with scripted(*script) as daemon, client_of(kind, daemon.url) as focusd:
        await focusd.wait_ready(timeout_s=100)
        daemon.script = [problem("not-ready", 503)]
        with pytest.raises(kind.NotReadyError):
            await focusd.wait_ready(timeout_s=0)

    assert len(daemon.asked) == 4
    assert daemon.asked[0].query == {"timeout_s": "30.000"}


@both
async def test_the_token_is_sent_and_shown_to_nobody(kind: ModuleType) -> None:
    """It stands in the header and not in what a script prints."""
    async with (
        scripted(problem("unauthorized", 401)) as daemon,
        client_of(kind, daemon.url, token=TOKEN + "\n") as focusd,
    ):
        with pytest.raises(kind.UnauthorizedError) as caught:
            await focusd.status()

    assert daemon.asked[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in f"{focusd!r} {caught.value!r}"


@both
@pytest.mark.parametrize(
    "url", ["127.0.0.1:8470", "ftp://host", "http://", "http://host:99999", "http://h:0"]
)
def test_an_address_that_is_none_is_refused_at_once(kind: ModuleType, url: str) -> None:
    """A misspelt URL is no daemon that is away."""
    with pytest.raises(ValueError, match=r"must look like|[Pp]ort"):
        kind.Client(url)


@both
def test_a_token_that_is_none_is_refused_at_once(kind: ModuleType) -> None:
    """Nothing else can be smuggled into the header."""
    with pytest.raises(ValueError, match="token"):
        kind.Client(token=f"{TOKEN}\r\n{TOKEN}")


async def test_outside_its_block_a_client_says_so() -> None:
    """A forgotten ``async with`` is told, not guessed."""
    with pytest.raises(ClientError, match="async with"):
        await Client().status()


def test_pauses_grow_to_a_cap_and_differ() -> None:
    """Many scripts do not come back at once."""
    pauses = list(itertools.islice(backoff(0.1, 1.0), 12))
    others = list(itertools.islice(backoff(0.1, 1.0), 12))

    assert pauses[0] == 0.0
    assert all(low <= pause <= 2 * low for low, pause in zip((0.05, 0.1, 0.2, 0.4), pauses[1:5], strict=True))
    assert max(pauses) <= 1.0
    assert pauses != others
