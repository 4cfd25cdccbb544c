"""A microscope whose every call renews the owner's promise of progress, and cannot outlast it.

Drivers give each exchange a deadline of its own, and a call may be many exchanges. Here each call as a whole
is bounded as well, far above what a slow microscope needs: so the heartbeat can tell an instrument that is
slow or away, which is no fault of the daemon, from an owner that hangs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final, TypeVar

from focusd.config import Timeouts
from focusd.errors import LinkError, LinkTimeoutError
from focusd.frame import Frame, ScanRequest
from focusd.microscope.interface import Microscope, MicroscopeIdentity, MicroscopeState, TellsOverdue
from focusd.service.heartbeat import Heartbeat

T = TypeVar("T")

MOST_ANSWERS: Final = 20
"""A call of a driver is made of fewer questions than this; each may take ``request_s`` to be answered."""
REST_S: Final = 120.0
"""For stage, optics and automatic procedures to come to rest before a scan."""
SLOWEST_SCAN: Final = 20.0
"""An old server may have no speed nearer to the dwell time asked for than so many times as slow."""


class AttendedMicroscope(Microscope):
    """Passes every call on; made by ``attended``."""

    def __init__(self, microscope: Microscope, heartbeat: Heartbeat, timeouts: Timeouts) -> None:
        self._microscope = microscope
        self._heartbeat = heartbeat
        self._answers_s = MOST_ANSWERS * timeouts.request_s
        self._settle_s = 2 * timeouts.settle_s

    @property
    def identity(self) -> MicroscopeIdentity:
        """Who answers."""
        return self._microscope.identity

    @property
    def limits_mm(self) -> tuple[float, float]:
        """Lowest and highest working distance that may be commanded."""
        return self._microscope.limits_mm

    async def get_state(self) -> MicroscopeState:
        """Read the column and the stage."""
        return await self._attend("reading the column", self._microscope.get_state(), self._answers_s)

    async def get_working_distance(self) -> float:
        """Read the working distance in millimetres."""
        reading = self._microscope.get_working_distance()
        return await self._attend("reading the working distance", reading, self._answers_s)

    async def set_working_distance(self, working_distance_mm: float) -> float:
        """Move the lens; see ``Microscope.set_working_distance``."""
        move = self._microscope.set_working_distance(working_distance_mm)
        return await self._attend("moving the lens", move, self._settle_s + self._answers_s)

    @asynccontextmanager
    async def acquisition(self) -> AsyncIterator[None]:
        """Hold the scan generator for several scans."""
        waits_s = REST_S + self._answers_s
        async with AsyncExitStack() as stack:
            entering = stack.enter_async_context(self._microscope.acquisition())
            await self._attend("taking the scan generator", entering, waits_s)
            try:
                yield
            finally:
                self._heartbeat.expect(waits_s)

    async def scan(self, request: ScanRequest) -> Frame:
        """Take one image; see ``Microscope.scan``."""
        waits_s = SLOWEST_SCAN * request.beam_time_s + REST_S + 2 * self._answers_s
        return await self._attend("a scan", self._microscope.scan(request), waits_s)

    async def ping(self) -> float:
        """Ask for a sign of life; give the round trip in seconds."""
        return await self._attend("a sign of life", self._microscope.ping(), self._answers_s)

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` from the event loop when the connection fails."""
        self._microscope.on_lost(callback)

    def on_overdue(self, callback: Callable[[bool], object]) -> None:
        """Call ``callback`` when an answer is overdue, and when one has come; if the driver can tell."""
        if isinstance(self._microscope, TellsOverdue):
            self._microscope.on_overdue(callback)

    async def _attend(self, what: str, work: Awaitable[T], within_s: float) -> T:
        return await _attend(self._heartbeat, what, work, within_s)


@asynccontextmanager
async def attended(
    connecting: AbstractAsyncContextManager[Microscope], heartbeat: Heartbeat, timeouts: Timeouts
) -> AsyncIterator[AttendedMicroscope]:
    """Connect for the length of a ``with`` block, and attend every call.

    Raises:
        LinkTimeoutError: connecting took longer than any microscope should.
        LinkError: as the driver raises.
    """
    answers_s = MOST_ANSWERS * timeouts.request_s
    async with AsyncExitStack() as stack:
        entering = stack.enter_async_context(connecting)
        microscope = await _attend(heartbeat, "connecting", entering, 2 * timeouts.connect_s + answers_s)
        try:
            yield AttendedMicroscope(microscope, heartbeat, timeouts)
        finally:
            heartbeat.expect(answers_s)


async def _attend(heartbeat: Heartbeat, what: str, work: Awaitable[T], within_s: float) -> T:
    """Do what waits for the microscope, with the owner's promise until it is done."""
    heartbeat.expect(within_s)
    try:
        async with asyncio.timeout(within_s) as deadline:
            return await work
    except LinkError:
        raise
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise LinkTimeoutError(f"{what} took longer than {within_s:g} s") from error
    finally:
        heartbeat.expect()
