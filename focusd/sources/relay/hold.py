"""Letting a client's new scans wait while the gate is closed."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from focusd.protocol.sharksem_orders import SCAN_REQUESTS
from focusd.protocol.sharksem_parts import Part
from focusd.sources.relay.events import HoldExpiring, ScanHeld, ScanReleased
from focusd.sources.relay.lane import Delay
from focusd.sources.relay.shared import Surroundings

_log = structlog.get_logger(__name__)


class ScanHold:
    """Holds one client's scans at the gate, never longer than ``max_hold_s``.

    Shortly before that the owner is told, so that it can leave the microscope to the client in time.
    """

    def __init__(self, session: int, around: Surroundings) -> None:
        self._session = session
        self._around = around
        self.active = False

    def delay(self, part: Part) -> Delay | None:
        """Give what a part has to wait for, if it begins a scan and the gate is closed."""
        if self._around.gate.is_open or not (part.begins and part.head.name in SCAN_REQUESTS):
            return None
        return partial(self._wait, part.head.name)

    async def _wait(self, command: str) -> None:
        around, loop = self._around, asyncio.get_running_loop()
        around.counters.scans_held += 1
        _log.info("relay_scan_held", session=self._session, command=command, reason=around.gate.reason)
        since = loop.time()
        self.active = True
        around.on_event(ScanHeld(self._session, command, around.gate.reason))
        try:
            opened = await self._opens_in_time(command)
        finally:
            self.active = False
            held_s = loop.time() - since
            around.counters.held_s += held_s
        if opened:
            _log.info("relay_scan_released", session=self._session, command=command, held_s=round(held_s, 3))
        else:
            around.counters.holds_timed_out += 1
            _log.warning(
                "relay_hold_timed_out", session=self._session, command=command, held_s=round(held_s, 3)
            )
        around.on_event(ScanReleased(self._session, command, held_s, timed_out=not opened))

    async def _opens_in_time(self, command: str) -> bool:
        max_hold_s, notice_s = self._around.options.max_hold_s, self._around.options.notice_s
        notice_s = min(notice_s, max_hold_s / 2)
        if await self._opens_within(max_hold_s - notice_s):
            return True
        self._around.on_event(HoldExpiring(self._session, command, notice_s))
        return await self._opens_within(notice_s)

    async def _opens_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._around.gate.wait_open()
        except TimeoutError:
            return False
        return True
