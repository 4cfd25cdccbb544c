"""Whether anything can be written down: told on the board and in the log, and tried again until it can.

While it cannot, frames are judged and nothing is moved: a place that is not written down first would be lost
with the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import structlog

from focusd.errors import StoreError
from focusd.service.board import StatusBoard
from focusd.service.heartbeat import Heartbeat
from focusd.store.database import Store

T = TypeVar("T")

_log = structlog.get_logger(__name__)

RETRY_S = 2.0


class StoreWatch:
    """Knows whether the store works.

    Args:
        store: Asked.
        board: Where a failure is published.
    """

    def __init__(self, store: Store, board: StatusBoard) -> None:
        self._store = store
        self._board = board
        self._failed = asyncio.Event()
        store.on_health(self._told)

    @property
    def has_failed(self) -> bool:
        """Whether nothing can be written down for now."""
        return self._failed.is_set()

    async def run(self) -> None:
        """Try a store that has failed again and again, for ever."""
        while True:
            await self._failed.wait()
            await asyncio.sleep(RETRY_S)
            with suppress(StoreError):
                # A failure has been told of by the store itself.
                await self._store.prove_writable()

    async def insist(self, ask: Callable[[], Awaitable[T]], heartbeat: Heartbeat) -> T:
        """Do what must be done before all else, as often as it takes; ``heartbeat`` is kept going."""
        is_waiting = False
        while True:
            try:
                return await ask()
            except StoreError as error:
                if not is_waiting:
                    _log.warning("store_waited_for", error=str(error))
            is_waiting = True
            heartbeat.expect(RETRY_S)
            await asyncio.sleep(RETRY_S)

    async def try_to(self, note: Awaitable[object]) -> None:
        """Write down what has been done already: a failure takes nothing of it back."""
        try:
            await note
        except StoreError as error:
            _log.warning("not_written_down", error=str(error))

    def _told(self, failure: str) -> None:
        if failure and not self.has_failed:
            _log.error("store_failed", error=failure)
            self._failed.set()
        elif not failure:
            _log.info("store_works_again")
            self._failed.clear()
        self._board.set_store_failed(failure)
