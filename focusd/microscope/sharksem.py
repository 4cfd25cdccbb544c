"""Driver for TESCAN microscopes over SharkSEM.

A session is a control connection (``link``) and a data connection (``sharksem_images``). Functions
without a result are sent together with one that is always answered, so that each exchange proves that
everything in it has been carried out.

The server limits values silently and settles slowly. So a move is: check the limits, command, wait until
the optics report to be stable, read back, compare.

Source: TESCAN, SharkSEM Remote Control manual 2.0.25, and the C# library's manual 3.2.20.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from focusd.config import MicroscopeSettings
from focusd.errors import LinkTimeoutError, WorkingDistanceLimitError, WorkingDistanceNotSetError
from focusd.frame import Frame, ScanRequest
from focusd.microscope.interface import Microscope, MicroscopeIdentity, MicroscopeState
from focusd.microscope.link import Answer, Call, Link, call, open_link, optional
from focusd.microscope.sharksem_facts import SessionFacts, read_facts
from focusd.microscope.sharksem_images import open_images
from focusd.microscope.sharksem_scan import Scanner
from focusd.microscope.sharksem_values import UM_PER_MM, V_PER_KV, number_or_none, stage_position
from focusd.protocol.sharksem import Flag

FIRST_POLL_S: Final = 0.01
LONGEST_POLL_S: Final = 0.1
BLIND_POLL_S: Final = 0.25
"""Between two readings of the lens where the server cannot tell whether it has settled."""
ROUNDING_MM: Final = 1e-9
"""Two working distances this close are the same number, written and read back as text."""


class SharkSem(Microscope):
    """A connected TESCAN microscope; made by ``connect_sharksem``."""

    def __init__(
        self, link: Link, scanner: Scanner, settings: MicroscopeSettings, facts: SessionFacts
    ) -> None:
        self._link = link
        self._scanner = scanner
        self._settings = settings
        self._facts = facts

    @property
    def identity(self) -> MicroscopeIdentity:
        """Who answers, read once at connect."""
        return self._facts.identity

    @property
    def limits_mm(self) -> tuple[float, float]:
        """Lowest and highest working distance that may be commanded."""
        return self._settings.limits.working_distance_mm

    async def get_state(self) -> MicroscopeState:
        """Read the column and the stage; what this model does not answer is ``None``."""
        answers = await self._exchange(
            optional("GetViewField"),
            optional("DtGetSelected", self._settings.channel),
            optional("HVGetVoltage"),
            optional("HVGetBeam"),
            *([optional("GetBeamCurrent")] if self._facts.supports("GetBeamCurrent") else []),
            optional("StgGetPosition"),
            call("GetWD"),
        )
        beam = answers.get("HVGetBeam")
        view_field_um = number_or_none(answers.get("GetViewField"), times=UM_PER_MM)
        return MicroscopeState(
            working_distance_mm=answers["GetWD"].number(),
            field_of_view_um=view_field_um,
            detector=self._facts.detector(answers.get("DtGetSelected")),
            accelerating_voltage_kv=number_or_none(answers.get("HVGetVoltage"), per=V_PER_KV),
            probe_current_pa=number_or_none(answers.get("GetBeamCurrent")),
            beam_on={0: False, 1: True}.get(beam.integer()) if beam else None,
            stage_position=stage_position(answers.get("StgGetPosition")),
        )

    async def get_working_distance(self) -> float:
        """Read the working distance in millimetres."""
        answers = await self._exchange(call("GetWD"))
        return answers["GetWD"].number()

    async def set_working_distance(self, working_distance_mm: float) -> float:
        """Move the lens, wait until it has settled, and give the readback in millimetres.

        Raises:
            WorkingDistanceLimitError: outside ``limits_mm``; nothing was sent.
            WorkingDistanceNotSetError: the readback differs by more than the tolerance.
            LinkTimeoutError: the lens did not settle in time; the connection is closed.
            LinkError: the outcome is unknown: read back before anything else.
        """
        low_mm, high_mm = self.limits_mm
        # Written so that a not-a-number is refused too.
        if not low_mm <= working_distance_mm <= high_mm:
            raise WorkingDistanceLimitError(working_distance_mm, low_mm, high_mm)
        await self._exchange(optional("SetWD", working_distance_mm), call("GetWD"))
        readback_mm = await self._settled()
        tolerance_mm = self._settings.working_distance_tolerance_um / UM_PER_MM + ROUNDING_MM
        if abs(readback_mm - working_distance_mm) > tolerance_mm:
            raise WorkingDistanceNotSetError(working_distance_mm, readback_mm)
        return readback_mm

    @asynccontextmanager
    async def acquisition(self) -> AsyncIterator[None]:
        """Hold the scan generator for several scans.

        Raises:
            ScanRefusedError: the beam is scanning for another program.
        """
        async with self._scanner.hold():
            yield

    async def scan(self, request: ScanRequest) -> Frame:
        """Take one image that starts after this call; cancelling stops the beam's scan.

        Raises:
            ScanRefusedError: the microscope would not start, or scans for another program.
            ScanIncompleteError: pixels are missing.
        """
        return await self._scanner.scan(request)

    async def ping(self) -> float:
        """Ask for a sign of life; give the round trip in seconds."""
        started = time.monotonic()
        await self._exchange(call("GetWD"))
        return time.monotonic() - started

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` from the event loop when the connection fails."""
        self._link.on_lost(callback)

    def on_overdue(self, callback: Callable[[bool], object]) -> None:
        """Call ``callback`` when an answer is overdue, and when one has come."""
        self._link.on_overdue(callback)

    async def _settled(self) -> float:
        """Wait until the lens has settled and give the working distance read after that."""
        settle_s = self._settings.timeouts.settle_s
        try:
            async with asyncio.timeout(settle_s) as deadline:
                if self._facts.supports("IsBusy"):
                    return await self._settled_by_report()
                return await self._settled_by_readings()
        except TimeoutError as error:
            if not deadline.expired():
                raise
            failure = LinkTimeoutError(f"the lens did not settle within {settle_s:g} s")
            self._link.fail(failure)
            raise failure from error

    async def _settled_by_report(self) -> float:
        pause_s = FIRST_POLL_S
        while True:
            # In this order: the reading was taken when the optics had become stable.
            answers = await self._exchange(call("IsBusy", int(Flag.WAIT_C)), call("GetWD"))
            if not answers["IsBusy"].integer():
                return answers["GetWD"].number()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_POLL_S)

    async def _settled_by_readings(self) -> float:
        before_mm = await self.get_working_distance()
        while True:
            await asyncio.sleep(BLIND_POLL_S)
            now_mm = await self.get_working_distance()
            if now_mm == before_mm:
                return now_mm
            before_mm = now_mm

    async def _exchange(self, *calls: Call) -> dict[str, Answer]:
        return await self._link.exchange(*calls, timeout_s=self._settings.timeouts.request_s)


@asynccontextmanager
async def connect_sharksem(settings: MicroscopeSettings) -> AsyncIterator[SharkSem]:
    """Open a session for the length of a ``with`` block.

    Raises:
        LinkTimeoutError: no connection or no answer in time.
        LinkError: no connection, or a refusal.
    """
    timeouts = settings.timeouts
    async with open_link(settings.host, settings.port, timeout_s=timeouts.connect_s) as link:
        facts = await read_facts(link, timeout_s=timeouts.request_s)
        # Leaving closes the images before the control connection, as the manual wants it.
        async with open_images(
            link, connect_timeout_s=timeouts.connect_s, request_timeout_s=timeouts.request_s
        ) as images:
            scanner = Scanner(link, images, settings, facts)
            await scanner.settle_debt()
            yield SharkSem(link, scanner, settings, facts)
