"""The simulated bridge over real TCP, asked by a client of a few lines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import numpy as np
import pytest
from structlog.testing import capture_logs

from focusd.frame import ScanRequest
from focusd.simulator.bridge_instrument import RefusedError
from focusd.simulator.bridge_server import BridgeServer
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.faults import Faults
from tests.loopback.sharksem_rig import specimen

Json: TypeAlias = dict[str, Any]
SCAN = {"width": 96, "height": 64, "dwell_time_us": 1.0}


class PlainBridgeClient:
    """Speaks the protocol with the standard library alone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, header: object) -> None:
        """Send a header."""
        data = header if isinstance(header, bytes) else json.dumps(header).encode()
        self.writer.write(struct.pack(">I", len(data)) + data)
        await self.writer.drain()

    async def receive(self) -> tuple[Json, bytes]:
        """Give the next header with its payload."""
        (length,) = struct.unpack(">I", await self.reader.readexactly(4))
        header: Json = json.loads(await self.reader.readexactly(length))
        body = header.get("result") or header.get("params") or {}
        return header, await self.reader.readexactly(body.get("payload_bytes", 0))

    async def ask(self, method: str, identification: object = 1, **params: Any) -> tuple[Json, bytes]:
        """Send a request and give the answer."""
        await self.send({"jsonrpc": "2.0", "id": identification, "method": method, "params": params})
        async with asyncio.timeout(5):
            return await self.receive()

    async def result(self, method: str, **params: Any) -> Json:
        """Give the result of a request that must succeed."""
        answer, _ = await self.ask(method, **params)
        result: Json = answer["result"]
        return result

    async def error(self, method: str, **params: Any) -> int:
        """Give the code of a request that must fail."""
        answer, _ = await self.ask(method, **params)
        code: int = answer["error"]["code"]
        return code


def serve(**options: Any) -> BridgeServer:
    """Give a bridge that has not been started; nothing takes any time."""
    return BridgeServer(SimulatedColumn(None, specimen()), **{"time_scale": 0.0, **options})


@asynccontextmanager
async def client_of(server: BridgeServer) -> AsyncIterator[PlainBridgeClient]:
    """Connect."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield PlainBridgeClient(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_hello_and_state_tell_what_the_protocol_names() -> None:
    """All keys are there, in focusd's units."""
    async with serve() as server, client_of(server) as client:
        hello = await client.result("hello", protocol=1, client="a test", colour="green")
        state = await client.result("get_state")

    assert hello["protocol"] == 1
    assert hello["limits"] == {"working_distance_mm": [4.0, 30.0]}
    assert "ping" in hello["capabilities"]
    assert state["working_distance_mm"] == 9.0
    assert state["field_of_view_um"] == pytest.approx(10.24)
    assert state["beam_on"] is True
    assert set(state["stage_position"]) == {"x_mm", "y_mm", "z_mm", "tilt_deg", "rotation_deg"}


@pytest.mark.parametrize("identification", [0, -5, 2.5, "a text", None])
async def test_an_answer_has_the_id_of_its_request(identification: object) -> None:
    """Whatever JSON-RPC allows."""
    async with serve() as server, client_of(server) as client:
        answer, _ = await client.ask("ping", identification)

    assert answer == {"jsonrpc": "2.0", "id": identification, "result": {}}


async def test_a_move_is_answered_with_the_readback_and_a_limit_with_an_error() -> None:
    """Out of range is an error, and the lens stays."""
    async with serve() as server, client_of(server) as client:
        assert await client.result("set_working_distance", working_distance_mm=9.5) == {
            "working_distance_mm": 9.5
        }
        assert await client.error("set_working_distance", working_distance_mm=31) == -32002
        assert await client.error("set_working_distance", working_distance_mm="9.6") == -32602
        assert await client.error("set_working_distance") == -32602
        assert server.column.working_distance_mm == 9.5
        assert [move.requested_mm for move in server.column.moves] == [9.5]


@pytest.mark.parametrize(("bits", "dtype"), [(8, "uint8"), (16, "uint16"), (12, "uint8")])
async def test_a_scan_has_the_announced_pixels(bits: int, dtype: str) -> None:
    """Shape, dtype and size agree; the state is that of the scan."""
    async with serve() as server, client_of(server) as client:
        answer, payload = await client.ask("scan", **SCAN, bits_per_pixel=bits)

    image = answer["result"]
    pixels = np.frombuffer(payload, np.dtype(dtype).newbyteorder("<")).reshape(image["shape"])
    assert (image["shape"], image["dtype"]) == ([64, 96], dtype)
    assert pixels.std() > 0
    assert image["started_at"] <= image["finished_at"]
    assert image["state"]["dwell_time_us"] == 1.0


