"""The gate where new scans wait."""

from __future__ import annotations

import asyncio

import pytest

from focusd.sources.relay.gate import ScanGate


async def test_a_gate_is_open_at_first() -> None:
    """Nobody waits at a gate that nobody closed."""
    gate = ScanGate()

    await gate.wait_open()

    assert (gate.is_open, gate.reason) == (True, "")


async def test_everyone_waits_until_the_last_reason_is_gone() -> None:
    """Two reasons, one taken back: still closed; the other one too: all go on."""
    gate = ScanGate()
    gate.close("judging")
    gate.close("refocus")
    waiting = [asyncio.create_task(gate.wait_open()) for _ in range(3)]
    gate.open("refocus")
    await asyncio.sleep(0)
    assert (gate.is_open, gate.reason) == (False, "judging")
    assert not any(task.done() for task in waiting)

    gate.open("judging")
    await asyncio.wait_for(asyncio.gather(*waiting), 5)

    assert gate.is_open


async def test_a_gate_closed_again_at_once_lets_nobody_through() -> None:
    """Who was woken looks again."""
    gate = ScanGate()
    gate.close("refocus")
    waiting = asyncio.create_task(gate.wait_open())
    await asyncio.sleep(0)
    gate.open("refocus")
    gate.close("refocus")
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()

    gate.open("refocus")
    await asyncio.wait_for(waiting, 5)


async def test_a_block_opens_the_gate_however_it_ends() -> None:
    """An error in the block opens it too, and opening what is open is harmless."""
    gate = ScanGate()

    def fail() -> None:
        with gate.closed("refocus"):
            assert not gate.is_open
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    gate.open("refocus")
    assert gate.is_open
