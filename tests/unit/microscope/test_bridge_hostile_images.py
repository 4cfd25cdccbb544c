"""Images of a hostile or broken bridge: no frame is made of them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from focusd.errors import LinkError, LinkTimeoutError, MicroscopeError, RemoteProtocolError
from focusd.frame import ScanRequest
from focusd.microscope import bridge as driver
from focusd.microscope import bridge_link
from focusd.microscope.bridge import connect_bridge
from focusd.microscope.interface import Microscope
from tests.unit.microscope.scripted_bridge import Json, Misbehaviour, ScriptedBridge, framed, serving

REQUEST = ScanRequest(64, 64, dwell_time_us=1.0)
PIXELS = 64 * 64
LONGEST_S = 2.0


@pytest.fixture(autouse=True)
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up scans and slow images soon."""
    monkeypatch.setattr(driver, "SCAN_MARGIN_S", 0.2)
    monkeypatch.setattr(bridge_link, "SLOWEST_BYTES_PER_S", 1e5)


def image(**changes: Any) -> Misbehaviour:
    """Send an image described wrongly."""

    async def send(bridge: ScriptedBridge, request: Json) -> None:
        await bridge.answer(request, **changes)

    return send


async def short(bridge: ScriptedBridge, request: Json) -> None:
    """Stop one byte before the end."""
    await bridge.write(bridge.healthy(request)[:-1])


async def short_and_closed(bridge: ScriptedBridge, request: Json) -> None:
    """Hang up in the middle of the pixels."""
    await bridge.write(bridge.healthy(request)[:-1000])
    assert bridge.writer is not None
    bridge.writer.close()


async def one_byte_more(bridge: ScriptedBridge, request: Json) -> None:
    """Send a byte more than announced; it is taken for the next header."""
    await bridge.write(bridge.healthy(request) + b"\xff" * 4)


async def dribble(bridge: ScriptedBridge, request: Json) -> None:
    """Send pixels so slowly that the image would take minutes."""
    data = bridge.healthy(request)
    await bridge.write(data[:-PIXELS])
    for byte in data[-PIXELS:]:
        await bridge.write(bytes([byte]))
        await asyncio.sleep(0.05)


async def image_with_an_error(bridge: ScriptedBridge, request: Json) -> None:
    """Refuse, and send an image all the same."""
    error = {"code": -32001, "message": ""}
    header = {"jsonrpc": "2.0", "id": request["id"], "error": error, "payload_bytes": 10}
    await bridge.write(framed(header, bytes(10)))


STATE = {"working_distance_mm": 9.0}
IMAGES: list[tuple[str, Misbehaviour, type[MicroscopeError], str]] = [
    ("transposed", image(shape=[32, 128]), RemoteProtocolError, "64 x 64 px was asked for, got 32 x 128"),
    ("three sides", image(shape=[64, 64, 1]), RemoteProtocolError, "shape must be"),
    ("no shape", image(shape=None), RemoteProtocolError, "shape must be"),
    ("huge shape", image(shape=[1 << 20, 1 << 20]), RemoteProtocolError, "are announced"),
    ("float pixels", image(dtype="float32"), RemoteProtocolError, "dtype must be uint8 or uint16"),
    ("16 bits said, 8 sent", image(dtype="uint16"), RemoteProtocolError, "4096 are announced"),
    ("payload left out", image(payload_bytes=0), RemoteProtocolError, "an answer without an image"),
    ("payload too small", image(payload_bytes=4095), RemoteProtocolError, "4095 are announced"),
    ("payload over the bound", image(payload_bytes=2 << 20), RemoteProtocolError, "at most 1048576"),
    ("no state", image(state=None), RemoteProtocolError, "state: it must be an object"),
    ("NaN in the state", image(state={"working_distance_mm": float("nan")}), RemoteProtocolError, "NaN"),
    ("field below nothing", image(state=STATE | {"field_of_view_um": -1}), RemoteProtocolError, "above 0"),
    ("no times", image(started_at=None), RemoteProtocolError, "started_at must be a finite number"),
    ("finished before begun", image(finished_at=0.0), RemoteProtocolError, "lies before started_at"),
    ("short", short, LinkTimeoutError, "no answer to scan within"),
    ("short and closed", short_and_closed, LinkError, "closed the connection"),
    ("one byte more", one_byte_more, RemoteProtocolError, "a header of 4294967295 bytes"),
    ("dribble", dribble, LinkTimeoutError, "no answer to scan within"),
]


async def work(microscope: Microscope) -> None:
    """Scan, and ask on until an error has come through."""
    while True:
        await microscope.scan(REQUEST)
        await microscope.ping()


@pytest.mark.parametrize(
    ("misbehaviour", "error", "sentence"), [row[1:] for row in IMAGES], ids=[row[0] for row in IMAGES]
)
async def test_a_bad_image_is_one_named_error(
    misbehaviour: Misbehaviour, error: type[MicroscopeError], sentence: str
) -> None:
    """No frame is made of it, and the link is closed."""
    bridge = ScriptedBridge(misbehave={"scan": misbehaviour})
    started = time.monotonic()
    async with serving(bridge), connect_bridge(bridge.settings(max_payload_mib=1)) as microscope:
        with pytest.raises(LinkError) as caught:
            await work(microscope)
        assert time.monotonic() - started < LONGEST_S
        with pytest.raises(LinkError, match="lost"):
            await microscope.ping()

    assert isinstance(caught.value, error) or isinstance(caught.value.__cause__, error)
    assert sentence in str(caught.value)
    assert bridge.moves == []


async def test_an_error_with_an_image_is_an_error() -> None:
    """The payload is read over, and the next scan is whole."""
    bridge = ScriptedBridge(misbehave={"scan": image_with_an_error})
    async with serving(bridge), connect_bridge(bridge.settings()) as microscope:
        with pytest.raises(MicroscopeError, match="would not scan: busy"):
            await microscope.scan(REQUEST)
        bridge.misbehave.clear()
        assert (await microscope.scan(REQUEST)).pixels[0, 1] == 1
