"""Many clients push frames at once, some of them broken: each frame has its own verdict."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import struct
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest

from focusd.focus.laplacian import laplacian_variance
from focusd.frame import Pixels
from tests.loopback.pushing import pushing
from tests.unit.imagefile.test_decode import png

FRAMES = int(os.environ.get("PUSH_FRAMES", "400"))
"""More of them by hand."""
CLIENTS = 8
SHAPE = (192, 256)
GROWTH_MIB = 24
"""More would be a frame kept for each of a few hundred; what the allocator and the history take is less."""
QUERY = f"v1/frames?shape={SHAPE[0]},{SHAPE[1]}&dtype=uint8"
TIFF = cv2.imencode(".tif", np.zeros(SHAPE, np.uint8))[1].tobytes()
BROKEN = {
    "the wrong shape": ("v1/frames?shape=192,255&dtype=uint8", bytes(SHAPE[0] * SHAPE[1]), "", 422),
    "a bomb": ("v1/frames", png(100_000, 100_000), "image/png", 422),
    "a truncated TIFF": ("v1/frames", TIFF[: len(TIFF) // 2], "image/tiff", 422),
    "no image": ("v1/frames", b"not an image", "image/tiff", 422),
}


def resident_mib(process_id: int) -> float:
    """Memory that a process holds at this moment."""
    pages = int(Path(f"/proc/{process_id}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def frame(client: int, number: int) -> Pixels:
    """Make a frame that no other is like."""
    return np.random.default_rng((client, number)).integers(0, 256, SHAPE, dtype=np.uint8)


async def push(session: aiohttp.ClientSession, path: str, content: bytes, kind: str = "") -> tuple[int, Any]:
    """Send one frame; give status and answer."""
    headers = {"Content-Type": kind or "application/octet-stream"}
    async with session.post(path, data=content, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def push_all(session: aiohttp.ClientSession, client: int) -> list[int]:
    """Send a client's frames one after the other; give their numbers in the order of the answers."""
    numbers = []
    for number in range(FRAMES // CLIENTS):
        pixels = frame(client, number)
        status, answer = await push(session, QUERY, pixels.tobytes())
        assert status == 200, answer
        assert answer["verdict"]["laplacian_variance"] == laplacian_variance(pixels)
        numbers.append(answer["verdict"]["frame_id"])
    return numbers


async def send_broken(session: aiohttp.ClientSession) -> None:
    """Send what is no frame, again and again; each is refused for what it is."""
    for name in itertools.cycle(BROKEN):
        path, content, kind, expected = BROKEN[name]
        status, answer = await push(session, path, content, kind)
        assert (status, answer["status"]) == (expected, expected), name


async def die_in_the_middle(port: int) -> None:
    """Begin to send a frame and reset the connection, again and again."""
    head = f"POST /{QUERY} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {SHAPE[0] * SHAPE[1]}\r\n\r\n"
    while True:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.write(head.encode() + bytes(1000))
        await writer.drain()
        writer.transport.abort()
        await asyncio.sleep(0.005)


@pytest.mark.timeout(60 + FRAMES / 20)
async def test_each_frame_of_many_clients_has_its_own_verdict(tmp_path: Path) -> None:
    """Order is kept for each client, memory stays, and the broken ones among them change nothing."""
    async with pushing(tmp_path) as daemon:
        session, process_id = daemon.session, daemon.child.pid
        vandals = [
            asyncio.create_task(send_broken(session)),
            asyncio.create_task(die_in_the_middle(daemon.port)),
        ]
        warm = await asyncio.gather(*(push_all(session, client) for client in range(CLIENTS)))
        before_mib = resident_mib(process_id)
        again = await asyncio.gather(*(push_all(session, client) for client in range(CLIENTS)))
        growth_mib = resident_mib(process_id) - before_mib
        for vandal in vandals:
            assert not vandal.done(), vandal.exception()
            vandal.cancel()
        await asyncio.gather(*vandals, return_exceptions=True)
        async with session.get("v1/status") as response:
            judged = (await response.json())["counters"]["frames_judged"]

    answered = [number for numbers in (*warm, *again) for number in numbers]
    assert all(numbers == sorted(numbers) for numbers in (*warm, *again))
    assert sorted(answered) == list(range(1, len(answered) + 1))
    assert judged == len(answered) == FRAMES * 2
    assert growth_mib < GROWTH_MIB
