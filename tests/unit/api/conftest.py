"""A real server on a loopback port, in front of a fake supervisor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from focusd.api.server import serve_http
from focusd.config import HttpSettings
from focusd.store.database import open_store
from tests.unit.api.client import Client
from tests.unit.api.fake_supervisor import FakeSupervisor


@pytest_asyncio.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[FakeSupervisor]:
    """A supervisor with an empty store."""
    async with open_store(tmp_path / "state", max_frames=1000) as store:
        supervisor = FakeSupervisor(store)
        yield supervisor
        await supervisor.close()


@pytest_asyncio.fixture
async def client(supervisor: FakeSupervisor) -> AsyncIterator[Client]:
    """A client of an endpoint that needs no token."""
    async with serve_http(HttpSettings(port=0), supervisor) as url, Client(url) as client:
        yield client
