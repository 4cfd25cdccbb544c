"""The daemon one would write in an afternoon: a ``StreamReader``, and the formula in the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import cv2
import numpy as np
from aiohttp import web

from focusd.frame import Pixels
from tests.benchmarks.path_senders import COUNT, PLAIN_HEADER, Kind


def formula(pixels: Pixels) -> float:
    """The published score, as it is published."""
    return float(cv2.Laplacian(pixels, cv2.CV_64F).var())


def image(data: bytes, kind: Kind) -> Pixels:
    """Give bytes as an image."""
    shape = kind.side_px, kind.side_px
    if kind.bits == 16:
        return np.frombuffer(data, np.uint16).reshape(shape)
    return np.frombuffer(data, np.uint8).reshape(shape)


@asynccontextmanager
async def frames(port: int, kind: Kind) -> AsyncIterator[Callable[[int], AsyncIterator[Pixels]]]:
    """Connect to who sends plainly; give what asks for so many frames."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(count: int) -> AsyncIterator[Pixels]:
        writer.write(COUNT.pack(count))
        for _ in range(count):
            await reader.readexactly(PLAIN_HEADER.size)
            yield image(await reader.readexactly(kind.nbytes), kind)

    try:
        yield ask
    finally:
        writer.close()
        await writer.wait_closed()


def serve_http(tell: Callable[[int], None], kind: Kind) -> None:
    """Judge frames that are POSTed, and tell of the last."""
    last = {"sharpness": 0.0}

    async def judge(request: web.Request) -> web.Response:
        last["sharpness"] = formula(image(await request.read(), kind))
        return web.json_response(last)

    async def status(_: web.Request) -> web.Response:
        return web.json_response(last)

    async def serve() -> None:
        app = web.Application(client_max_size=1 << 30)
        app.add_routes([web.post("/v1/frames", judge), web.get("/v1/status", status)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        tell(int(runner.addresses[0][1]))
        await asyncio.Event().wait()

    asyncio.run(serve())
