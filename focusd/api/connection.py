"""aiohttp's server with bounds: header sizes, idle time, connections; and its own errors as problems."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from focusd.api.hangup import Hangup
from focusd.api.problems import BAD_REQUEST, HEADERS_TOO_LARGE, Problem, internal_error
from focusd.api.responses import problem_response

_log = structlog.get_logger(__name__)

MAX_CONNECTIONS = 256
"""Far under the usual limit of 1,024 open files, which the microscope and the store need too."""

_LIMITS: dict[str, Any] = {
    "access_log": None,
    "auto_decompress": False,
    "keepalive_timeout": 10.0,
    "lingering_time": 2.0,
    "max_field_size": 8190,
    "max_headers": 64,
    "max_line_size": 8190,
}

Handler = Callable[[web.BaseRequest, Hangup], Awaitable[web.StreamResponse]]


class Connection(web.RequestHandler):
    """One client's connection.

    Attributes:
        hangup: Ends what the client waits for.
        request: The one in hand, or the last.
        is_busy: Whether a request is in hand.
    """

    __slots__ = ("hangup", "is_busy", "request")

    def __init__(self, server: Server, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop=loop, **_LIMITS)
        self.hangup = Hangup()
        self.request: web.BaseRequest | None = None
        self.is_busy = False

    def end(self) -> None:
        """End what is being waited for: by the client, or from it."""
        self.hangup.hang_up()
        if self.request is not None and not self.is_busy:
            # aiohttp may be reading what an answered client still sends, and would go on when it has left.
            self.close()
            self.request.content.feed_eof()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - the name is aiohttp's
    ) -> web.StreamResponse:
        """Answer what aiohttp itself found wrong, which is a request that is no HTTP."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("a part of the answer has been sent already")
        if status >= 500:
            _log.error("http_connection_failed", exc_info=exc)
            return problem_response(internal_error("http_connection_failed"))
        if isinstance(exc, LineTooLong):
            problem = Problem(HEADERS_TOO_LARGE, "a line of the header is too long", closes=True)
        else:
            problem = Problem(BAD_REQUEST, "this cannot be read as HTTP/1.1", closes=True)
        _log.debug("http_refused", status=problem.kind.status, remote=request.remote)
        return problem_response(problem)


class Server(web.Server):
    """Makes a ``Connection`` of each client, and room for new ones.

    Args:
        handler: Answers a request; never raises.
    """

    def __init__(self, handler: Handler) -> None:
        super().__init__(self._serve)
        self._handler = handler
        self._is_stopping = False

    def __call__(self) -> Connection:
        """Give the protocol of a new connection."""
        connection = Connection(self, loop=asyncio.get_running_loop())
        if self._is_stopping:
            connection.hangup.hang_up()
        return connection

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Count a new connection; past the bound, the oldest that nothing is being done for is closed."""
        super().connection_made(handler, transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room(handler)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """End what the client was waiting for."""
        super().connection_lost(handler, exc)
        _own(handler).end()

    def hang_up(self) -> None:
        """End every wait, so that the connections can be closed."""
        self._is_stopping = True
        for connection in self.connections:
            _own(connection).end()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = _own(request.protocol)
        connection.request, connection.is_busy = request, True
        try:
            return await self._handler(request, connection.hangup)
        finally:
            connection.is_busy = False

    def _make_room(self, newest: web.RequestHandler) -> None:
        opened = [connection for connection in self.connections if connection.transport is not None]
        if len(opened) > MAX_CONNECTIONS:
            idle = (connection for connection in opened if not _own(connection).is_busy)
            next(idle, newest).force_close()


def _own(connection: web.RequestHandler) -> Connection:
    if not isinstance(connection, Connection):
        raise TypeError("a connection that this server did not make")
    return connection
