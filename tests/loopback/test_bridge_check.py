"""``focusd bridge check``: a good bridge keeps all rules, and the lens is left as found."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace
from typing import Any

import pytest

from focusd.cli.bridge.bench import CheckOptions
from focusd.cli.bridge.rules import RULES
from focusd.cli.bridge.run import Outcome
from focusd.frame import ScanRequest
from focusd.simulator.bridge_owner import OwnersHabits, acquire_tiles
from focusd.simulator.bridge_server import BridgeServer
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.faults import Faults
from tests.loopback.bridge_check_rig import START_MM, failures, run, with_outcome
from tests.loopback.broken_bridge import Exchange, Habits, Json, broken, framed
from tests.loopback.sharksem_rig import specimen

OPTIONS = CheckOptions(beyond_limits=True, side_px=128, timeout_s=2.0)


def serve(**options: Any) -> BridgeServer:
    """Give a simulated bridge; nothing takes any time."""
    return BridgeServer(SimulatedColumn(None, specimen()), **{"time_scale": 0.0, **options})


# --- a good bridge ---


async def test_the_simulated_bridge_keeps_every_rule() -> None:
    """Only what cannot be checked on it is skipped; the lens goes one step and is left as found."""
    async with serve() as server:
        findings = await run(server.port, OPTIONS)

    assert failures(findings) == {}
    assert list(with_outcome(findings, Outcome.SKIP)) == ["frames", "capabilities"]
    assert [finding.rule for finding in findings] == list(RULES)
    assert server.column.working_distance_mm == START_MM
    assert {move.requested_mm for move in server.column.moves} == {START_MM, START_MM + 0.005}


async def test_the_owners_frames_are_waited_for() -> None:
    """They come while the check goes on, and are whole, named and dated."""
    habits = OwnersHabits(ScanRequest(64, 64, 1.0), interval_s=0.02)
    async with serve() as server, asyncio.TaskGroup() as group:
        owner = group.create_task(acquire_tiles(server, habits))
        findings = await run(server.port, replace(OPTIONS, frames_s=10.0))
        owner.cancel()

    seen = {finding.rule.name: finding for finding in findings}["frames"]
    assert seen.outcome is Outcome.PASS, seen.detail
    assert int(seen.detail.split()[0]) >= 1


async def test_a_bridge_without_capabilities_is_a_bridge() -> None:
    """What it does not have is skipped."""
    async with serve(capabilities=()) as server:
        findings = await run(server.port, OPTIONS)

    assert failures(findings) == {}
    assert set(with_outcome(findings, Outcome.SKIP)) == {
        "ping", "stigmator", "auto-contrast", "blanker", "subscribe", "frames",
    }  # fmt: skip


@pytest.mark.parametrize("faults", [Faults(single_client=True), Faults(answer_delay_s=0.02)])
async def test_slow_bridges_and_those_with_one_client_are_good(faults: Faults) -> None:
    """Answers may take their time; nobody has to serve two at once, but one after another."""
    async with serve(faults=faults) as server:
        findings = await run(server.port, OPTIONS)

    assert failures(findings) == {}


async def test_to_hang_up_on_what_is_no_message_is_as_good_as_to_complain() -> None:
    """The protocol leaves it to the bridge."""
    async with broken(Habits(hangs_up_on_garbage=True)) as (_, port):
        findings = await run(port, OPTIONS)

    assert failures(findings) == {}


async def test_the_lens_is_not_touched_when_told_so() -> None:
    """Every rule that could move it is skipped."""
    async with serve() as server:
        findings = await run(server.port, CheckOptions(moves=False, beyond_limits=True, side_px=128))

    assert list(server.column.moves) == []
    assert {"nonsense", "stay", "move", "out-of-range", "as-found"} <= set(
        with_outcome(findings, Outcome.SKIP)
    )
    assert failures(findings) == {}


async def test_moves_beyond_the_limits_are_not_asked_for_unless_told_so() -> None:
    """A bridge that obeys could run into something."""
    async with serve() as server:
        findings = await run(server.port, CheckOptions(side_px=128))

    assert "--beyond-limits" in with_outcome(findings, Outcome.SKIP)["out-of-range"]


async def test_a_run_that_is_broken_off_puts_the_lens_back() -> None:
    """Also when it ends in the middle of the move away, which the bridge still has to answer."""
    async with serve(time_scale=3.0) as server:
        task = asyncio.create_task(run(server.port, OPTIONS))
        async with asyncio.timeout(10):
            while server.column.working_distance_mm == START_MM:
                await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert server.column.working_distance_mm == START_MM
        assert [move.requested_mm for move in server.column.moves][-2:] == [START_MM + 0.005, START_MM]


async def test_no_bridge_at_all_is_one_failure() -> None:
    """Everything else is skipped."""
    async with serve() as server:
        port = server.port
    findings = await run(port, OPTIONS)

    assert list(failures(findings)) == ["hello"]
    assert "no connection" in findings[0].detail
    assert len(with_outcome(findings, Outcome.SKIP)) == len(RULES) - 1


async def test_a_late_answer_is_found_out() -> None:
    """A bridge that answers once more, unasked, at the end."""

    def once_more(each: Exchange) -> bytes:
        data = framed(each.answer, each.payload)
        return data * 2 if each.method == "subscribe" else data

    async with broken(Habits(spoil=once_more)) as (_, port):
        failed = failures(await run(port, OPTIONS))

    assert list(failed) == ["subscribe"]


async def test_a_lens_that_cannot_be_put_back_is_told() -> None:
    """The bridge moves away and then refuses to move."""
    far = False

    def refuse_the_way_back(asked: Json) -> bytes | None:
        nonlocal far
        if asked["method"] != "set_working_distance":
            return None
        value = asked["params"].get("working_distance_mm")
        if far:
            error = {"code": -32001, "message": "no"}
            return framed({"jsonrpc": "2.0", "id": asked["id"], "error": error})
        far = isinstance(value, float) and value > START_MM
        return None

    async with broken(Habits(answers_before=refuse_the_way_back)) as (_, port):
        failed = failures(await run(port, OPTIONS))

    assert {"move", "as-found"} <= set(failed)
    assert "5.00 µm off" in failed["as-found"]


async def test_something_else_that_listens_is_no_bridge() -> None:
    """A web server is told apart at the first byte."""

    async def answer_as_a_web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(answer_as_a_web_server, "127.0.0.1", 0)
    async with listener:
        findings = await run(listener.sockets[0].getsockname()[1], OPTIONS)

    (length,) = struct.unpack(">I", b"HTTP")
    assert f"a header of {length} bytes" in failures(findings)["hello"]
