"""Taking images over SharkSEM: hold the scan generator, scan, give it back.

There is one scan generator. A live picture in the microscope's own program is stopped for the length of
a hold and started again at its end. A scan of another client is never disturbed: then the generator is
not taken. Every scan is stopped at its end, as the manual demands, and has an id of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from focusd.config import MicroscopeSettings
from focusd.errors import LinkError, LocalProtocolError, ScanIncompleteError, ScanRefusedError
from focusd.frame import MAX_SIDE_PX, MIN_SIDE_PX, Frame, ImagingConditions, Pixels, ScanRegion, ScanRequest
from focusd.microscope.cleanup import afterwards
from focusd.microscope.link import Answer, Call, Link, call, optional
from focusd.microscope.sharksem_facts import SessionFacts
from focusd.microscope.sharksem_images import ImageConnection
from focusd.microscope.sharksem_values import (
    NM_PER_MM,
    NS_PER_US,
    V_PER_KV,
    nearest_speed,
    number_or_none,
    speeds_us,
    stage_position,
)
from focusd.protocol.sharksem import Flag
from focusd.protocol.sharksem_body import parse_map
from focusd.protocol.sharksem_functions import Version
from focusd.protocol.sharksem_image import ScanAssembler

DWELL_SINCE: Final[Version] = (2, 0, 6)
FLY_BACK_S: Final = 0.001
"""What a line costs beside its dwell times, roughly."""
SCAN_MARGIN_S: Final = 10.0
STILL_POLL_S: Final = (0.02, 0.5)
"""First and longest pause between two questions whether the microscope is at rest, ..."""
STILL_POLLS: Final = 120
"""... and how often it is asked: about a minute, which the slowest stage needs from end to end."""
MAX_CHANNELS: Final = 64
"""More video inputs than any microscope has."""


@dataclass(slots=True)
class _Debt:
    """What focusd has changed for a hold, and must put back."""

    gui_scanning: int
    scan_running: bool = False

    def calls(self) -> list[Call]:
        """Give the calls that put it back."""
        stop = [optional("ScStopScan")] if self.scan_running else []
        restart = [optional("GUISetScanning", self.gui_scanning)] if self.gui_scanning else []
        return stop + restart


# By address. A debt is the microscope's, so it outlives a connection that is lost before it is settled.
_DEBTS: Final[dict[tuple[str, int], _Debt]] = {}


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What stays the same during a hold."""

    detector: str | None
    accelerating_voltage_kv: float | None


