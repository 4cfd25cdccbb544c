"""A hostile or broken microscope: one named error in time, and never a move that nobody commanded."""

from __future__ import annotations

import asyncio
import struct
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from focusd.config import MicroscopeSettings
from focusd.errors import LinkError, LinkTimeoutError, RemoteProtocolError, ScanIncompleteError
from focusd.frame import ScanRequest
from focusd.microscope import sharksem_scan
from focusd.microscope.interface import Microscope
from focusd.microscope.sharksem import connect_sharksem
from focusd.protocol.sharksem import Message, encode_message
from focusd.protocol.sharksem_body import encode_body
from focusd.protocol.sharksem_image import ScanPiece
from tests.unit.microscope.scripted_server import (
    Misbehaviour,
    ScriptedServer,
    reset,
    send_whole_image,
    serving,
)

COMMANDED_MM = 9.5
REQUEST = ScanRequest(64, 64, dwell_time_us=1.0)
PIXELS = 64 * 64
LONGEST_S = 4.0

SendImage: TypeAlias = Callable[[ScriptedServer, int, int], Awaitable[None]]


# --- what can be wrong with an answer ---


def header(name: bytes, *, body_bytes: int, identification: int) -> bytes:
    """Make a header that our own code would refuse to make."""
    return struct.pack("<16sIIHHI", name, body_bytes, identification, 0, 0, 0)


async def silence(_server: ScriptedServer, _request: Message) -> None:
    """Do not answer."""


async def late(server: ScriptedServer, request: Message) -> None:
    """Answer after the deadline."""
    await asyncio.sleep(0.4)
    await server.answer(request)


async def wrong_id(server: ScriptedServer, request: Message) -> None:
    """Answer with the next number."""
    body = server.body_for(request) or b""
    await server.write(encode_message(Message(request.name, body, request.identification + 1)))


async def wrong_name(server: ScriptedServer, request: Message) -> None:
    """Answer in the name of another function."""
    body = server.body_for(request) or b""
    await server.write(encode_message(Message("GetViewField", body, request.identification)))


async def earlier_answer(server: ScriptedServer, request: Message) -> None:
    """Send the answer of the request before once more, then the right one."""
    await server.write(encode_message(Message("GetWD", encode_body([29.0]), request.identification - 1)))
    await server.answer(request)


async def garbage(server: ScriptedServer, _request: Message) -> None:
    """Send what is no message."""
    await server.write(bytes(range(255, 0, -1)) * 4)


async def http(server: ScriptedServer, _request: Message) -> None:
    """Be a web server."""
    await server.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


async def four_gib(server: ScriptedServer, request: Message) -> None:
    """Claim a body of 4 GiB."""
    name = request.name.encode()
    await server.write(header(name, body_bytes=2**32 - 1, identification=request.identification))


async def flood(server: ScriptedServer, request: Message) -> None:
    """Send 16 MiB of answers nobody asked for."""
    message = encode_message(Message("GetViewField", bytes(1 << 20), request.identification))
    for _ in range(16):
        await server.write(message)


async def empty_body(server: ScriptedServer, request: Message) -> None:
    """Answer with nothing where there should be a value."""
    await server.write(encode_message(Message(request.name, b"", request.identification)))


async def short_body(server: ScriptedServer, request: Message) -> None:
    """Announce a longer argument than there is."""
    await server.write(encode_message(Message(request.name, b"\xff\xff\xff\x7f"[:3], request.identification)))


async def close(server: ScriptedServer, _request: Message) -> None:
    """Hang up instead of answering."""
    assert server.control is not None
    server.control.close()


async def close_inside(server: ScriptedServer, request: Message) -> None:
    """Hang up in the middle of the answer."""
    body = server.body_for(request) or b""
    await server.write(encode_message(request.answer(body))[:30])
    await close(server, request)


async def reset_inside(server: ScriptedServer, _request: Message) -> None:
    """Break the connection off."""
    assert server.control is not None
    reset(server.control)


async def close_data(server: ScriptedServer, request: Message) -> None:
    """Lose the image connection, then be silent."""
    if server.data is not None:
        server.data.close()
    else:
        await close(server, request)


ANSWERS: list[tuple[Misbehaviour, type[LinkError]]] = [
    (silence, LinkTimeoutError),
    (late, LinkTimeoutError),
    (wrong_id, RemoteProtocolError),
    (wrong_name, RemoteProtocolError),
    (earlier_answer, RemoteProtocolError),
    (garbage, RemoteProtocolError),
    (http, RemoteProtocolError),
    (four_gib, RemoteProtocolError),
    (flood, RemoteProtocolError),
    (empty_body, RemoteProtocolError),
    (short_body, RemoteProtocolError),
    (close, LinkError),
    (close_inside, LinkError),
    (reset_inside, LinkError),
    (close_data, LinkError),
]
PHASES = ["TcpRegDataPort", "IsBusy", "GetWD", "DtGetChannels", "ScScanXY"]


