"""Driver for any instrument that has a bridge: a small program beside its own interface.

What the bridge cannot do it says with an error of a known code; that becomes the error of the same meaning
here, with the bridge's words. An instrument that does not even tell its state is as good as gone.

The bridge takes one request after the other and answers a move only when the lens has settled. So a scan
asked for after a readback is begun after it, if the bridge keeps its word; its clock shows when not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from focusd import __version__
from focusd.config import MicroscopeSettings
from focusd.errors import (
    LinkError,
    LocalProtocolError,
    ScanIncompleteError,
    ScanRefusedError,
    WorkingDistanceLimitError,
    WorkingDistanceNotSetError,
)
from focusd.frame import MAX_SIDE_PX, MIN_SIDE_PX, Frame, ScanRequest
from focusd.microscope.bridge_frames import ImageDates, OwnersFrames, OwnersTurn, OwnWork
from focusd.microscope.bridge_images import ImageReceiver, StalenessCheck, frame_of, inside_the_field
from focusd.microscope.bridge_link import BridgeLink, ImagePlace, Reply, open_bridge_link
from focusd.microscope.cleanup import afterwards
from focusd.microscope.interface import Microscope, MicroscopeIdentity, MicroscopeState
from focusd.microscope.observed import FrameListener, TellsFrames
from focusd.protocol.bridge_rpc import ErrorCode, Failure, Params
from focusd.protocol.bridge_values import (
    PROTOCOL_VERSION,
    ColumnState,
    Hello,
    parse_hello,
    parse_state,
    scan_params,
    working_distance,
)

BYTES_PER_MIB: Final = 1 << 20
UM_PER_MM: Final = 1e3
SCAN_MARGIN_S: Final = 10.0
FLY_BACK_S: Final = 0.001
"""What a line costs beside its dwell times, roughly."""
BUSY_PAUSE_S: Final = 0.1
"""Between two questions whether a busy instrument will move now."""
LONGEST_TURN_S: Final = 40.0
"""Longest image of the owner's whose end is waited for, but in a refocus, which has a deadline of its own."""
ROUNDING_MM: Final = 1e-9
"""Two working distances this close are the same number, written and read back as text."""

_log = structlog.get_logger(__name__)


def _readback(result: object) -> float:
    return working_distance(result, "set_working_distance")


