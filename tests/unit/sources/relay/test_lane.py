"""One direction of a control connection: order, waiting, bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from structlog.testing import capture_logs

from focusd.protocol.sharksem import Message, encode_message
from focusd.protocol.sharksem_parts import MessageSplitter, Part
from focusd.sources.relay.lane import MAX_BACKLOG_BYTES, Delay, Lane


def wire(name: str, body: bytes = b"") -> bytes:
    """Give a message as it travels."""
    return encode_message(Message(name, body))


class Bench:
    """A lane with what it wrote, in which messages called Wait have to wait."""

    def __init__(self, *, fails: bool = False) -> None:
        self.writes: list[bytes] = []
        self.may_go_on = asyncio.Semaphore(0)
        self.waiting = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        self.paused = 0
        self._fails = fails
        self.lane = Lane(
            MessageSplitter(),
            delay=self._delay,
            convert=lambda part: part.data,
            write=self.writes.append,
            spawn=self._spawn,
            pause=lambda: self._pace(1),
            resume=lambda: self._pace(-1),
        )

    def _delay(self, part: Part) -> Delay | None:
        return self._wait if part.begins and part.head.name == "Wait" else None

    async def _wait(self) -> None:
        self.waiting.set()
        await self.may_go_on.acquire()
        if self._fails:
            raise RuntimeError("a bug")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.ensure_future(work))
        return self.tasks[-1]

    def _pace(self, change: int) -> None:
        self.paused += change

    async def go_on(self) -> None:
        """Let the message that waits pass."""
        self.may_go_on.release()
        await asyncio.wait(self.tasks)


async def test_what_comes_together_goes_out_in_one_write() -> None:
    """Three messages of one segment are one write, and half a message is passed on as it is."""
    bench = Bench()
    data = wire("One") + wire("Two", b"body") + wire("Three")[:32] + wire("Four", b"rest")[:34]

    bench.lane.receive(data)

    assert bench.writes == [data]


async def test_what_waits_holds_up_what_is_behind_it() -> None:
    """Two messages wait one after the other; nothing overtakes."""
    bench = Bench()
    bench.lane.receive(wire("One") + wire("Wait") + wire("Two"))
    bench.lane.receive(wire("Wait", b"again") + wire("Three"))
    assert bench.writes == [wire("One")]
    await bench.waiting.wait()

    bench.may_go_on.release()
    await asyncio.wait(bench.tasks)
    assert bench.writes == [wire("One"), wire("Wait"), wire("Two")]

    await bench.go_on()
    assert bench.writes[3:] == [wire("Wait", b"again"), wire("Three")]


async def test_a_wait_that_fails_is_logged_and_the_message_goes_on() -> None:
    """Whatever holds a message up must not lose it."""
    bench = Bench(fails=True)
    bench.lane.receive(wire("Wait") + wire("One"))

    with capture_logs() as events:
        await bench.go_on()

    assert bench.writes == [wire("Wait"), wire("One")]
    assert [(event["event"], event["command"]) for event in events] == [("relay_wait_failed", "Wait")]


async def test_a_long_backlog_stops_the_source() -> None:
    """Once over the bound, and once when it is gone."""
    bench = Bench()
    bench.lane.receive(wire("Wait"))
    bench.lane.receive(wire("Long", bytes(MAX_BACKLOG_BYTES)))
    bench.lane.receive(wire("Longer", bytes(MAX_BACKLOG_BYTES)))
    assert bench.paused == 1

    await bench.go_on()

    assert bench.paused == 0
    assert sum(map(len, bench.writes)) == 2 * MAX_BACKLOG_BYTES + 96


async def test_a_long_message_that_does_not_wait_stops_nobody() -> None:
    """Only what waits counts."""
    bench = Bench()

    bench.lane.receive(wire("Long", bytes(3 * MAX_BACKLOG_BYTES)))

    assert bench.paused == 0


async def test_the_end_drops_what_waits() -> None:
    """Neither the message that waits nor anything behind it goes out."""
    bench = Bench()
    bench.lane.receive(wire("One") + wire("Wait") + wire("Two") + b"rest")
    await bench.waiting.wait()

    bench.lane.finish()
    await asyncio.wait(bench.tasks)

    assert bench.tasks[0].cancelled()
    assert bench.writes == [wire("One")]


async def test_the_end_passes_on_half_a_header() -> None:
    """Bytes that never became a message arrive all the same."""
    bench = Bench()
    bench.lane.receive(wire("One") + b"half")

    bench.lane.finish()

    assert b"".join(bench.writes) == wire("One") + b"half"
