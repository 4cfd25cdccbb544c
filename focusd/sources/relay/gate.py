"""The gate where clients' new scans wait while focusd works on the lens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Gate(Protocol):
    """Says whether a new scan may start."""

    @property
    def is_open(self) -> bool:
        """Whether scans are passed on at once."""
        ...

    @property
    def reason(self) -> str:
        """Why it is closed."""
        ...

    async def wait_open(self) -> None:
        """Return when it is open."""
        ...


class ScanGate(Gate):
    """A gate that its owner closes and opens; open at first.

    It may be closed for several reasons at once, and is open when the last one is gone.
    """

    def __init__(self) -> None:
        self._reasons: list[str] = []
        self._opened = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether scans are passed on at once."""
        return not self._reasons

    @property
    def reason(self) -> str:
        """Why it was closed last."""
        return "" if self.is_open else self._reasons[-1]

    def close(self, reason: str) -> None:
        """Let new scans wait."""
        self._reasons.append(reason)
        self._opened.clear()

    def open(self, reason: str) -> None:
        """Take back one ``close`` of this reason; harmless when there was none."""
        if reason in self._reasons:
            self._reasons.remove(reason)
        if self.is_open:
            self._opened.set()

    @contextmanager
    def closed(self, reason: str) -> Iterator[None]:
        """Keep the gate closed for the length of a ``with`` block."""
        self.close(reason)
        try:
            yield
        finally:
            self.open(reason)

    async def wait_open(self) -> None:
        """Return when it is open."""
        while not self.is_open:
            await self._opened.wait()
