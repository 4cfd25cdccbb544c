"""The endpoint's life: token, sockets, serving, and a stop that keeps nobody waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from focusd.api.app import App
from focusd.api.auth import make_guard
from focusd.api.connection import Server
from focusd.api.frame_body import FrameReader
from focusd.api.listening import listen, url_of
from focusd.api.verbs import Verbs
from focusd.config import HttpSettings

SHUTDOWN_TIMEOUT_S = 0.4
"""For a request in hand to be answered; aiohttp takes up to twice that in all."""


@asynccontextmanager
async def serve_http(settings: HttpSettings, supervisor: Verbs) -> AsyncIterator[str]:
    """Serve the endpoint for the length of a ``with`` block, and give its base URL for this computer.

    At the end waits are answered 503 and everything is closed within a second; what the daemon was asked to
    do goes on.

    Raises:
        ConfigError: the token file cannot be used.
        OSError: the address cannot be listened on; the message names ``http.host`` and ``http.port``.
    """
    frames = FrameReader(max_bytes=settings.max_frame_mib << 20, memory_bytes=settings.frame_memory_mib << 20)
    app = App(supervisor, make_guard(settings), max_body_bytes=settings.max_body_kib << 10, frames=frames)
    sockets = await listen(settings.host, settings.port)
    server = Server(app.handle)
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    try:
        await runner.setup()
        for listener in sockets:
            await web.SockSite(runner, listener).start()
        yield url_of(sockets[0])
    finally:
        server.hang_up()
        await app.close()
        await runner.cleanup()
        for listener in sockets:
            listener.close()
