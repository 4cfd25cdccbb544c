"""A hostile or broken bridge: one named error in time, and never a move that nobody commanded."""

from __future__ import annotations

import asyncio
import json
import struct
import time
import tracemalloc
from typing import Any

import pytest

from focusd.errors import LinkError, LinkTimeoutError, RemoteProtocolError
from focusd.frame import ScanRequest
from focusd.microscope import bridge as driver
from focusd.microscope.bridge import connect_bridge
from focusd.microscope.interface import Microscope
from tests.unit.microscope.scripted_bridge import (
    Json,
    Misbehaviour,
    ScriptedBridge,
    framed,
    reset,
    serving,
)

COMMANDED_MM = 9.5
REQUEST = ScanRequest(64, 64, dwell_time_us=1.0)
LONGEST_S = 2.0


@pytest.fixture(autouse=True)
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up scans soon."""
    monkeypatch.setattr(driver, "SCAN_MARGIN_S", 0.2)


def answered(request: Json, **keys: Any) -> bytes:
    """Give an answer with these keys and no others."""
    return framed({"jsonrpc": "2.0", "id": request["id"], **keys})


# --- what can be wrong with any answer ---


async def silence(_bridge: ScriptedBridge, _request: Json) -> None:
    """Do not answer."""


async def late(bridge: ScriptedBridge, request: Json) -> None:
    """Answer after every deadline."""
    await asyncio.sleep(0.8)
    await bridge.answer(request)


async def wrong_id(bridge: ScriptedBridge, request: Json) -> None:
    """Answer with the next number."""
    await bridge.answer({**request, "id": request["id"] + 1})


async def text_id(bridge: ScriptedBridge, request: Json) -> None:
    """Answer with the number as text."""
    await bridge.answer({**request, "id": str(request["id"])})


async def twice(bridge: ScriptedBridge, request: Json) -> None:
    """Answer, and answer again."""
    await bridge.answer(request)
    await bridge.answer(request)


async def earlier_answer(bridge: ScriptedBridge, request: Json) -> None:
    """Send the answer of a request before once more, then the right one."""
    await bridge.answer({**request, "id": request["id"] - 1}, working_distance_mm=29.0)
    await bridge.answer(request)


async def bad_json(bridge: ScriptedBridge, _request: Json) -> None:
    """Send a header that is no JSON."""
    await bridge.write(struct.pack(">I", 9) + b'{"jsonrpc')


async def not_a_number(bridge: ScriptedBridge, request: Json) -> None:
    """Write NaN, as a careless program does."""
    values = {"working_distance_mm": float("nan")}
    await bridge.write(answered(request, result=values))


async def bad_utf8(bridge: ScriptedBridge, _request: Json) -> None:
    """Send bytes that are no text."""
    await bridge.write(struct.pack(">I", 4) + b'"\xff\xfe"')


async def http(bridge: ScriptedBridge, _request: Json) -> None:
    """Be a web server."""
    await bridge.write(b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n")


async def newline_json(bridge: ScriptedBridge, request: Json) -> None:
    """Speak JSON-RPC with line ends, as many programs do."""
    await bridge.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {}}).encode() + b"\n")


async def four_gib_header(bridge: ScriptedBridge, _request: Json) -> None:
    """Announce a header of 4 GiB."""
    await bridge.write(b"\xff\xff\xff\xff" + bytes(100))


async def no_header(bridge: ScriptedBridge, _request: Json) -> None:
    """Announce a header of no bytes."""
    await bridge.write(bytes(4))


async def huge_payload(bridge: ScriptedBridge, request: Json) -> None:
    """Announce 64 TiB of payload."""
    await bridge.write(answered(request, result={"payload_bytes": 1 << 46}))


async def negative_payload(bridge: ScriptedBridge, request: Json) -> None:
    """Announce less than nothing."""
    await bridge.write(answered(request, result={"payload_bytes": -1}))


async def flood(bridge: ScriptedBridge, _request: Json) -> None:
    """Send 32 MiB of answers nobody asked for."""
    message = framed({"jsonrpc": "2.0", "id": 10**6, "result": {"payload_bytes": 1 << 20}}, bytes(1 << 20))
    for _ in range(32):
        await bridge.write(message)


async def no_rpc(bridge: ScriptedBridge, request: Json) -> None:
    """Forget the version of JSON-RPC."""
    await bridge.write(framed({"id": request["id"], "result": {}}))


async def neither(bridge: ScriptedBridge, request: Json) -> None:
    """Answer with neither result nor error."""
    await bridge.write(answered(request))


async def both(bridge: ScriptedBridge, request: Json) -> None:
    """Answer with a result and an error."""
    await bridge.write(answered(request, result={}, error={"code": -32001, "message": ""}))


async def bad_error(bridge: ScriptedBridge, request: Json) -> None:
    """Give an error that is only text."""
    await bridge.write(answered(request, error="broken"))


async def misread(bridge: ScriptedBridge, _request: Json) -> None:
    """Say that the request could not be read."""
    error = {"code": -32700, "message": "what?"}
    await bridge.write(framed({"jsonrpc": "2.0", "id": None, "error": error}))


async def no_request(bridge: ScriptedBridge, request: Json) -> None:
    """Say that what came was no request, though its number was understood."""
    await bridge.write(answered(request, error={"code": -32600, "message": "what?"}))


async def asks_back(bridge: ScriptedBridge, request: Json) -> None:
    """Send a request of its own."""
    await bridge.write(framed({"jsonrpc": "2.0", "id": request["id"], "method": "get_state"}))


async def empty_result(bridge: ScriptedBridge, request: Json) -> None:
    """Answer with nothing where there should be values."""
    await bridge.write(answered(request, result={}))


async def null_result(bridge: ScriptedBridge, request: Json) -> None:
    """Answer with null."""
    await bridge.write(answered(request, result=None))


async def close(bridge: ScriptedBridge, _request: Json) -> None:
    """Hang up instead of answering."""
    assert bridge.writer is not None
    bridge.writer.close()


async def close_inside(bridge: ScriptedBridge, request: Json) -> None:
    """Hang up in the middle of the answer."""
    await bridge.write(bridge.healthy(request)[:20])
    await close(bridge, request)


async def reset_inside(bridge: ScriptedBridge, _request: Json) -> None:
    """Break the connection off."""
    assert bridge.writer is not None
    reset(bridge.writer)


async def stop_inside(bridge: ScriptedBridge, request: Json) -> None:
    """Be silent from the middle of the answer on."""
    await bridge.write(bridge.healthy(request)[:20])


ANSWERS: list[tuple[Misbehaviour, type[LinkError]]] = [
    (silence, LinkTimeoutError),
    (late, LinkTimeoutError),
    (stop_inside, LinkTimeoutError),
    (wrong_id, RemoteProtocolError),
    (text_id, RemoteProtocolError),
    (twice, RemoteProtocolError),
    (earlier_answer, RemoteProtocolError),
    (bad_json, RemoteProtocolError),
    (not_a_number, RemoteProtocolError),
    (bad_utf8, RemoteProtocolError),
    (http, RemoteProtocolError),
    (newline_json, RemoteProtocolError),
    (four_gib_header, RemoteProtocolError),
    (no_header, RemoteProtocolError),
    (huge_payload, RemoteProtocolError),
    (negative_payload, RemoteProtocolError),
    (flood, RemoteProtocolError),
    (no_rpc, RemoteProtocolError),
    (neither, RemoteProtocolError),
    (both, RemoteProtocolError),
    (bad_error, RemoteProtocolError),
    (misread, RemoteProtocolError),
    (no_request, RemoteProtocolError),
    (asks_back, RemoteProtocolError),
    (empty_result, RemoteProtocolError),
    (null_result, RemoteProtocolError),
    (close, LinkError),
    (close_inside, LinkError),
    (reset_inside, LinkError),
]
PHASES = ["hello", "get_state", "set_working_distance", "scan"]


async def work(microscope: Microscope) -> None:
    """Read, move and scan: everything a refocus does; then ask on until an error has come through."""
    await microscope.get_working_distance()
    await microscope.set_working_distance(COMMANDED_MM)
    await microscope.scan(REQUEST)
    while True:
        await microscope.ping()


@pytest.mark.parametrize("method", PHASES)
@pytest.mark.parametrize(("misbehaviour", "error"), ANSWERS, ids=[each.__name__ for each, _ in ANSWERS])
async def test_a_bad_answer_is_one_named_error(
    misbehaviour: Misbehaviour, error: type[LinkError], method: str
) -> None:
    """Connecting, reading, moving or scanning: the link is closed with the named error, no move is added."""
    bridge = ScriptedBridge(capabilities=("ping",), misbehave={method: misbehaviour})
    timeouts = {"connect_s": 2.0, "request_s": 0.2, "settle_s": 0.2}
    started = time.monotonic()
    async with serving(bridge):
        with pytest.raises(LinkError) as caught:
            async with connect_bridge(bridge.settings(timeouts=timeouts)) as microscope:
                await work(microscope)
        assert time.monotonic() - started < LONGEST_S

    # An answer too many is found out by whoever asks next; the cause is the named error.
    assert isinstance(caught.value, error) or isinstance(caught.value.__cause__, error)
    assert str(caught.value).isprintable()
    assert bridge.moves in ([], [COMMANDED_MM])


async def test_one_byte_at_a_time_is_no_fault() -> None:
    """Answers and images may trickle, as long as they come in time."""

    async def trickle(bridge: ScriptedBridge, request: Json) -> None:
        data = bridge.healthy(request)
        for start in range(0, len(data), 7):
            await bridge.write(data[start : start + 7])
            await asyncio.sleep(0)

    bridge = ScriptedBridge(misbehave=dict.fromkeys(PHASES, trickle))
    async with serving(bridge), connect_bridge(bridge.settings()) as microscope:
        assert await microscope.get_working_distance() == 9.0
        assert await microscope.set_working_distance(COMMANDED_MM) == COMMANDED_MM
        assert (await microscope.scan(REQUEST)).pixels.shape == (64, 64)

    assert bridge.moves == [COMMANDED_MM]


@pytest.mark.parametrize("misbehaviour", [flood, huge_payload, four_gib_header])
async def test_what_nobody_wants_takes_no_memory(misbehaviour: Misbehaviour) -> None:
    """It is refused or read over, not collected."""
    bridge = ScriptedBridge(misbehave={"get_state": misbehaviour})
    async with serving(bridge), connect_bridge(bridge.settings()) as microscope:
        tracemalloc.start()
        try:
            with pytest.raises(RemoteProtocolError):
                await microscope.get_state()
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak_bytes < 8 << 20


async def test_every_frame_of_a_flood_of_notifications_is_read_over() -> None:
    """32 MiB of images that nobody asked for delay an answer, no more."""

    async def frames(bridge: ScriptedBridge, request: Json) -> None:
        params = {"frame_id": "1", "payload_bytes": 4 << 20}
        frame = framed({"jsonrpc": "2.0", "method": "frame", "params": params}, bytes(4 << 20))
        for _ in range(8):
            await bridge.write(frame)
        await bridge.answer(request)

    bridge = ScriptedBridge(misbehave={"get_state": frames})
    async with (
        serving(bridge),
        connect_bridge(bridge.settings(timeouts={"request_s": 5.0})) as microscope,
    ):
        assert await microscope.get_working_distance() == 9.0
