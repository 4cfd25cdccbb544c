"""Scan leases: while one holds, focusd does not move the lens."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType

from focusd.client.exchange import Exchange
from focusd.client.failures import ClientError, ProblemError
from focusd.client.results import read_lease_id

_log = logging.getLogger("focusd.client")

END_WITHIN_S = 10.0


class Hold:
    """A scan lease for the length of an ``async with`` block: taken, renewed by itself, and given back.

    Renewal needs the event loop: code that blocks it for longer than ``expires_in_s`` loses the lease. A
    lease that was lost, because the daemon was started again or could not be reached, is taken anew, and
    ``was_lost`` tells of it: the lens may have moved meanwhile. That is no exception, for the scan is not to
    end by it; look after the block, and take the image again if it matters.

    Args:
        exchange: Asks the daemon.
        holder: Who scans, for people.
        expires_in_s: How long focusd leaves the lens alone should this program die.
        timeout_s: Longest wait for a refocus that runs, before the block begins.
    """

    def __init__(self, exchange: Exchange, holder: str, *, expires_in_s: float, timeout_s: float) -> None:
        self._exchange = exchange
        self._holder = holder
        self._expires_in_s = expires_in_s
        self._timeout_s = timeout_s
        self._lease_id = ""
        self._holds_until = 0.0
        self._renewal: asyncio.Task[None] | None = None
        self.was_lost = False
        """Whether there was a time within the block at which the lens may have moved."""

    async def __aenter__(self) -> Hold:
        """Wait for a refocus that runs, and take the lease.

        Raises:
            BusyError: the refocus has not ended within ``timeout_s``.
            ClientError: the daemon cannot be asked.
        """
        await self._take(self._timeout_s)
        self._renewal = asyncio.create_task(self._keep_renewing())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lease back; if that fails it runs out by itself. The block's own error is never hidden."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])
            if not self._renewal.cancelled():
                self._renewal.result()
        try:
            await self._exchange.ask("DELETE", f"v1/scan-leases/{self._lease_id}", timeout_s=END_WITHIN_S)
        except ProblemError as problem:
            self._note_lost(problem)
        except ClientError as failure:
            _log.warning("the scan lease of %s was not given back: %s", self._holder, failure)
            self._note_lost_in_time(failure)

    async def _take(self, timeout_s: float) -> None:
        clock = asyncio.get_running_loop().time
        body = await self._exchange.ask(
            "POST",
            "v1/scan-leases",
            query={"wait_s": f"{timeout_s:.3f}"},
            body={"holder": self._holder, "expires_in_s": self._expires_in_s},
            timeout_s=timeout_s + END_WITHIN_S,
        )
        self._lease_id = read_lease_id(body)
        self._holds_until = clock() + self._expires_in_s

    async def _keep_renewing(self) -> None:
        pause_s = self._expires_in_s / 3
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._renew()
            except ClientError as failure:
                self._note_lost_in_time(failure)
                pause_s = self._expires_in_s / 20
            else:
                pause_s = self._expires_in_s / 3

    async def _renew(self) -> None:
        asked = asyncio.get_running_loop().time()
        try:
            await self._exchange.ask(
                "PUT",
                f"v1/scan-leases/{self._lease_id}",
                body={"expires_in_s": self._expires_in_s},
                timeout_s=self._expires_in_s / 3,
            )
        except ProblemError as problem:
            if problem.status != 404:
                raise
            self._note_lost(problem)
            await self._take(self._expires_in_s / 3)
        else:
            self._holds_until = asked + self._expires_in_s

    def _note_lost_in_time(self, why: ClientError) -> None:
        """Count the lease as lost if it has run out since it was renewed."""
        if asyncio.get_running_loop().time() >= self._holds_until:
            self._note_lost(why)

    def _note_lost(self, why: ClientError) -> None:
        if not self.was_lost:
            _log.warning("the scan lease of %s was lost: %s", self._holder, why)
        self.was_lost = True
