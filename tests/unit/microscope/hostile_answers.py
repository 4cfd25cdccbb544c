"""What a hostile or broken microscope may say, in both protocols, for tests with and without the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from focusd.protocol.sharksem import Message, encode_message
from focusd.protocol.sharksem_body import encode_body
from tests.unit.microscope import test_bridge_hostile as of_bridge
from tests.unit.microscope import test_sharksem_hostile as of_sharksem
from tests.unit.microscope.scripted_bridge import Json, ScriptedBridge
from tests.unit.microscope.scripted_server import ScriptedServer

Fault: TypeAlias = Callable[[Any, Any], Awaitable[None]]


@dataclass(frozen=True)
class Hostile:
    """One fault: what it does to any answer, and whether the link must be given up for it.

    ``breaks`` is ``None`` where that depends on what was asked: a value that means something may be obeyed.
    """

    name: str
    fault: Fault
    breaks: bool | None = True


def _text(value: str) -> Fault:
    """Answer each question for a number with this text."""

    async def tell(server: ScriptedServer, request: Message) -> None:
        await server.write(encode_message(request.answer(encode_body([value]))))

    return tell


def _raw(data: bytes) -> Fault:
    """Answer with these bytes."""

    async def tell(server: Any, _request: Any) -> None:
        await server.write(data)

    return tell


async def twice(server: ScriptedServer, request: Message) -> None:
    """Answer, and answer again."""
    await server.answer(request)
    await server.answer(request)


async def stop_inside(server: ScriptedServer, request: Message) -> None:
    """Be silent from the middle of the answer on."""
    await server.write(encode_message(request.answer(server.body_for(request) or b""))[:30])


async def long_body(server: ScriptedServer, request: Message) -> None:
    """Answer with more values than there are."""
    await server.write(
        encode_message(request.answer(encode_body([server.working_distance_mm, 29.0, "and more"])))
    )


async def dribble(server: ScriptedServer, request: Message) -> None:
    """Answer so slowly that it takes far longer than the deadline."""
    for byte in encode_message(request.answer(server.body_for(request) or b"")):
        await server.write(bytes([byte]))
        await asyncio.sleep(0.1)


def _named(faults: list[tuple[Any, Any]]) -> list[Hostile]:
    return [Hostile(fault.__name__, fault) for fault, _ in faults]


SHARKSEM: list[Hostile] = [
    *_named(of_sharksem.ANSWERS),
    Hostile("twice", twice),
    Hostile("stop_inside", stop_inside),
    Hostile("dribble", dribble),
    Hostile("long_body", long_body, breaks=None),
    Hostile("zeros", _raw(bytes(64))),
    Hostile("ones", _raw(b"\xff" * 64)),
    Hostile("nan", _text("nan")),
    Hostile("inf", _text("inf")),
    Hostile("minus_inf", _text("-inf")),
    Hostile("overflow", _text("1e999")),
    Hostile("no_text", _text("")),
    Hostile("comma", _text("9,5")),
    Hostile("control_characters", _text("9.5\x1b[2J\n9.5")),
    Hostile("hexadecimal", _text("0x9")),
    Hostile("thousands_of_digits", _text("9" * 4000)),
    Hostile("negative", _text("-9.0"), breaks=None),
    Hostile("below_the_limits", _text("0.001"), breaks=None),
    Hostile("above_the_limits", _text("1e6"), breaks=None),
]
"""Said in place of the answer to GetWD, which is asked in every phase."""


def _state(**changes: Any) -> Fault:
    """Tell of the column, some values replaced."""

    async def tell(bridge: ScriptedBridge, request: Json) -> None:
        await bridge.answer(request, **changes)

    return tell


BRIDGE: list[Hostile] = [
    *_named(of_bridge.ANSWERS),
    Hostile("text_for_a_number", _state(working_distance_mm="9.0")),
    Hostile("infinite", _state(working_distance_mm=float("inf"))),
    Hostile("null", _state(working_distance_mm=None)),
    Hostile("true", _state(working_distance_mm=True)),
    Hostile("list", _state(working_distance_mm=[9.0])),
    Hostile("huge", _state(working_distance_mm=1e300), breaks=None),
    Hostile("negative", _state(working_distance_mm=-9.0), breaks=None),
    Hostile("below_the_limits", _state(working_distance_mm=0.001), breaks=None),
    Hostile("above_the_limits", _state(working_distance_mm=1e6), breaks=None),
]
"""Said in place of the answer to get_state, which is asked in every phase."""