async def test_a_region_is_the_same_part_of_the_whole_field() -> None:
    """Up to noise, the region's pixels are those of the whole scan."""
    async with serve() as server, client_of(server) as client:
        _, whole = await client.ask("scan", width=128, height=128, dwell_time_us=1000.0)
        region = {"x": 20, "y": 40, "width": 64, "height": 80}
        answer, part = await client.ask("scan", width=128, height=128, dwell_time_us=1000.0, region=region)

    cut = np.frombuffer(whole, np.uint8).reshape(128, 128)[40:120, 20:84].astype(float)
    got = np.frombuffer(part, np.uint8).reshape(80, 64).astype(float)
    assert answer["result"]["shape"] == [80, 64]
    assert np.corrcoef(cut.ravel(), got.ravel())[0, 1] > 0.95


async def test_averaging_makes_noise_smaller() -> None:
    """Sixteen frames have about a quarter of the noise of one."""

    async def noise(client: PlainBridgeClient, frames: int) -> float:
        scans = [(await client.ask("scan", **SCAN, frames=frames))[1] for _ in range(2)]
        first, second = (np.frombuffer(scan, np.uint8).astype(float) for scan in scans)
        return float((first - second).std())

    async with serve() as server, client_of(server) as client:
        assert await noise(client, 16) < 0.5 * await noise(client, 1)


async def test_the_optional_methods_do_what_they_say() -> None:
    """Stigmator, blanker and automatic contrast."""
    async with serve() as server, client_of(server) as client:
        await client.result("set_stigmator", x_percent=3.0, y_percent=-4.0)
        assert await client.result("get_stigmator") == {"x_percent": 3.0, "y_percent": -4.0}
        assert await client.error("set_stigmator", x_percent=101.0, y_percent=0.0) == -32002
        assert await client.result("blank_beam", blanked=True) == {"blanked": True}
        assert server.column.blanked
        await client.result("blank_beam", blanked=False)
        assert not server.column.blanked
        assert await client.error("blank_beam") == -32602
        await client.result("freeze_auto_contrast", frozen=True)
        assert len(server.instrument.contrast_frozen_for) == 1
        await client.result("freeze_auto_contrast", frozen=False)
        assert server.instrument.contrast_frozen_for == set()


async def test_a_freeze_ends_with_its_connection() -> None:
    """Nobody has to remember it."""
    async with serve() as server:
        async with client_of(server) as client:
            await client.result("freeze_auto_contrast", frozen=True)
            (session,) = server.sessions
        async with asyncio.timeout(5):
            while session in server.sessions:
                await asyncio.sleep(0)
        assert server.instrument.contrast_frozen_for == set()


async def test_a_bridge_without_capabilities_does_not_know_the_methods() -> None:
    """They are answered as any other unknown method."""
    async with serve(capabilities=()) as server, client_of(server) as client:
        assert (await client.result("hello"))["capabilities"] == []
        for method in ("ping", "subscribe", "get_stigmator", "blank_beam", "make_coffee"):
            assert await client.error(method) == -32601
        assert await client.result("get_state")


async def test_subscribers_are_told_of_the_owners_frames() -> None:
    """The header is that of a scan, with a frame id; others hear nothing."""
    async with serve() as server, client_of(server) as watcher, client_of(server) as other:
        await watcher.result("subscribe")
        await other.result("ping")
        await server.acquire(ScanRequest(96, 64, 1.0))
        await server.acquire(ScanRequest(96, 64, 1.0))
        frames = [await watcher.receive() for _ in range(2)]
        answer, _ = await other.ask("ping", 7)

    assert [header["method"] for header, _ in frames] == ["frame", "frame"]
    assert [header["params"]["frame_id"] for header, _ in frames] == ["1", "2"]
    assert [len(payload) for _, payload in frames] == [64 * 96] * 2
    assert answer["id"] == 7


async def test_the_instrument_does_one_thing_at_a_time() -> None:
    """While one client scans, another's move and scan are refused as busy; the state can be read."""
    async with serve(time_scale=1.0) as server, client_of(server) as one, client_of(server) as two:
        scan = asyncio.create_task(one.ask("scan", width=256, height=256, dwell_time_us=10.0))
        while server.column.scan_count == 0:
            await asyncio.sleep(0)
        assert await two.error("scan", **SCAN) == -32001
        assert await two.error("set_working_distance", working_distance_mm=9.5) == -32001
        assert await two.result("get_state")
        with pytest.raises(RefusedError):
            await server.acquire(ScanRequest(64, 64, 1.0))
        _, payload = await scan

    assert len(payload) == 256 * 256
    assert list(server.column.moves) == []


