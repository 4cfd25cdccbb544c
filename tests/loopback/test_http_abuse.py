"""Clients that are slow on purpose: they are let go, and nobody else notices them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from focusd.api import connection, frame_body, reading
from focusd.api.server import serve_http
from focusd.config import HttpSettings
from focusd.store.database import open_store
from tests.unit.api.client import Client
from tests.unit.api.fake_supervisor import FakeSupervisor

EACH = 30
"""Of each kind of client."""
PATIENCE_S = 0.6
DROPPED_WITHIN_S = 8.0
"""The patience, and much room for a busy computer; without an end they would take minutes."""
HEAD = b"HTTP/1.1\r\nHost: localhost\r\n"
KINDS = {
    "says nothing": (b"", b""),
    "header, byte by byte": (b"GET /v1/status " + HEAD, b"X-Slow: " + b"x" * 8000),
    "body, byte by byte": (
        b"PUT /v1/microscope/working-distance " + HEAD + b"Content-Type: application/json\r\n"
        b"Content-Length: 8000\r\n\r\n",
        b" " * 8000,
    ),
    "frame, byte by byte": (
        b"POST /v1/frames?shape=64,64&dtype=uint8 " + HEAD + b"Content-Type: application/octet-stream\r\n"
        b"Content-Length: 4096\r\n\r\n",
        bytes(4096),
    ),
    "answer never read": (b"GET /v1/status " + HEAD + b"\r\n", b""),
}


async def be_slow(port: int, kind: str, dropped: dict[str, list[float]]) -> None:
    """Connect, be slow, and note how long that was borne."""
    began = time.monotonic()
    first, rest = KINDS[kind]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ended = asyncio.create_task(reader.read())
    try:
        writer.write(first)
        for byte in rest:
            if ended.done():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(PATIENCE_S / 20)
        await asyncio.wait([ended])
        dropped.setdefault(kind, []).append(time.monotonic() - began)
    finally:
        ended.cancel()
        writer.transport.abort()


async def test_slow_clients_are_let_go_and_others_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five kinds of them at once."""
    monkeypatch.setitem(connection._LIMITS, "keepalive_timeout", PATIENCE_S)
    monkeypatch.setitem(connection._LIMITS, "lingering_time", PATIENCE_S)
    monkeypatch.setattr(reading, "BODY_DEADLINE_S", PATIENCE_S)
    monkeypatch.setattr(frame_body, "PATIENCE_S", PATIENCE_S)
    dropped: dict[str, list[float]] = {}
    waits: list[float] = []
    async with open_store(tmp_path / "state", max_frames=1000) as store:
        supervisor = FakeSupervisor(store)
        async with serve_http(HttpSettings(port=0), supervisor) as url, Client(url) as client:
            port = int(url.rpartition(":")[2])
            async with asyncio.timeout(20 * DROPPED_WITHIN_S), asyncio.TaskGroup() as group:
                slow = [
                    group.create_task(be_slow(port, kind, dropped)) for kind in KINDS for _ in range(EACH)
                ]
                while not all(task.done() for task in slow):
                    asked = time.monotonic()
                    assert (await client.get("/v1/status")).status == 200
                    waits.append(time.monotonic() - asked)
                    await asyncio.sleep(0.02)
        await supervisor.close()

    assert {kind: len(times) for kind, times in dropped.items()} == dict.fromkeys(KINDS, EACH)
    longest = {kind: max(times) for kind, times in dropped.items()}
    assert max(longest.values()) < DROPPED_WITHIN_S, longest
    assert sorted(waits)[len(waits) // 2] < 0.25
    assert supervisor.lens_mm == 9.0
