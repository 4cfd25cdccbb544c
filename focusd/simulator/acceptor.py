"""What every simulated server needs: accept connections, serve each in a task, end all of them together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Any, TypeAlias

import structlog

_ACCEPT_PAUSE_S = 0.1

Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]

_log = structlog.get_logger()


class Acceptor:
    """Runs listeners and tasks for the length of an ``async with`` block."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[socket.socket] = []
        self._closing = False

    async def __aenter__(self) -> Acceptor:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        finally:
            for listener in self._listeners:
                listener.close()

    def serve(self, listener: socket.socket, serve: Serve) -> None:
        """Serve whoever connects to a listening socket, which belongs to the acceptor from now on."""
        self._listeners.append(listener)
        self.spawn(self._accept(listener, serve))

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that ends with the acceptor at the latest."""
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._closing:
            task.cancel()
        return task

    async def _accept(self, listener: socket.socket, serve: Serve) -> None:
        """Accept connections; ``asyncio.Server`` leaks those that come while it closes (Python 3.11)."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
                reader, writer = await asyncio.open_connection(sock=connection)
            except OSError as error:
                _log.warning("connection_not_accepted", reason=str(error))
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            # Also for a task that is cancelled before it begins.
            self.spawn(serve(reader, writer)).add_done_callback(partial(_abort, writer))


def listen(host: str, port: int) -> socket.socket:
    """Give a socket that listens on an IPv4 address; port 0 takes a free one.

    Raises:
        OSError: the address cannot be had.
    """
    listener = socket.create_server((host, port), family=socket.AF_INET, backlog=100)
    listener.setblocking(False)
    return listener


def peer(writer: asyncio.StreamWriter) -> tuple[str, int]:
    """Tell address and port of the client."""
    host, port = writer.get_extra_info("peername")[:2]
    return str(host), int(port)


def _abort(writer: asyncio.StreamWriter, _task: asyncio.Task[None]) -> None:
    writer.transport.abort()