class Bridge(Microscope, TellsFrames):
    """A connected bridge; made by ``connect_bridge``."""

    def __init__(
        self, link: BridgeLink, settings: MicroscopeSettings, hello: Hello, limits_mm: tuple[float, float]
    ) -> None:
        self._link = link
        self._settings = settings
        self._hello = hello
        self._limits_mm = limits_mm
        self._staleness = StalenessCheck()
        self._dates = ImageDates()
        self._work = OwnWork()
        self._owners = OwnersTurn()
        self._turn = asyncio.Lock()
        self._holders = 0
        self._frozen = False

    @property
    def identity(self) -> MicroscopeIdentity:
        """Who answers, read once at connect."""
        hello = self._hello
        return MicroscopeIdentity(
            hello.vendor, hello.model, hello.serial, hello.software_version, str(hello.protocol)
        )

    @property
    def limits_mm(self) -> tuple[float, float]:
        """Working distances that the configuration and the bridge both allow."""
        return self._limits_mm

    async def get_state(self) -> MicroscopeState:
        """Read the column and the stage; what the instrument does not tell is ``None``."""
        state = await self._read_state()
        return MicroscopeState(
            working_distance_mm=state.working_distance_mm,
            field_of_view_um=state.field_of_view_um,
            detector=state.detector,
            accelerating_voltage_kv=state.accelerating_voltage_kv,
            probe_current_pa=state.probe_current_pa,
            beam_on=state.beam_on,
            stage_position=state.stage_position,
        )

    async def get_working_distance(self) -> float:
        """Read the working distance in millimetres."""
        return (await self._read_state()).working_distance_mm

    async def set_working_distance(self, working_distance_mm: float) -> float:
        """Move the lens, wait until it has settled, and give the readback in millimetres.

        Raises:
            WorkingDistanceLimitError: outside ``limits_mm``; nothing was sent.
            WorkingDistanceNotSetError: the bridge refused, or the readback differs by more than the
                tolerance.
            LinkError: the outcome is unknown: read back before anything else.
        """
        low_mm, high_mm = self.limits_mm
        # Written so that a not-a-number is refused too.
        if not low_mm <= working_distance_mm <= high_mm:
            raise WorkingDistanceLimitError(working_distance_mm, low_mm, high_mm)
        timeouts = self._settings.timeouts
        reply = await self._ask_patiently(
            "set_working_distance",
            {"working_distance_mm": working_distance_mm},
            timeout_s=timeouts.settle_s + timeouts.request_s,
            patience_s=timeouts.settle_s,
        )
        if isinstance(reply.answer, Failure):
            readback_mm = await self.get_working_distance()
            raise WorkingDistanceNotSetError(working_distance_mm, readback_mm, reply.answer.reason)
        readback_mm = self._link.read(_readback, reply.answer.value)
        tolerance_mm = self._settings.working_distance_tolerance_um / UM_PER_MM + ROUNDING_MM
        if abs(readback_mm - working_distance_mm) > tolerance_mm:
            raise WorkingDistanceNotSetError(working_distance_mm, readback_mm)
        return readback_mm

    @asynccontextmanager
    async def acquisition(self) -> AsyncIterator[None]:
        """Keep automatic contrast, where the bridge can, from changing between several scans.

        Raises:
            ScanRefusedError: the bridge would not.
        """
        if "freeze_auto_contrast" not in self._hello.capabilities:
            with self._work.held():
                yield
            return
        self._holders += 1
        async with afterwards(self._thaw):
            async with self._turn:
                if not self._frozen:
                    # From here on it is owed, whether or not the bridge answers.
                    self._frozen = True
                    await self._freeze(frozen=True)
            with self._work.held():
                yield

    async def scan(self, request: ScanRequest) -> Frame:
        """Take one image that starts after this call; an instrument that is busy is asked again for a while.

        A bridge cannot break a scan off: when this is cancelled, what is asked next waits for its end.

        Raises:
            ScanRefusedError: the bridge would not start, or the image is larger than is accepted.
            ScanIncompleteError: the image was begun before it was asked for.
        """
        image = ImageReceiver(request)
        self._check(request, image)
        rows, columns = request.shape
        beam_time_s = rows * (columns * request.dwell_time_us * 1e-6 + FLY_BACK_S)
        reply = await self._ask_patiently(
            "scan",
            scan_params(request),
            timeout_s=2 * beam_time_s + SCAN_MARGIN_S,
            patience_s=self._settings.timeouts.request_s,
            image=image.place,
        )
        acquired_at = time.time() - (asyncio.get_running_loop().time() - reply.sent_at)
        if isinstance(reply.answer, Failure):
            raise ScanRefusedError(f"the microscope would not scan: {reply.answer.reason}")
        info, pixels = self._link.read(lambda _: image.take(), reply.answer.value)
        stale = self._staleness.judge(info, sent_at=reply.sent_at, came_at=reply.came_at)
        if stale:
            raise ScanIncompleteError(stale)
        self._dates.note_scan(info, sent_at=reply.sent_at, came_at=reply.came_at)
        return frame_of(request, info, pixels, acquired_at)

    async def subscribe(self, listener: FrameListener, *, most_bytes: int) -> None:
        """Tell of each image that the instrument's owner acquires, as long as the connection lasts.

        Raises:
            LinkError: the bridge cannot tell of any.
        """
        if "subscribe" not in self._hello.capabilities:
            raise LinkError(
                'the bridge cannot tell of the images that its owner acquires, as frames.source = "stream" '
                "needs: subscribe is not among its capabilities"
            )
        self._link.listener = OwnersFrames(listener, most_bytes, self._work, self._dates, self._owners)
        await self._link.demand("subscribe", lambda _: None, timeout_s=self._settings.timeouts.request_s)

    async def ping(self) -> float:
        """Ask for a sign of life; give the round trip in seconds."""
        started = time.monotonic()
        if "ping" in self._hello.capabilities:
            await self._link.demand("ping", lambda _: None, timeout_s=self._settings.timeouts.request_s)
        else:
            await self._read_state()
        return time.monotonic() - started

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` from the event loop when the connection fails."""
        self._link.on_lost(callback)

    def on_overdue(self, callback: Callable[[bool], object]) -> None:
        """Call ``callback`` when an answer is overdue, and when one has come."""
        self._link.on_overdue(callback)

    # --- private ---

    async def _ask_patiently(
        self,
        method: str,
        params: Params,
        *,
        timeout_s: float,
        patience_s: float,
        image: ImagePlace | None = None,
    ) -> Reply:
        """Ask for a move or a scan, and again while the instrument is busy.

        It may be busy with what a lost connection began, or with an image of its owner's. The end of such an
        image is waited for, by what the last one took, and seen by its coming.
        """
        longest_s = float("inf") if self._work.is_held else LONGEST_TURN_S
        until = time.monotonic() + patience_s + min(self._owners.took_s, longest_s)
        while True:
            self._work.begin()
            is_busy = False
            try:
                reply = await self._link.exchange(method, params, timeout_s=timeout_s, image=image)
                answer = reply.answer
                is_busy = isinstance(answer, Failure) and answer.kind is ErrorCode.BUSY
            finally:
                self._work.end(was_done=not is_busy)
            if not is_busy or time.monotonic() >= until:
                return reply
            await self._owners.over(timeout_s=BUSY_PAUSE_S)

    async def _read_state(self) -> ColumnState:
        return await self._link.demand("get_state", parse_state, timeout_s=self._settings.timeouts.request_s)

    def _check(self, request: ScanRequest, image: ImageReceiver) -> None:
        """Refuse what cannot come before anything is sent."""
        if not inside_the_field(request):
            raise LocalProtocolError(
                f"a scan and its region have {MIN_SIDE_PX} to {MAX_SIDE_PX} px a side, "
                f"the region inside, got {request}"
            )
        most_mib = self._settings.max_payload_mib
        if image.most_bytes > most_mib * BYTES_PER_MIB:
            raise ScanRefusedError(
                f"the image may take {image.most_bytes} bytes, "
                f"microscope.max_payload_mib allows {most_mib} MiB"
            )

    async def _thaw(self) -> None:
        self._holders -= 1
        async with self._turn:
            # The bridge itself ends a freeze with the connection.
            if self._holders or not self._frozen or not self._link.is_up:
                return
            self._frozen = False
            try:
                await self._freeze(frozen=False)
            except ScanRefusedError as error:
                _log.warning("auto_contrast_not_released", error=str(error))

    async def _freeze(self, *, frozen: bool) -> None:
        reply = await self._link.exchange(
            "freeze_auto_contrast", {"frozen": frozen}, timeout_s=self._settings.timeouts.request_s
        )
        if isinstance(reply.answer, Failure):
            raise ScanRefusedError(f"automatic contrast cannot be held: {reply.answer.reason}")


@asynccontextmanager
async def connect_bridge(settings: MicroscopeSettings) -> AsyncIterator[Bridge]:
    """Open a connection for the length of a ``with`` block.

    Raises:
        LinkTimeoutError: no connection or no answer in time.
        LinkError: no connection, another version of the protocol, or limits that leave no room.
    """
    timeouts = settings.timeouts
    async with open_bridge_link(
        settings.host,
        settings.port,
        timeout_s=timeouts.connect_s,
        max_payload_bytes=settings.max_payload_mib * BYTES_PER_MIB,
    ) as link:
        params = {"protocol": PROTOCOL_VERSION, "client": f"focusd {__version__}"}
        hello = await link.demand("hello", parse_hello, params=params, timeout_s=timeouts.request_s)
        if hello.protocol != PROTOCOL_VERSION:
            raise LinkError(f"the bridge speaks protocol {hello.protocol}, focusd {PROTOCOL_VERSION}")
        yield Bridge(link, settings, hello, _common_limits(settings, hello))


def _common_limits(settings: MicroscopeSettings, hello: Hello) -> tuple[float, float]:
    ours, theirs = settings.limits.working_distance_mm, hello.limits_mm
    low_mm, high_mm = max(ours[0], theirs[0]), min(ours[1], theirs[1])
    if low_mm >= high_mm:
        raise LinkError(
            f"microscope.limits allow {ours[0]:g} to {ours[1]:g} mm, "
            f"the bridge {theirs[0]:g} to {theirs[1]:g} mm: nothing in common"
        )
    return low_mm, high_mm
