"""Clients that ask for the status again and again, from one process, each over a connection of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from aiohttp import web

_REQUEST: Final = b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


async def poll(port: int, *, pollers: int, idle: int, rate_hz: float, duration_s: float) -> list[float]:
    """Give the time of every answer in milliseconds.

    Args:
        port: Of the server on this computer.
        pollers: Clients that ask.
        idle: Clients that are connected and ask once every few seconds, so that they stay so.
        rate_hz: How often each asks.
        duration_s: How long.
    """
    times: list[float] = []
    async with AsyncExitStack() as stack:
        connected = [await stack.enter_async_context(_connection(port)) for _ in range(pollers + idle)]
        async with asyncio.TaskGroup() as group:
            for index, (reader, writer) in enumerate(connected):
                pause_s = 1 / rate_hz if index < pollers else 4.0
                into = times if index < pollers else []
                first_s = pause_s * index / max(1, len(connected))
                group.create_task(_ask(reader, writer, into, first_s, pause_s, duration_s))
    return times


async def _ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    times: list[float],
    first_s: float,
    pause_s: float,
    duration_s: float,
) -> None:
    end = time.perf_counter() + duration_s
    await asyncio.sleep(first_s)
    while (since := time.perf_counter()) < end:
        writer.write(_REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        now = time.perf_counter()
        times.append((now - since) * 1000)
        await asyncio.sleep(max(0.0, since + pause_s - now))


@asynccontextmanager
async def _connection(port: int) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


def serve_nothing(tell: Callable[[int], None]) -> None:
    """Answer every request with the same bytes: what aiohttp itself costs."""
    body = b'{"state": "monitoring"}' + b" " * 700

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(
            web.Server(answer, access_log=None), "127.0.0.1", 0
        )
        tell(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(serve())