async def work(microscope: Microscope) -> None:
    """Move and scan: everything a refocus does."""
    await microscope.set_working_distance(COMMANDED_MM)
    await microscope.scan(REQUEST)


@pytest.mark.parametrize("command", PHASES)
@pytest.mark.parametrize(("misbehaviour", "error"), ANSWERS, ids=[each.__name__ for each, _ in ANSWERS])
async def test_a_bad_answer_is_one_named_error(
    misbehaviour: Misbehaviour, error: type[LinkError], command: str
) -> None:
    """Connecting, moving or scanning: the link is closed with the named error, and no move is added."""
    if (misbehaviour, command) == (silence, "IsBusy"):
        # The GetWD sent along is answered, which shows at once that an answer has been left out.
        error = RemoteProtocolError
    server = ScriptedServer(misbehave={command: misbehaviour})
    started = time.monotonic()
    async with serving(server):
        with pytest.raises(error) as caught:
            async with connect_sharksem(server.settings()) as microscope:
                await work(microscope)
        assert time.monotonic() - started < LONGEST_S

    assert str(caught.value)
    assert server.moves in ([], [COMMANDED_MM])


@pytest.mark.parametrize("text", ["nan", "-inf", "1e999", "", "9,5", "9.5 mm\n9.5", "0x9", "9" * 4000])
async def test_a_readback_that_is_no_number_is_refused(text: str) -> None:
    """Such a working distance is neither returned nor stored, and the link is closed."""

    async def tell(server: ScriptedServer, request: Message) -> None:
        body = encode_body([text if server.moves else 9.0])
        await server.write(encode_message(request.answer(body)))

    server = ScriptedServer(misbehave={"GetWD": tell})
    async with serving(server), connect_sharksem(server.settings()) as microscope:
        with pytest.raises(RemoteProtocolError, match="GetWD: a float argument"):
            await microscope.set_working_distance(COMMANDED_MM)
        with pytest.raises(LinkError, match="lost"):
            await microscope.get_working_distance()

    assert server.moves == [COMMANDED_MM]


async def test_one_byte_at_a_time_is_no_fault() -> None:
    """Answers and images may dribble."""

    async def dribble(server: ScriptedServer, request: Message) -> None:
        for byte in encode_message(request.answer(server.body_for(request) or b"")):
            await server.write(bytes([byte]))
            await asyncio.sleep(0)

    async def dribble_image(server: ScriptedServer, frame_id: int, pixels: int) -> None:
        message = ScanPiece(frame_id, 0, 0, 8, bytes(pixels)).encode()
        for start in range(0, len(message), 7):
            await server.write_data(message[start : start + 7])

    server = ScriptedServer(misbehave=dict.fromkeys(PHASES, dribble), send_image=dribble_image)
    async with serving(server), connect_sharksem(server.settings()) as microscope:
        await work(microscope)

    assert server.moves == [COMMANDED_MM]


async def test_a_flood_takes_no_memory() -> None:
    """Bodies that nobody wants are refused, not collected."""
    server = ScriptedServer(misbehave={"IsBusy": flood})
    tracemalloc.start()
    try:
        async with serving(server):
            with pytest.raises(RemoteProtocolError):
                async with connect_sharksem(server.settings()) as microscope:
                    await work(microscope)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 8 << 20


# --- what can be wrong with an image ---


async def no_image(_server: ScriptedServer, _frame_id: int, _pixels: int) -> None:
    """Send nothing."""


