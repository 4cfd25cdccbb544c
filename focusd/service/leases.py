"""Leases "scanning now": while one holds, the lens does not move and nobody's scan is disturbed.

A lease runs out by itself, so that acquisition software that died does not stop focusd for ever.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from focusd.errors import NotFoundError, TooManyError

_log = structlog.get_logger(__name__)

MOST_LEASES = 64


@dataclass(frozen=True, slots=True)
class ScanLease:
    """One promise not to move the lens, as it stands when it is shown."""

    lease_id: str
    holder: str
    """Who asked, in their own words."""
    expires_in_s: float


@dataclass(frozen=True, slots=True)
class _Held:
    holder: str
    ends_at: float


class Leases:
    """The leases that neither ran out nor were given back.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, _Held] = {}

    @property
    def current(self) -> tuple[ScanLease, ...]:
        """Those that hold, oldest first."""
        now = self._clock()
        for lease_id, held in list(self._held.items()):
            if held.ends_at <= now:
                del self._held[lease_id]
                _log.warning("scan_lease_ran_out", holder=held.holder, lease_id=lease_id)
        return tuple(ScanLease(key, held.holder, held.ends_at - now) for key, held in self._held.items())

    @property
    def free_in_s(self) -> float:
        """Seconds until the last of them runs out; 0 when there is none."""
        return max((lease.expires_in_s for lease in self.current), default=0.0)

    def take(self, holder: str, expires_in_s: float) -> ScanLease:
        """Give a new lease.

        Raises:
            TooManyError: ``MOST_LEASES`` hold already.
        """
        if len(self.current) >= MOST_LEASES:
            raise TooManyError(f"at most {MOST_LEASES} scan leases can hold at once")
        lease_id = secrets.token_hex(8)
        self._held[lease_id] = _Held(holder, self._clock() + expires_in_s)
        return ScanLease(lease_id, holder, expires_in_s)

    def renew(self, lease_id: str, expires_in_s: float) -> ScanLease:
        """Let a lease run that long from now; ``NotFoundError`` if it does not hold any more."""
        held = self._find(lease_id)
        self._held[lease_id] = _Held(held.holder, self._clock() + expires_in_s)
        return ScanLease(lease_id, held.holder, expires_in_s)

    def end(self, lease_id: str) -> None:
        """Give a lease back; ``NotFoundError`` if it does not hold any more."""
        self._find(lease_id)
        del self._held[lease_id]

    def _find(self, lease_id: str) -> _Held:
        if not any(lease.lease_id == lease_id for lease in self.current):
            raise NotFoundError("there is no such scan lease; it may have run out")
        return self._held[lease_id]
