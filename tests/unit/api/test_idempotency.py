"""A request with an Idempotency-Key is carried out once, however often it is sent."""

from __future__ import annotations

import asyncio
import json

import pytest

from focusd.api.hangup import Hangup, HungUpError
from focusd.api.idempotency import KEPT_S, Answers
from focusd.api.problems import ProblemError
from focusd.api.rendering import encode
from focusd.api.routing import Answer
from focusd.errors import ScanRefusedError, TooManyError
from tests.unit.api.client import Client, connected, read_reply
from tests.unit.api.fake_supervisor import FakeSupervisor

MOST = 20
KEY = {"Idempotency-Key": "tile 7"}


def read(answer: Answer) -> object:
    """Give an answer's body as its client reads it."""
    return json.loads(encode(answer.body))


async def test_a_repeated_request_is_given_the_first_answer(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """The second scan is none, and says so."""
    first = await client.send("POST", "/v1/scans", headers=KEY)
    again = await client.send("POST", "/v1/scans", headers=KEY)

    assert (first.status, again.status) == (200, 200)
    assert again.content == first.content
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(await supervisor.store.frames.page(None, 10)) == 1


async def test_requests_at_the_same_time_are_one(client: Client, supervisor: FakeSupervisor) -> None:
    """A client that lost patience and asks again waits for the same scan."""
    supervisor.scan_ends.clear()
    first = asyncio.ensure_future(client.send("POST", "/v1/scans", headers=KEY))
    await supervisor.waiting.wait()
    again = asyncio.ensure_future(client.send("POST", "/v1/scans", headers=KEY))
    supervisor.scan_ends.set()

    assert (await first).content == (await again).content
    assert len(await supervisor.store.frames.page(None, 10)) == 1


async def test_the_work_goes_on_without_its_client(client: Client, supervisor: FakeSupervisor) -> None:
    """A broken connection loses nothing: the answer waits for whoever asks again."""
    supervisor.scan_ends.clear()
    head = b"POST /v1/scans HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: tile 7\r\n\r\n"
    async with connected(client.url, head):
        await supervisor.waiting.wait()
    supervisor.scan_ends.set()

    reply = await client.send("POST", "/v1/scans", headers=KEY)

    assert reply.json["verdict"]["frame_id"] == 1
    assert supervisor.abandoned_waits == 0


async def test_a_key_stands_for_one_request(client: Client) -> None:
    """A program that uses a key twice for different things is told so."""
    await client.send("POST", "/v1/pause", {"reason": "lunch"}, headers=KEY)

    reply = await client.send("POST", "/v1/pause", {"reason": "supper"}, headers=KEY)

    assert (reply.status, reply.problem) == (422, "idempotency-key-reused")


@pytest.mark.parametrize("key", [b"", b"x" * 201, "ä".encode()])
async def test_an_unusable_key_is_refused(client: Client, key: bytes) -> None:
    """The problem names the header."""
    head = b"POST /v1/scans HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: " + key + b"\r\n\r\n"
    async with connected(client.url, head) as (reader, _):
        reply = await read_reply(reader)

    assert (reply.status, reply.json["field"]) == (422, "Idempotency-Key")


async def test_a_failed_request_may_be_tried_again(client: Client, supervisor: FakeSupervisor) -> None:
    """Nothing was done, so the key is free."""
    supervisor.fault = ScanRefusedError("the beam is off")
    failed = await client.send("POST", "/v1/scans", headers=KEY)
    again = await client.send("POST", "/v1/scans", headers=KEY)

    assert (failed.status, again.status) == (502, 200)


async def test_keys_are_forgotten_after_their_time_and_never_too_many() -> None:
    """Neither time nor a careless client fills the memory."""
    now = 0.0
    answers = Answers(lambda: now, most=MOST)
    done: list[str] = []

    async def ask(key: str) -> object:
        async def work(_: Hangup) -> Answer:
            done.append(key)
            return Answer(body=len(done))

        return read(await answers.once(key, "same", work, Hangup()))

    assert await ask("a") == await ask("a") == 1
    now = KEPT_S
    assert await ask("a") == 2
    for number in range(MOST):
        await ask(f"{number}")
    assert await ask("a") == MOST + 3


async def test_answers_are_kept_within_their_memory() -> None:
    """The oldest go first, however few there are; the newest one stays, however large it is."""
    answers = Answers(most_bytes=20_000)
    asked: list[str] = []

    async def ask(key: str, size: int) -> str:
        async def work(_: Hangup) -> Answer:
            asked.append(key)
            return Answer(body=key * size)

        return str(read(await answers.once(key, "same", work, Hangup())))

    for key in "abcd":
        await ask(key, 6000)
    for key in "dcba":
        await ask(key, 6000)
    assert asked == [*"abcda"]

    assert await ask("z", 50_000) == await ask("z", 50_000) == "z" * 50_000
    await ask("a", 6000)
    assert asked == [*"abcda", *"za"]


async def test_an_answer_is_kept_as_it_was_when_it_was_given() -> None:
    """Nothing of the record it was made from is held on to."""
    answers = Answers()
    record = {"scans": [1]}

    async def work(_: Hangup) -> Answer:
        return Answer(status=201, body=record, headers={"Location": "/v1/refocuses/1"})

    first = await answers.once("a", "same", work, Hangup())
    record["scans"].append(2)
    again = await answers.once("a", "same", work, Hangup())

    assert read(first) == read(again) == {"scans": [1]}
    assert (again.status, again.headers["Location"]) == (201, "/v1/refocuses/1")


async def test_work_in_hand_is_never_forgotten_for_room() -> None:
    """With every place taken by unfinished work the next one is refused, and a stop ends all waits."""
    answers = Answers(most=MOST)
    never: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    waits = [
        asyncio.ensure_future(
            answers.once(f"{number}", "same", lambda hangup: hangup.hold(asyncio.shield(never)), Hangup())
        )
        for number in range(MOST)
    ]
    await asyncio.sleep(0)

    with pytest.raises(TooManyError):
        await answers.once("one more", "same", lambda hangup: hangup.hold(never), Hangup())
    await answers.close()
    for wait in waits:
        with pytest.raises(HungUpError):
            await wait


async def test_the_same_key_for_another_request_is_a_problem() -> None:
    """Also while the first is still being carried out."""
    answers = Answers()
    never: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    first = asyncio.ensure_future(answers.once("a", "one", lambda hangup: hangup.hold(never), Hangup()))
    await asyncio.sleep(0)

    with pytest.raises(ProblemError, match="another request"):
        await answers.once("a", "other", lambda hangup: hangup.hold(never), Hangup())
    never.set_result(Answer())
    await first
