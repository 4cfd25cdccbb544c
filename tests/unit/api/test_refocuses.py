"""Refocuses over HTTP: start, wait, history, cancel."""

from __future__ import annotations

import asyncio

import pytest

from focusd.errors import DegradedError, StoreError
from focusd.records import RefocusResult
from tests.unit.api.client import Client, connected
from tests.unit.api.fake_supervisor import START_MM, FakeSupervisor
from tests.unit.store.records_made import spectra


async def waited_for(supervisor: FakeSupervisor) -> None:
    """Return when somebody waits for the refocus."""
    async with asyncio.timeout(5):
        await supervisor.waiting.wait()


async def test_a_refocus_is_accepted_at_once(client: Client) -> None:
    """The answer is the record so far, and where to look for the rest."""
    reply = await client.post("/v1/refocuses")

    assert reply.status == 202
    assert reply.headers["Location"] == "/v1/refocuses/1"
    assert reply.json["refocus_id"] == 1
    assert reply.json["trigger"] == "request"
    assert reply.json["result"] is None
    assert (await client.get(reply.headers["Location"])).json == reply.json


async def test_a_waiting_client_gets_the_finished_record(client: Client, supervisor: FakeSupervisor) -> None:
    """With ``wait`` the answer comes when the lens stands still, with the evidence."""
    waiting = asyncio.create_task(client.post("/v1/refocuses?wait=true"))
    await waited_for(supervisor)
    supervisor.take_search_scan(9.003)
    await supervisor.finish()

    reply = await waiting

    assert reply.status == 200
    assert reply.json["result"] == "refocused"
    assert reply.json["final_working_distance_mm"] == 9.003
    assert reply.json["scans"][0]["role"] == "search"


async def test_a_refocus_without_success_is_no_http_error(client: Client, supervisor: FakeSupervisor) -> None:
    """What was asked for was done; how it ended is in the record."""
    waiting = asyncio.create_task(client.post("/v1/refocuses?wait=true"))
    await waited_for(supervisor)
    await supervisor.finish(RefocusResult.NO_PEAK, "flat curve")

    reply = await waiting

    assert (reply.status, reply.json["result"], reply.json["reason"]) == (200, "no_peak", "flat curve")


