"""The relay's clients as neighbours: their frames are judged, and their scans wait while focus is mended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from focusd.config import MicroscopeSettings, RelaySettings
from focusd.errors import StoreError
from focusd.frame import Frame
from focusd.microscope.interface import MicroscopeState
from focusd.records import FrameVerdict, Verdict
from focusd.service.neighbours import RelayStatus
from focusd.service.pending import Due
from focusd.sources.relay.events import (
    ClientMoved,
    HoldExpiring,
    RelayEvent,
    ScanEnded,
    ScanHeld,
    ScanStarted,
    SessionClosed,
)
from focusd.sources.relay.frames import FrameQueue, RelayedFrame
from focusd.sources.relay.gate import ScanGate
from focusd.sources.relay.server import Relay
from focusd.sources.relay.shared import RelayOptions

_log = structlog.get_logger(__name__)

JUDGING = "focusd looks whether focus is lost"
REFOCUSING = "focus is being mended"
IDLE_S = 1.0
"""A client without a scan for so long is not between two tiles."""


class Owner(Protocol):
    """Who the clients' doings are told to."""

    async def observe_relayed(self, frame: Frame) -> tuple[FrameVerdict, Due | None]:
        """Judge a client's frame; give the refocus that is to come before the clients' next scan."""

    def lens_was_moved(self) -> None:
        """A client has moved the lens by its own will."""

    def clients_wait_no_longer(self) -> None:
        """A client's scan will soon be let through, whatever focusd is at."""

    def wake(self) -> None:
        """Something has changed that may be waited for."""


class RelayClients:
    """Runs the relay.

    In the ordinary course nothing is delayed: while one scan runs the frame before it is judged, and only
    when that takes longer than the scan does the next one wait. After a frame that was not plainly in focus
    each scan waits for the verdict on the one before, and for the refocus if there is one.

    Args:
        settings: Where it listens.
        microscope: Where it leads to.
    """

    def __init__(self, settings: RelaySettings, microscope: MicroscopeSettings) -> None:
        host, port = settings.address
        self._max_wait_s = settings.max_hold_s
        self._gate = ScanGate()
        self._frames = FrameQueue()
        self._owner: Owner | None = None
        self._in_focus = False
        self._unjudged = 0
        self._waits = False
        self._relay = Relay(
            RelayOptions(
                microscope.host,
                microscope.port,
                host=host,
                port=port,
                max_hold_s=settings.max_hold_s,
                connect_timeout_s=microscope.timeouts.connect_s,
            ),
            on_frame=self._take_frame,
            on_event=self._take_event,
            is_behind=lambda: self._frames.is_full,
            gate=self._gate,
        )
        self._host = host

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen for the length of an ``async with`` block.

        Raises:
            OSError: the address cannot be listened on; the message names ``relay.listen``.
        """
        try:
            await self._relay.__aenter__()
        except OSError as error:
            raise OSError(error.errno, f"relay.listen: {error.strerror or error}") from error
        try:
            yield
        finally:
            await self._relay.__aexit__(None, None, None)

    async def serve(self, owner: Owner) -> None:
        """Judge what passes, for ever."""
        self._owner = owner
        while True:
            relayed = await self._frames.get()
            try:
                await self._judge(relayed.frame, owner)
            except StoreError as error:
                _log.error("relayed_frame_not_judged", error=str(error))
            except Exception:  # noqa: BLE001 - whatever fails here, the clients' bytes must go on flowing
                _log.exception("relayed_frame_not_judged")
            finally:
                self._unjudged = len(self._frames)
                self._regulate()

    # --- as neighbours ---

    @property
    def is_scanning(self) -> bool:
        """Whether a client's scan is running."""
        return self._relay.is_scanning

    @property
    def lets_begin(self) -> bool:
        """Whether all clients wait: between two scans they may still move the stage, or stop any scan."""
        return not self._relay.is_scanning and (self._relay.is_holding or not self._relay.clients)

    @property
    def status(self) -> RelayStatus:
        """Clients and counts."""
        counters = self._relay.counters
        return RelayStatus(
            address=f"{self._host}:{self._relay.port}",
            clients=self._relay.clients,
            is_scanning=self._relay.is_scanning,
            frames=counters.frames,
            frames_dropped=self._frames.dropped,
            scans_held=counters.scans_held,
            holds_timed_out=counters.holds_timed_out,
        )

    @asynccontextmanager
    async def turn(self, what: str) -> AsyncIterator[None]:
        """Let new scans wait, and begin when one does; idle clients are not waited for."""
        with self._gate.closed(what):
            async with asyncio.timeout(self._max_wait_s):
                await self._relay.wait_idle()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_S):
                    await self._relay.wait_held()
            yield

    def mark(self) -> int:
        """Count the moves that clients made."""
        return self._relay.column.moves + self._relay.column.journeys

    def learn(self, state: MicroscopeState, mark: int) -> None:
        """Label the clients' frames with a reading, unless something was moved meanwhile."""
        if mark == self.mark():
            self._relay.learn(state)

    # --- what passes ---

    def _take_frame(self, relayed: RelayedFrame) -> None:
        self._frames.put(relayed)
        self._unjudged += 1
        self._regulate()

    async def _judge(self, frame: Frame, owner: Owner) -> None:
        verdict, due = await owner.observe_relayed(frame)
        self._in_focus = verdict.verdict in {Verdict.IN_FOCUS, Verdict.UNJUDGEABLE}
        if due is not None:
            self._gate.close(REFOCUSING)
            due.ended.add_done_callback(lambda _: self._gate.open(REFOCUSING))

    def _regulate(self) -> None:
        """Let scans wait while more frames are unjudged than is well."""
        waits = self._unjudged > (1 if self._in_focus else 0)
        if waits is not self._waits:
            self._waits = waits
            (self._gate.close if waits else self._gate.open)(JUDGING)

    def _take_event(self, event: RelayEvent) -> None:
        owner = self._owner
        if owner is None:
            return
        match event:
            case ClientMoved():
                owner.lens_was_moved()
            case HoldExpiring():
                owner.clients_wait_no_longer()
            case ScanStarted():
                if self._relay.column.working_distance_mm is None:
                    owner.wake()
            case ScanEnded() | ScanHeld() | SessionClosed():
                owner.wake()
            case _:
                pass
