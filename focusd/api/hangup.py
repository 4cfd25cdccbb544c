"""Waits that end when nobody is there any more to hear the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class HungUpError(Exception):
    """The client has left, or focusd is stopping, in the middle of a wait."""


class Hangup:
    """Ends the waits of one connection."""

    def __init__(self) -> None:
        self._is_over = False
        self._scopes: set[asyncio.Timeout] = set()

    def hang_up(self) -> None:
        """End what is being waited for, now and from now on."""
        if not self._is_over:
            self._is_over = True
            for scope in self._scopes:
                scope.reschedule(0.0)

    async def hold(self, work: Awaitable[T]) -> T:
        """Wait for ``work``; it is cancelled on a hang-up.

        So give it only what may be cancelled at any await: a wait for the answer, not the doing.

        Raises:
            HungUpError: the other side is gone.
        """
        scope = asyncio.timeout_at(0.0 if self._is_over else None)
        try:
            async with scope:
                self._scopes.add(scope)
                try:
                    return await work
                finally:
                    self._scopes.discard(scope)
        except TimeoutError as error:
            # A timeout of the work itself is an answer like any other.
            if scope.expired():
                raise HungUpError("focusd is stopping") from error
            raise