async def test_a_wait_ends_in_time_and_the_refocus_goes_on(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """A client that has waited long enough gets the record as it stands."""
    reply = await client.post("/v1/refocuses?wait=true&timeout_s=0.05")

    assert (reply.status, reply.json["result"]) == (202, None)
    await supervisor.finish()
    assert (await client.get("/v1/refocuses/1")).json["result"] == "refocused"


async def test_a_waiting_client_that_leaves_disturbs_nothing(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """The refocus goes on to its end without anybody waiting for it."""
    async with connected(client.url, b"POST /v1/refocuses?wait=true HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        await waited_for(supervisor)

    async with asyncio.timeout(5):
        while not supervisor.abandoned_waits:
            await asyncio.sleep(0.001)
    await supervisor.finish()
    assert (await client.get("/v1/refocuses/1")).json["result"] == "refocused"


async def test_one_refocus_at_a_time(client: Client) -> None:
    """The second of two gets the id of the first."""
    await client.post("/v1/refocuses")

    reply = await client.post("/v1/refocuses")

    assert (reply.status, reply.problem, reply.json["running_id"]) == (409, "busy", 1)


@pytest.mark.parametrize(
    ("fault", "status", "slug"),
    [
        (StoreError("database is locked"), 503, "store-unavailable"),
        (DegradedError("the working distance could not be put back"), 409, "degraded"),
    ],
)
async def test_a_refocus_that_cannot_begin_says_why(
    client: Client, supervisor: FakeSupervisor, fault: Exception, status: int, slug: str
) -> None:
    """Nothing is moved when the restore point cannot be kept, or while a cause is not mended."""
    supervisor.fault = fault

    reply = await client.post("/v1/refocuses")

    assert (reply.status, reply.problem) == (status, slug)
    assert (await client.get("/v1/refocuses")).json == {"refocuses": [], "next": None}


@pytest.mark.parametrize(
    "query", ["wait=yes", "wait=1", "wait", "timeout_s=-1", "timeout_s=3601", "timeout_s=1e400"]
)
async def test_a_wait_that_cannot_be_meant_starts_nothing(
    client: Client, supervisor: FakeSupervisor, query: str
) -> None:
    """A request is checked whole before anything is done."""
    reply = await client.post(f"/v1/refocuses?{query}")

    assert (reply.status, reply.problem) == (422, "invalid-request")
    assert supervisor.status.current_refocus is None


async def test_history_shows_the_running_one_as_it_stands(client: Client, supervisor: FakeSupervisor) -> None:
    """Newest first, the running one with the scans it has taken so far."""
    for _ in range(2):
        await supervisor.start_refocus()
        await supervisor.finish()
    await supervisor.start_refocus()
    supervisor.take_search_scan(9.01)

    first = (await client.get("/v1/refocuses?limit=2")).json
    second = (await client.get(f"/v1/refocuses?limit=2&before={first['next']}")).json

    assert [record["refocus_id"] for record in first["refocuses"]] == [3, 2]
    assert [len(record["scans"]) for record in first["refocuses"]] == [1, 0]
    assert [record["refocus_id"] for record in second["refocuses"]] == [1]
    assert second["next"] is None


async def test_cancel_answers_when_the_lens_is_back(client: Client, supervisor: FakeSupervisor) -> None:
    """The answer is the finished record, and the lens stands where it stood."""
    await supervisor.start_refocus()
    supervisor.take_search_scan(9.05)
    supervisor.lens_is_back.clear()
    cancelling = asyncio.create_task(client.delete("/v1/refocuses/1"))
    await waited_for(supervisor)
    assert not cancelling.done()

    supervisor.lens_is_back.set()

    reply = await cancelling
    assert (reply.status, reply.json["result"]) == (200, "cancelled")
    assert reply.json["final_working_distance_mm"] == START_MM
    assert supervisor.lens_mm == START_MM


async def test_cancel_need_not_be_waited_for(client: Client, supervisor: FakeSupervisor) -> None:
    """With a short ``timeout_s`` the record comes as it stands, and the cancel holds."""
    await supervisor.start_refocus()
    supervisor.lens_is_back.clear()

    reply = await client.delete("/v1/refocuses/1?timeout_s=0")

    assert (reply.status, reply.json["result"]) == (202, None)
    supervisor.lens_is_back.set()
    assert (await supervisor.wait_for_refocus(1)).result is RefocusResult.CANCELLED


async def test_an_ended_refocus_cannot_be_cancelled(client: Client, supervisor: FakeSupervisor) -> None:
    """The answer says how it ended."""
    await supervisor.start_refocus()
    await supervisor.finish()

    reply = await client.delete("/v1/refocuses/1")

    assert (reply.status, reply.problem, reply.json["result"]) == (409, "already-finished", "refocused")


async def test_a_refocus_that_ended_unseen_cannot_be_cancelled(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """Its record may not say so yet, but nobody runs it any more."""
    record = await supervisor.start_refocus()
    await supervisor.finish()
    await supervisor.store.refocuses.update(record)

    reply = await client.delete("/v1/refocuses/1")

    assert (reply.status, reply.problem, reply.json["result"]) == (409, "already-finished", None)


async def test_spectra_are_kept_where_they_were_asked_for(client: Client, supervisor: FakeSupervisor) -> None:
    """Beside the record, because they are long: the rings and the noise floor of each scan."""
    asked = await client.post("/v1/refocuses", {"keep_spectra": True})
    await supervisor.finish()
    await supervisor.store.spectra.put(spectra(1))

    reply = await client.get("/v1/refocuses/1/spectra")

    assert asked.json["keep_spectra"] is True
    assert (reply.status, reply.json["refocus_id"]) == (200, 1)
    assert reply.json["spectra"] == [
        {
            "frequency_cycles_per_px": [0.1, 0.4],
            "power": [90.0, 12.5],
            "modes": [40.0, 300.0],
            "corner_power": 8.0,
        }
    ]


@pytest.mark.parametrize(
    ("body", "ends", "sentence"),
    [
        ({}, True, "it was started without keep_spectra"),
        ({"keep_spectra": True}, False, "it has not ended yet"),
        ({"keep_spectra": True}, True, "they were the oldest"),
    ],
)
async def test_spectra_that_are_not_there_say_why(
    client: Client, supervisor: FakeSupervisor, body: dict[str, bool], ends: bool, sentence: str
) -> None:
    """Nobody has to guess whether to ask again or to ask otherwise."""
    await client.post("/v1/refocuses", body)
    if ends:
        await supervisor.finish()

    reply = await client.get("/v1/refocuses/1/spectra")

    assert (reply.status, reply.problem) == (404, "not-found")
    assert sentence in reply.json["detail"]


@pytest.mark.parametrize("path", ["/v1/refocuses/99", "/v1/refocuses/99/spectra"])
async def test_nothing_is_known_of_a_refocus_that_never_was(client: Client, path: str) -> None:
    """Neither its record nor its spectra."""
    reply = await client.get(path)

    assert (reply.status, reply.json["detail"]) == (404, "there is no refocus 99")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_refocus_that_never_was_is_not_found(client: Client, method: str) -> None:
    """Neither to be read nor to be cancelled."""
    reply = await client.send(method, "/v1/refocuses/99")

    assert (reply.status, reply.problem) == (404, "not-found")
