"""Others who use the microscope at the same time, and how focusd gets its turn beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from focusd.microscope.interface import MicroscopeState


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """The relay and its clients."""

    address: str
    clients: int
    is_scanning: bool
    """Whether a client's scan is running."""
    frames: int
    """Frames that passed since the daemon started, ..."""
    frames_dropped: int
    """... and those never judged because newer ones came."""
    scans_held: int
    """Scans that had to wait, ..."""
    holds_timed_out: int
    """... and those let through although focusd was not done."""


class Neighbours(Protocol):
    """Those who scan on the same microscope."""

    @property
    def is_scanning(self) -> bool:
        """Whether one of their scans is running."""
        ...

    @property
    def lets_begin(self) -> bool:
        """Whether a refocus would disturb none of them now."""
        ...

    @property
    def status(self) -> RelayStatus | None:
        """What there is to say of them."""
        ...

    def turn(self, what: str) -> AbstractAsyncContextManager[None]:
        """Let their new scans wait for the length of an ``async with`` block; begin when none is running.

        Raises:
            TimeoutError: one of theirs does not end.
        """
        ...

    def mark(self) -> int:
        """Give a number that changes whenever they move the lens or the stage."""
        ...

    def learn(self, state: MicroscopeState, mark: int) -> None:
        """Take what was read of the microscope, with the mark from before the reading."""


class Nobody:
    """No neighbours."""

    @property
    def is_scanning(self) -> bool:
        """Nobody is."""
        return False

    @property
    def lets_begin(self) -> bool:
        """Nobody is disturbed."""
        return True

    @property
    def status(self) -> RelayStatus | None:
        """Nothing to say."""
        return None

    @asynccontextmanager
    async def turn(self, what: str) -> AsyncIterator[None]:  # noqa: ARG002 - nobody needs to be told
        """It is always focusd's turn."""
        yield

    def mark(self) -> int:
        """Nothing changes."""
        return 0

    def learn(self, state: MicroscopeState, mark: int) -> None:
        """Nobody wants to know."""
