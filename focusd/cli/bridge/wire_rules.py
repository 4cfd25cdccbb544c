"""Rules of the wire: messages, ids, errors, and a bridge that survives its clients."""

from __future__ import annotations

import asyncio

from focusd.cli.bridge.bench import Bench, refusal
from focusd.cli.bridge.talk import BrokenRuleError
from focusd.protocol.bridge import MAX_HEADER_BYTES, encode_header, shown
from focusd.protocol.bridge_rpc import ErrorCode, Failure, Identification, Request
from focusd.protocol.bridge_values import PROTOCOL_VERSION

_RETRY_S = 0.05
_IDENTIFICATIONS: tuple[Identification, ...] = (0, 123_456_789, "a text", "7")


async def hello(bench: Bench) -> str:
    """Say who answers."""
    told = await bench.say_hello(await bench.talk())
    if told.protocol != PROTOCOL_VERSION:
        raise BrokenRuleError(f"protocol must be {PROTOCOL_VERSION}, got {told.protocol}")
    bench.hello = told
    low_mm, high_mm = told.limits_mm
    who = " ".join(filter(None, (told.vendor, told.model, told.serial))) or "no name"
    return f"{who}, {low_mm:g} to {high_mm:g} mm"


async def unknown_keys(bench: Bench) -> str:
    """Say hello with a key from the future."""
    bench.known()
    await bench.say_hello(await bench.talk(), key_of_a_later_version={"a": [1]})
    return ""


async def state(bench: Bench) -> str:
    """Read the state twice."""
    found = await bench.state()
    low_mm, high_mm = bench.known().limits_mm
    if not low_mm <= found.working_distance_mm <= high_mm:
        raise BrokenRuleError(
            f"the working distance is {found.working_distance_mm:g} mm, "
            f"hello's limits are {low_mm:g} to {high_mm:g} mm"
        )
    missing = [name for name, value in found.as_json().items() if value is None]
    told = f"working distance {found.working_distance_mm:.6f} mm"
    return f"{told}; not told: {', '.join(missing)}" if missing else told


async def ids(bench: Bench) -> str:
    """Ask with ids of all kinds."""
    bench.known()
    for identification in _IDENTIFICATIONS:
        talk = await bench.talk()
        await talk.ask("get_state", timeout_s=bench.options.timeout_s, identification=identification)
    return ""


async def unknown_method(bench: Bench) -> str:
    """Ask for what does not exist."""
    error = refusal(await bench.ask("focusd_no_such_method"), "an unknown method")
    if error.kind is not ErrorCode.UNKNOWN_METHOD:
        raise BrokenRuleError(f"the code must be {int(ErrorCode.UNKNOWN_METHOD)}, got {error.code}")
    return ""


async def pieces(bench: Bench) -> str:
    """Send a request byte by byte."""
    bench.known()
    talk = await bench.talk()
    for byte in encode_header(Request("get_state", {}, "in pieces").header):
        await talk.write(bytes([byte]))
    await _answer_to(bench, "in pieces")
    return ""


async def together(bench: Bench) -> str:
    """Send two requests at once."""
    bench.known()
    talk = await bench.talk()
    await talk.write(
        b"".join(encode_header(Request("get_state", {}, name).header) for name in ("one", "two"))
    )
    complaint = "two requests sent at once were not both answered"
    answers = [await talk.answer(bench.options.timeout_s, complaint) for _ in range(2)]
    found = {answer.identification for answer, _ in answers}
    if found != {"one", "two"}:
        talk.usable = False
        raise BrokenRuleError(f"ids 'one' and 'two' were asked, got {shown(sorted(map(str, found)))}")
    return ""


async def no_message(bench: Bench) -> str:
    """Send what is no message; the bridge must say so or hang up, and serve the next client."""
    bench.known()
    for data in (b"\x00\x00\x00\x05[1,2,", (MAX_HEADER_BYTES + 1).to_bytes(4, "big") + bytes(64)):
        await _survives(bench, data)
    return ""


async def cut_off(bench: Bench) -> str:
    """Break a connection off in the middle of a message."""
    bench.known()
    # A bridge may have one client at a time: the other connection is given up first.
    await bench.aclose()
    talk = await bench.another()
    try:
        await talk.write(b"\x00\x00")
    finally:
        talk.cut()
        await talk.aclose()
    await _still_served(bench, "after a client broke off")
    return ""


async def quiet(bench: Bench) -> str:
    """Ask for the state twice more: nothing else may come."""
    bench.known()
    talk = await bench.talk()
    for _ in range(2):
        await talk.ask("get_state", timeout_s=bench.options.timeout_s)
    return ""


async def _answer_to(bench: Bench, identification: str) -> None:
    talk = await bench.talk()
    answer, _ = await talk.answer(bench.options.timeout_s, "no answer")
    if answer.identification != identification:
        talk.usable = False
        raise BrokenRuleError(f"id {shown(identification)} was asked, got {shown(answer.identification)}")


async def _survives(bench: Bench, data: bytes) -> None:
    await bench.aclose()
    talk = await bench.another()
    try:
        await talk.write(data)
        try:
            answer, _ = await talk.answer(bench.options.timeout_s, "neither an error nor an end")
        except BrokenRuleError:
            # To hang up is as good as to say what was wrong.
            if not await talk.ends(bench.options.timeout_s):
                raise
        else:
            if not isinstance(answer, Failure):
                raise BrokenRuleError("what is no message was answered as if nothing were wrong")
    finally:
        await talk.aclose()
    await _still_served(bench, "after bytes that are no message")


async def _still_served(bench: Bench, when: str) -> None:
    """Wait until a new client is served; the bridge may not have noticed yet that the last one has gone."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + bench.options.timeout_s
    while True:
        try:
            await bench.state()
        except BrokenRuleError as error:
            if loop.time() >= give_up_at:
                raise BrokenRuleError(f"{when}: {error}") from error
            await asyncio.sleep(_RETRY_S)
        else:
            return
