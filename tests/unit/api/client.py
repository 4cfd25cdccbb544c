"""A client that says what came back, and one for bytes that no client would send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL


@dataclass(frozen=True)
class Reply:
    """An answer of the endpoint."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON by the strict rules."""
        return json.loads(self.content, parse_constant=_not_json)

    @property
    def problem(self) -> str:
        """The problem's slug; the answer must be a proper problem document."""
        document = self.json
        assert self.headers["Content-Type"] == "application/problem+json"
        assert document["status"] == self.status
        assert document["title"]
        assert document["detail"]
        assert b"Traceback" not in self.content
        prefix, _, slug = document["type"].rpartition(":")
        assert prefix == "urn:focusd:problem"
        return str(slug)


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


class Client:
    """Sends requests to ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request; ``body`` goes as JSON, ``raw`` as it is with a JSON content type."""
        if body is not None:
            raw = json.dumps(body).encode()
        sent = {} if raw is None else {"Content-Type": "application/json"}
        url = URL(self.url + path, encoded=True)
        async with self._session.request(
            method, url, data=raw, headers={**sent, **(headers or {})}
        ) as response:
            return Reply(response.status, response.headers.copy(), await response.read())

    async def get(self, path: str, **headers: str) -> Reply:
        """Read."""
        return await self.send("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    async def post(self, path: str, body: object = None) -> Reply:
        """Ask for something to be done."""
        return await self.send("POST", path, body)

    async def put(self, path: str, body: object = None) -> Reply:
        """Set something."""
        return await self.send("PUT", path, body)

    async def delete(self, path: str) -> Reply:
        """End or forget something."""
        return await self.send("DELETE", path)


@asynccontextmanager
async def connected(
    url: str, content: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Hold a plain TCP connection to an endpoint, and send ``content`` first."""
    parsed = URL(url)
    reader, writer = await asyncio.open_connection(parsed.host, parsed.port)
    try:
        writer.write(content)
        await writer.drain()
        yield reader, writer
    finally:
        writer.close()
        # The server may have closed, or reset, the connection first.
        with suppress(ConnectionError):
            await writer.wait_closed()


async def send_bytes(url: str, content: bytes) -> Reply:
    """Send bytes as they are; give the first answer."""
    async with connected(url, content) as (reader, _):
        return await read_reply(reader)


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """Read one answer off a plain connection."""
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        content = await reader.readexactly(int(headers.get("Content-Length", 0)))
    return Reply(int(first.split()[1]), headers, content)
