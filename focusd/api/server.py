"""The endpoint's life: token, sockets, serving, and a stop that keeps nobody waiting."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from focusd.api.app import App
from focusd.api.auth import make_guard
from focusd.api.connection import Server
from focusd.api.frame_body import FrameReader
from focusd.api.listening import listen, listen_unix, url_of
from focusd.api.tls import make_tls
from focusd.api.tokens import make_tokens
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
        ConfigError: a file of the settings cannot be used: a token, the certificate or its key.
        OSError: the address cannot be listened on; the message names ``http.host`` and ``http.port``, or
            ``http.unix_socket``.
    """
    frames = FrameReader(max_bytes=settings.max_frame_mib << 20, memory_bytes=settings.frame_memory_mib << 20)
    app = App(
        supervisor,
        make_guard(settings),
        make_tokens(settings),
        max_body_bytes=settings.max_body_kib << 10,
        max_changes_per_s=settings.max_changes_per_s,
        frames=frames,
    )
    tls = make_tls(settings)
    sockets = await listen(settings.host, settings.port)
    server = Server(app.handle)
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    local: socket.socket | None = None
    try:
        await runner.setup()
        for listener in sockets:
            await web.SockSite(runner, listener, ssl_context=tls).start()
        if settings.unix_socket is not None:
            local = listen_unix(settings.unix_socket)
            await web.SockSite(runner, local).start()
        yield url_of(sockets[0], "https" if tls else "http")
    finally:
        server.hang_up()
        await app.close()
        await runner.cleanup()
        for listener in sockets:
            listener.close()
        if local is not None and settings.unix_socket is not None:
            local.close()
            settings.unix_socket.unlink(missing_ok=True)
