"""Both clients under one face, so that the same tests hold for them: asynchronous, with one set of names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import focusd_client

import focusd.client

BOTH: tuple[ModuleType, ...] = (focusd.client, focusd_client)


class InThread:
    """The blocking client, each verb in a thread."""

    def __init__(self, client: focusd_client.Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        async def ask(*args: Any, **options: Any) -> Any:
            return await asyncio.to_thread(getattr(self._client, name), *args, **options)

        return ask

    def __repr__(self) -> str:
        return repr(self._client)

    @asynccontextmanager
    async def hold(self, *args: Any, **options: Any) -> AsyncIterator[focusd_client.Hold]:
        """Hold a lease for the length of a block."""
        hold = self._client.hold(*args, **options)
        await asyncio.to_thread(hold.__enter__)
        try:
            yield hold
        finally:
            await asyncio.to_thread(hold.__exit__)


@asynccontextmanager
async def client_of(module: ModuleType, url: str, **options: Any) -> AsyncIterator[Any]:
    """A client of either kind, with the asynchronous one's face."""
    if module is focusd_client:
        yield InThread(focusd_client.Client(url, **options))
    else:
        async with focusd.client.Client(url, **options) as client:
            yield client