# --- what a client may do wrong ---


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"id": 1, "method": "ping"}, -32600),
        ({"jsonrpc": "2.0", "id": 1}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": "scan", "params": {"width": 64}}, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "scan", "params": SCAN | {"frames": 0}}, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "scan", "params": SCAN | {"width": 10**9}}, -32002),
    ],
)
async def test_a_wrong_request_is_answered_and_the_connection_goes_on(header: Json, code: int) -> None:
    """The error says what is wrong."""
    async with serve() as server, client_of(server) as client:
        await client.send(header)
        answer, _ = await client.receive()
        assert answer["error"]["code"] == code
        assert answer["error"]["message"]
        assert await client.result("ping") == {}


@pytest.mark.parametrize("data", [b"[", b"\xff", b'{"payload_bytes":1}', b"[1]"])
async def test_what_is_no_message_ends_the_connection(data: bytes) -> None:
    """There is no way to find the next header; other clients notice nothing."""
    async with serve() as server, client_of(server) as client, client_of(server) as other:
        await client.send(data)
        answer, _ = await client.receive()
        assert answer["error"]["code"] == -32700
        assert answer["id"] is None
        assert await client.reader.read() == b""
        assert await other.result("ping") == {}


async def test_unknown_methods_are_logged_when_told_so() -> None:
    """For whoever writes a client."""
    with capture_logs() as logs:
        async with serve(strict=True) as server, client_of(server) as client:
            await client.error("make_coffee")

    assert [entry["method"] for entry in logs if entry["event"] == "unknown_method"] == ["make_coffee"]


# --- faults on demand ---

Check: TypeAlias = Callable[[PlainBridgeClient], Any]


async def test_the_lens_can_be_stuck_or_lie() -> None:
    """Accepted and not moved; read back elsewhere; no number at all."""
    async with serve() as server, client_of(server) as client:
        server.faults.stuck_working_distance = True
        assert (await client.result("set_working_distance", working_distance_mm=9.5))[
            "working_distance_mm"
        ] == 9.0
        server.faults.working_distance_offset_mm = 0.25
        assert (await client.result("get_state"))["working_distance_mm"] == 9.25
        server.faults.working_distance_readback = math.nan
        assert math.isnan((await client.result("get_state"))["working_distance_mm"])


async def test_the_beam_can_be_off() -> None:
    """Scans are refused with its code, and the state tells."""
    async with serve(faults=Faults(beam_off=True)) as server, client_of(server) as client:
        assert await client.error("scan", **SCAN) == -32003
        assert (await client.result("get_state"))["beam_on"] is False


async def test_answers_can_be_late_wrong_missing_or_in_pieces() -> None:
    """Each fault of the wire, one after the other."""
    async with serve() as server, client_of(server) as client:
        server.faults.answer_delay_s = 0.05
        begun = asyncio.get_running_loop().time()
        await client.result("ping")
        assert asyncio.get_running_loop().time() - begun >= 0.05
        server.faults.answer_delay_s = 0.0
        server.faults.corrupt_answer_id = True
        assert (await client.ask("ping", 7))[0]["id"] == 8
        server.faults.corrupt_answer_id = False
        server.faults.dribble = True
        assert len((await client.ask("scan", **SCAN))[1]) == 64 * 96
        server.faults.dribble = False
        server.faults.silence = True
        await client.send({"jsonrpc": "2.0", "id": 1, "method": "set_working_distance", "params": {}})
        server.faults.lost_pieces = 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.receive()


async def test_pixels_can_get_lost() -> None:
    """The header announces them, and they do not come; what follows is not in step."""
    async with serve(faults=Faults(lost_pieces=1)) as server, client_of(server) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.ask("scan", **SCAN)
        assert server.faults.lost_pieces == 0


async def test_one_client_at_a_time_if_told_so() -> None:
    """A second one is cut off."""
    async with serve(faults=Faults(single_client=True)) as server, client_of(server) as first:
        await first.result("ping")
        async with client_of(server) as second:
            with contextlib.suppress(ConnectionError):
                assert await second.reader.read() == b""
        assert await first.result("ping") == {}


async def test_a_crash_cuts_every_connection_and_the_next_one_is_served() -> None:
    """As a bridge that is started again."""
    async with serve() as server:
        async with client_of(server) as client:
            await client.result("ping")
            server.close_connections()
            with contextlib.suppress(ConnectionError):
                assert await client.reader.read() == b""
        async with client_of(server) as client:
            assert await client.result("ping") == {}