async def half_an_image(server: ScriptedServer, frame_id: int, pixels: int) -> None:
    """Stop in the middle."""
    await server.write_data(ScanPiece(frame_id, 0, 0, 8, bytes(pixels // 2)).encode())


async def lost_piece(server: ScriptedServer, frame_id: int, pixels: int) -> None:
    """Leave out the middle."""
    third = pixels // 3
    await server.write_data(ScanPiece(frame_id, 0, 0, 8, bytes(third)).encode())
    await server.write_data(ScanPiece(frame_id, 0, 2 * third, 8, bytes(pixels - 2 * third)).encode())


async def other_frame(server: ScriptedServer, frame_id: int, pixels: int) -> None:
    """Send an image of another scan."""
    await server.write_data(ScanPiece(frame_id + 1, 0, 0, 8, bytes(pixels)).encode())


async def other_channel(server: ScriptedServer, frame_id: int, pixels: int) -> None:
    """Send an image of another channel."""
    await server.write_data(ScanPiece(frame_id, 1, 0, 8, bytes(pixels)).encode())


async def wrong_depth(server: ScriptedServer, frame_id: int, pixels: int) -> None:
    """Send 16 bits where 8 were asked for."""
    await server.write_data(ScanPiece(frame_id, 0, 0, 16, bytes(2 * pixels)).encode())


async def too_long(server: ScriptedServer, frame_id: int, pixels: int) -> None:
    """Send more pixels than the scan has."""
    await server.write_data(ScanPiece(frame_id, 0, 0, 8, bytes(pixels + 1)).encode())


async def image_garbage(server: ScriptedServer, _frame_id: int, _pixels: int) -> None:
    """Send what is no message."""
    await server.write_data(b"\xff" * 500)


async def huge_piece(server: ScriptedServer, frame_id: int, _pixels: int) -> None:
    """Claim 4 GiB of pixels in a small body."""
    piece = struct.pack("<IiIiI", frame_id, 0, 0, 8, 2**32 - 1)
    await server.write_data(header(b"ScData", body_bytes=40, identification=0) + piece + bytes(20))


async def close_in_piece(server: ScriptedServer, frame_id: int, pixels: int) -> None:
    """Hang up in the middle of a piece."""
    await server.write_data(ScanPiece(frame_id, 0, 0, 8, bytes(pixels)).encode()[:1000])
    assert server.data is not None
    server.data.close()


IMAGES: list[tuple[SendImage, type[Exception]]] = [
    (no_image, ScanIncompleteError),
    (half_an_image, ScanIncompleteError),
    (lost_piece, ScanIncompleteError),
    (other_frame, ScanIncompleteError),
    (other_channel, ScanIncompleteError),
    (wrong_depth, RemoteProtocolError),
    (too_long, RemoteProtocolError),
    (image_garbage, RemoteProtocolError),
    (huge_piece, RemoteProtocolError),
    (close_in_piece, LinkError),
]


@pytest.mark.parametrize(("send_image", "error"), IMAGES, ids=[each.__name__ for each, _ in IMAGES])
async def test_a_bad_image_is_one_named_error(
    send_image: SendImage, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No frame is made of it; where the link survived, the scan was stopped and the next one is whole."""
    monkeypatch.setattr(sharksem_scan, "SCAN_MARGIN_S", 0.2)
    server = ScriptedServer(send_image=send_image)
    async with serving(server), connect_sharksem(server.settings()) as microscope:
        with pytest.raises(error):
            await microscope.scan(REQUEST)
        if error is ScanIncompleteError:
            assert server.names.index("ScStopScan", server.names.index("ScScanXY")) > 0
            server.send_image = send_whole_image
            frame = await microscope.scan(REQUEST)
            assert frame.pixels[0, 1] == 1
        else:
            with pytest.raises(LinkError):
                await microscope.ping()

    assert server.moves == []


async def test_late_pieces_of_the_scan_before_are_not_mixed_in() -> None:
    """Pieces that were under way when a scan was stopped carry its number and are dropped."""
    first_id: list[int] = []

    async def send_old_then_new(server: ScriptedServer, frame_id: int, pixels: int) -> None:
        first_id.append(frame_id)
        await server.write_data(ScanPiece(first_id[0], 0, 0, 8, b"\xee" * pixels).encode())
        await send_whole_image(server, frame_id, pixels)

    server = ScriptedServer(send_image=send_old_then_new)
    async with serving(server), connect_sharksem(server.settings()) as microscope:
        await microscope.scan(REQUEST)
        frame = await microscope.scan(REQUEST)

    assert len(set(first_id)) == 2
    assert 0 not in first_id
    assert frame.pixels.max() == 250


@pytest.mark.parametrize("accepts_data", [True, False])
async def test_a_data_connection_that_is_dropped_costs_the_session(*, accepts_data: bool) -> None:
    """A session without images is of no use and says so at the next call."""

    async def ping_until_it_fails(settings: MicroscopeSettings) -> None:
        async with connect_sharksem(settings) as microscope:
            if server.data is not None:
                server.data.close()
            while True:
                await microscope.ping()

    server = ScriptedServer(accepts_data=accepts_data)
    async with serving(server):
        with pytest.raises(LinkError, match="the image connection was lost"):
            await ping_until_it_fails(server.settings())