class Scanner:
    """Takes images through one session.

    Args:
        link: Control connection.
        images: Data connection.
        settings: Channel, detector, deadlines.
        facts: What the server told of itself.
    """

    def __init__(
        self, link: Link, images: ImageConnection, settings: MicroscopeSettings, facts: SessionFacts
    ) -> None:
        self._link = link
        self._images = images
        self._settings = settings
        self._facts = facts
        self._address = (settings.host, settings.port)
        self._turn = asyncio.Lock()
        self._one_scan = asyncio.Lock()
        self._holders = 0
        self._debt: _Debt | None = None
        self._frame_id = 0
        self._enabled_bits: int | None = None
        self._surroundings: _Surroundings | None = None

    async def settle_debt(self) -> None:
        """Put back what a lost link left changed."""
        debt = _DEBTS.get(self._address)
        if debt is not None:
            await self._exchange(*debt.calls(), call("GetWD"))
            del _DEBTS[self._address]

    async def scan(self, request: ScanRequest) -> Frame:
        """Take one image; see ``Microscope.scan``."""
        _check(request)
        async with self.hold() as debt, self._one_scan:
            dwell_time_us = await self._set_up(request)
            surroundings = await self._read_surroundings()
            answers = await self._exchange(optional("StgGetPosition"), call("GetViewField"), call("GetWD"))
            acquired_at = time.time()
            pixels = await self._acquire(request, dwell_time_us, debt)
        rows, columns = request.shape
        conditions = ImagingConditions(
            rows=rows,
            columns=columns,
            bits_per_pixel=request.bits_per_pixel,
            dwell_time_us=dwell_time_us,
            pixel_size_nm=answers["GetViewField"].number() * NM_PER_MM / request.width,
            detector=surroundings.detector,
            accelerating_voltage_kv=surroundings.accelerating_voltage_kv,
        )
        position = stage_position(answers.get("StgGetPosition"))
        return Frame(pixels, conditions, answers["GetWD"].number(), acquired_at, position)

    # --- the hold ---

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[_Debt]:
        """Have the scan generator for the length of a ``with`` block; see ``Microscope.acquisition``.

        Raises:
            ScanRefusedError: another client scans.
        """
        self._holders += 1
        async with afterwards(self._hand_back):
            async with self._turn:
                debt = self._debt or await self._take_over()
            yield debt

    async def _take_over(self) -> _Debt:
        asks_busy = [call("IsBusy", int(Flag.WAIT_A))] if self._facts.supports("IsBusy") else []
        answers = await self._exchange(*asks_busy, call("GUIGetScanning"))
        debt = _Debt(answers["GUIGetScanning"].integer())
        if asks_busy and answers["IsBusy"].integer() and not debt.gui_scanning:
            raise ScanRefusedError("the beam is scanning for another program")
        # From here on it is owed, whether or not what follows succeeds.
        self._debt = _DEBTS[self._address] = debt
        await self._exchange(optional("GUISetScanning", 0), optional("ScStopScan"), call("GetWD"))
        await self._until_still()
        return debt

    async def _until_still(self) -> None:
        """Wait until stage, optics and automatic procedures are at rest: others may have set them going.

        Raises:
            ScanRefusedError: they do not come to rest.
        """
        if not self._facts.supports("IsBusy"):
            return
        moving = int(Flag.WAIT_B | Flag.WAIT_C | Flag.WAIT_D)
        pause_s = STILL_POLL_S[0]
        for _ in range(STILL_POLLS):
            if not (await self._exchange(call("IsBusy", moving)))["IsBusy"].integer():
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, STILL_POLL_S[1])
        raise ScanRefusedError("stage, optics or an automatic procedure of the microscope are still busy")

    async def _hand_back(self) -> None:
        self._holders -= 1
        async with self._turn:
            # A lost link is told nothing: the debt stays for the next one.
            if self._holders or self._debt is None or not self._link.is_up:
                return
            calls, self._debt = self._debt.calls(), None
            self._enabled_bits = None
            self._surroundings = None
            if calls:
                await self._exchange(*calls, call("GetWD"))
            _DEBTS.pop(self._address, None)

    # --- before a scan ---

    async def _set_up(self, request: ScanRequest) -> float:
        """Make the session send the wanted channel and nothing else; give the dwell time to be had."""
        if self._enabled_bits != request.bits_per_pixel:
            await self._enable_channel(request.bits_per_pixel)
            self._enabled_bits = request.bits_per_pixel
        if self._facts.version >= DWELL_SINCE:
            return request.dwell_time_us
        answers = await self._exchange(call("ScEnumSpeeds"))
        speeds = speeds_us(parse_map(answers["ScEnumSpeeds"].text()))
        speed = nearest_speed(speeds, request.dwell_time_us)
        if speed is None:
            raise ScanRefusedError("the microscope names no scan speed to choose from")
        await self._exchange(optional("ScSetSpeed", speed), call("GetWD"))
        return speeds[speed]

    async def _enable_channel(self, bits_per_pixel: int) -> None:
        wanted = self._settings.channel
        answers = await self._exchange(call("DtGetChannels"))
        channels = min(answers["DtGetChannels"].integer(), MAX_CHANNELS)
        if wanted >= channels:
            raise ScanRefusedError(
                f"microscope.channel is {wanted}, the microscope has channels 0 to {channels - 1}"
            )
        others = [optional("DtEnable", other, 0) for other in range(channels) if other != wanted]
        detector = self._settings.detector
        select = [] if detector is None else [optional("DtSelect", wanted, detector)]
        await self._exchange(
            *others,
            *select,
            optional("DtEnable", wanted, 1, bits_per_pixel),
            # The grey levels as they are measured, not as the operator likes to see them.
            optional("ScLUTSrcSet", 0),
            call("GetWD"),
        )

    async def _read_surroundings(self) -> _Surroundings:
        if self._surroundings is None:
            answers = await self._exchange(
                optional("DtGetSelected", self._settings.channel), optional("HVGetVoltage"), call("GetWD")
            )
            self._surroundings = _Surroundings(
                detector=self._facts.detector(answers.get("DtGetSelected")),
                accelerating_voltage_kv=number_or_none(answers.get("HVGetVoltage"), per=V_PER_KV),
            )
        return self._surroundings

    # --- the scan itself ---

    async def _acquire(self, request: ScanRequest, dwell_time_us: float, debt: _Debt) -> Pixels:
        self._frame_id = self._frame_id % (2**32 - 1) + 1
        assembler = ScanAssembler(
            self._frame_id,
            channel=self._settings.channel,
            bits_per_pixel=request.bits_per_pixel,
            shape=request.shape,
        )

        async def stop() -> None:
            self._images.ignore()
            if debt.scan_running and self._link.is_up:
                await self._exchange(optional("ScStopScan"), call("GetWD"))
                debt.scan_running = False

        async with afterwards(stop):
            ended = self._images.expect(assembler)
            debt.scan_running = True
            await self._start(request, debt)
            rows, columns = request.shape
            beam_time_s = rows * (columns * dwell_time_us * 1e-6 + FLY_BACK_S)
            await _wait_for_end(ended, 2 * beam_time_s + SCAN_MARGIN_S)
            frame = assembler.take_frame()
            if frame is None:
                raise ScanIncompleteError(f"{assembler.missing_px} of {rows * columns} pixels did not come")
            return frame

    async def _start(self, request: ScanRequest, debt: _Debt) -> None:
        region = request.region or ScanRegion(0, 0, request.width, request.height)
        right, bottom = region.x + region.width - 1, region.y + region.height - 1
        window = (request.width, request.height, region.x, region.y, right, bottom)
        dwell = (round(request.dwell_time_us * NS_PER_US),) if self._facts.version >= DWELL_SINCE else ()
        answers = await self._exchange(call("ScScanXY", self._frame_id, *window, 1, *dwell))
        code = answers["ScScanXY"].integer()
        if code != 0:
            # Nothing of ours is running, and what is running may be another's.
            debt.scan_running = False
            raise ScanRefusedError(f"the microscope would not start a scan: ScScanXY gave {code}")

    # --- helpers ---

    async def _exchange(self, *calls: Call) -> dict[str, Answer]:
        return await self._link.exchange(*calls, timeout_s=self._settings.timeouts.request_s)


async def _wait_for_end(ended: asyncio.Future[None], timeout_s: float) -> None:
    """Wait for the last piece; when it stays out, what is missing is counted by the caller."""
    try:
        async with asyncio.timeout(timeout_s):
            await ended
    except LinkError:
        raise
    except TimeoutError:
        return


def _check(request: ScanRequest) -> None:
    """Refuse what no microscope can scan before anything is sent."""
    region = request.region or ScanRegion(0, 0, request.width, request.height)
    inside = (
        region.x >= 0
        and region.y >= 0
        and region.x + region.width <= request.width
        and region.y + region.height <= request.height
    )
    sides = (request.width, request.height, region.width, region.height)
    if not inside or not all(MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in sides):
        raise LocalProtocolError(
            f"a scan and its region have {MIN_SIDE_PX} to {MAX_SIDE_PX} px a side, "
            f"the region inside, got {request}"
        )
    if request.bits_per_pixel not in (8, 16):
        raise LocalProtocolError(f"a scan has 8 or 16 bits per pixel, got {request.bits_per_pixel}")
    if not 1 <= request.dwell_time_us * NS_PER_US < 2**32:
        raise LocalProtocolError(f"a dwell time is 1 ns to 4.29 s, got {request.dwell_time_us:g} us")
