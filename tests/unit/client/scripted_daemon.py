"""A daemon that answers as a test has written down, one line of its script for each request."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

DROP = "drop"
"""Take the request and close the connection."""
SILENCE = "silence"
"""Take the request and never answer."""

VERDICT: dict[str, Any] = {
    "frame_id": 3,
    "verdict": "in_focus",
    "reason": None,
    "sharpness": 1.5,
    "baseline_sharpness": 1.5,
    "ratio": 1.0,
    "reacquire_from": None,
    "a_newer_key": [1],
}
JUDGED: dict[str, Any] = {"verdict": VERDICT, "refocus": None, "reacquire_from": None, "waits_for": None}
LEASE: dict[str, Any] = {"lease_id": "1f", "holder": "montage", "expires_in_s": 60.0}


@dataclass(frozen=True)
class Said:
    """One answer."""

    body: object
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


def problem(slug: str, status: int, *, retry_after: str | None = None, **facts: object) -> Said:
    """A problem document."""
    document = {"type": f"urn:focusd:problem:{slug}", "title": "T", "status": status, "detail": "d", **facts}
    return Said(document, status, {} if retry_after is None else {"Retry-After": retry_after})


class ScriptedDaemon:
    """Answers requests in the order of its script; the last line stands for all that follow."""

    def __init__(self, script: Iterable[Said | str]) -> None:
        self.script = list(script)
        self.asked: list[Asked] = []
        self.url = ""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                self.asked.append(await self._read(reader, writer))
                line = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if line is SILENCE:
                    await reader.read()
                if not isinstance(line, Said):
                    break
                await _answer(writer, line)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Asked:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
        }
        if headers.get("expect") == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        parts = urlsplit(target)
        return Asked(method, parts.path, dict(parse_qsl(parts.query)), headers, body)


async def _answer(writer: asyncio.StreamWriter, said: Said) -> None:
    content = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
    headers = {"Content-Length": str(len(content)), **said.headers}
    lines = [f"HTTP/1.1 {said.status} Answer", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode() + content)
    await writer.drain()


@asynccontextmanager
async def scripted(*script: Said | str, port: int = 0) -> AsyncIterator[ScriptedDaemon]:
    """Run a daemon with a script."""
    daemon = ScriptedDaemon(script)
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        await daemon.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    daemon.port = server.sockets[0].getsockname()[1]
    daemon.url = f"http://127.0.0.1:{daemon.port}"
    try:
        yield daemon
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
