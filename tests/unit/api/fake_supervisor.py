"""A supervisor in miniature for the endpoint's tests: one lens, one refocus at a time, a real store.

It does what the true one promises, without optics: the test says when a scan or a refocus ends.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from focusd.config import Config
from focusd.errors import (
    BusyError,
    NotConnectedError,
    NotFoundError,
    PausedError,
    WorkingDistanceLimitError,
)
from focusd.frame import Frame, ImagingConditions, StagePosition
from focusd.microscope.connection import LinkState
from focusd.microscope.interface import Microscope, MicroscopeIdentity, MicroscopeState
from focusd.records import (
    Baseline,
    FrameVerdict,
    RefocusRecord,
    RefocusResult,
    RefocusScan,
    RefocusTrigger,
    ScanRole,
    Verdict,
)
from focusd.service.heartbeat import Heartbeat
from focusd.service.keeper import ScanAnswer
from focusd.service.pending import Due, PendingRefocus
from focusd.service.status import DaemonState, LinkStatus, Status
from focusd.service.supervisor import Supervisor
from focusd.service.surface import Surfaces
from focusd.service.turns import Turns
from focusd.store.database import Store

LIMITS_MM = (4.0, 30.0)
START_MM = 9.0
CONDITIONS = ImagingConditions(
    rows=512, columns=512, bits_per_pixel=8, dwell_time_us=1.0, pixel_size_nm=10.0, detector="SE"
)


def verdict(frame_id: int, **changes: object) -> FrameVerdict:
    """A frame in focus."""
    frame = FrameVerdict(
        frame_id=frame_id,
        acquired_at=1_800_000_000.0 + frame_id,
        verdict=Verdict.IN_FOCUS,
        condition=CONDITIONS.key,
        reason=None,
        metric="band_ratio",
        sharpness=0.25,
        sharpness_standard_error=0.01,
        baseline_sharpness=0.26,
        ratio=0.96,
        laplacian_variance=120.0,
        signal_to_noise=8.0,
        saturated_fraction=0.0,
        working_distance_mm=START_MM,
        stage_position=StagePosition(x_mm=1.5, y_mm=-2.0),
    )
    return replace(frame, **changes)  # type: ignore[arg-type] # the test names the fields


def baseline(**changes: object) -> Baseline:
    """A baseline as a refocus leaves it."""
    kept = Baseline(
        conditions=CONDITIONS,
        sharpness={"band_ratio": 0.26, "log_energy": 900.0},
        source="refocus",
        created_at=1_800_000_000.0,
        frames=1,
        working_distance_mm=START_MM,
    )
    return replace(kept, **changes)  # type: ignore[arg-type] # the test names the fields


CONFIG = Config.model_validate(
    {"microscope": {"limits": {"working_distance_mm": LIMITS_MM}}, "baseline": {"policy": "manual"}}
)


def _never() -> AbstractAsyncContextManager[Microscope]:
    raise AssertionError("this supervisor has no microscope")


class FakeSupervisor:
    """Keeps a lens that nobody looks through.

    Attributes:
        is_alive: What the owner's heartbeat says.
        connected: Whether there is a microscope.
        fault: Raised by the next verb that would do something, once.
        lens_mm: Where the lens stands.
        scan_ends: A scan waits for this.
        lens_is_back: A cancelled refocus waits for this.
        waiting: Set while somebody waits for a scan or for the end of a refocus.
        abandoned_waits: How often somebody gave that up.
        looks: How often the status was read.
        state: The status's state, if the test wants another than follows.
        pending: A refocus that is wanted.
        paused_because: Why it is paused.
        last_verdict: Of the last frame.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._true = Supervisor(CONFIG, store, connect=_never, heartbeat=Heartbeat())
        self.is_alive = True
        self.connected = True
        self.fault: Exception | None = None
        self.lens_mm = START_MM
        self.scan_ends = asyncio.Event()
        self.scan_ends.set()
        self.lens_is_back = asyncio.Event()
        self.lens_is_back.set()
        self.waiting = asyncio.Event()
        self.abandoned_waits = 0
        self.looks = 0
        self.state: DaemonState | None = None
        self.pending: PendingRefocus | None = None
        self.paused_because: str | None = None
        self.last_verdict: FrameVerdict | None = None
        self._running: RefocusRecord | None = None
        self._ended: asyncio.Event = asyncio.Event()
        self._last: RefocusRecord | None = None

    # --- what the endpoint may call ---

    @property
    def store(self) -> Store:
        """What is remembered."""
        return self._store

    @property
    def turns(self) -> Turns:
        """Those of a true supervisor that never connects."""
        return self._true.turns

    @property
    def surfaces(self) -> Surfaces:
        """Those of a true supervisor."""
        return self._true.surfaces

    async def judge(self, frame: Frame, *, is_awaited: bool = False) -> tuple[FrameVerdict, Due | None]:
        """Judge in earnest."""
        self._raise_fault()
        return await self._true.judge(frame, is_awaited=is_awaited)

    async def wait_for_due(self, due: Due, *, timeout_s: float) -> RefocusRecord | None:
        """Wait for a refocus that never begins."""
        return await self._true.wait_for_due(due, timeout_s=timeout_s)

    @property
    def status(self) -> Status:
        """The present snapshot."""
        self.looks += 1
        state, reason = self._state()
        return Status(
            state=state,
            version="0.1.0",
            started_at=1_800_000_000.0,
            updated_at=1_800_000_100.0,
            link=LinkStatus(
                connected=self.connected,
                address="127.0.0.1:8300",
                since=1_800_000_010.0,
                error=None if self.connected else reason,
                round_trip_s=0.001 if self.connected else None,
                state=LinkState.CONNECTED if self.connected else LinkState.DISCONNECTED,
            ),
            limits_mm=LIMITS_MM,
            microscope=MicroscopeIdentity(vendor="TESCAN", model="MIRA", serial="117-0042"),
            column=MicroscopeState(working_distance_mm=self.lens_mm, field_of_view_um=100.0, beam_on=True)
            if self.connected
            else None,
            working_distance_setpoint_mm=START_MM,
            last_verdict=self.last_verdict,
            baseline=baseline(),
            current_refocus=self._running,
            last_refocus=self._last,
            reason=reason,
            pending_refocus=self.pending,
            scan_leases=self._true.status.scan_leases,
        )

    async def scan(self) -> ScanAnswer:
        """Take a frame when ``scan_ends`` is set."""
        self._refuse()
        await self._wait(self.scan_ends)
        frame = verdict(await self._store.frames.next_id())
        await self._store.frames.append(frame)
        self.last_verdict = frame
        return ScanAnswer(frame)

    async def start_refocus(self, *, keep_spectra: bool | None = None) -> RefocusRecord:
        """Begin; the test calls ``finish``."""
        self._refuse()
        self._refuse_while_busy()
        record = RefocusRecord(
            refocus_id=await self._store.refocuses.next_id(),
            trigger=RefocusTrigger.REQUEST,
            method="brent",
            metric="log_energy",
            condition=CONDITIONS.key,
            started_at=time.time(),
            start_working_distance_mm=START_MM,
            max_scans=14,
            keep_spectra=keep_spectra is True,
        )
        await self._store.refocuses.insert(record)
        self._running, self._ended = record, asyncio.Event()
        return record

    async def wait_for_refocus(self, refocus_id: int, *, timeout_s: float | None = None) -> RefocusRecord:
        """Wait for ``finish`` or for a cancel."""
        if self._running is not None and self._running.refocus_id == refocus_id:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wait(self._ended)
            except TimeoutError:
                pass
        return await self.get_refocus(refocus_id)

    async def get_refocus(self, refocus_id: int) -> RefocusRecord:
        """Give the record as it stands."""
        if self._running is not None and self._running.refocus_id == refocus_id:
            return self._running
        record = await self._store.refocuses.get(refocus_id)
        if record is None:
            raise NotFoundError(f"there is no refocus {refocus_id}")
        return record

    def cancel_refocus(self, refocus_id: int, *, reason: str = "cancelled on request") -> None:
        """End the refocus as soon as the lens is back."""
        if self._running is None or self._running.refocus_id != refocus_id:
            raise NotFoundError(f"refocus {refocus_id} is not queued or running")
        self._cancelling = asyncio.get_running_loop().create_task(self._put_back(reason))

    async def pause(self, reason: str) -> None:
        """Take the hands off."""
        self._raise_fault()
        self.paused_because = reason

    async def resume(self) -> None:
        """Go on."""
        self._raise_fault()
        self.paused_because = None

    async def set_working_distance(self, working_distance_mm: float) -> float:
        """Move the lens, which settles a little beside the setpoint."""
        low_mm, high_mm = LIMITS_MM
        if not low_mm <= working_distance_mm <= high_mm:
            raise WorkingDistanceLimitError(working_distance_mm, low_mm, high_mm)
        self._refuse_while_busy()
        self._refuse()
        self.lens_mm = working_distance_mm + 0.0001
        return self.lens_mm

    async def capture_baseline(self) -> Baseline:
        """Keep the last frame as the baseline."""
        if self.last_verdict is None or self.last_verdict.sharpness is None:
            raise NotFoundError("no judgeable frame has been seen since focusd started")
        captured = baseline(source="operator", sharpness={"band_ratio": self.last_verdict.sharpness})
        await self._store.baselines.put(captured)
        return captured

    async def put_baseline(self, baseline: Baseline) -> None:
        """Keep a baseline."""
        self._raise_fault()
        await self._store.baselines.put(baseline)

    async def delete_baseline(self, condition: str) -> None:
        """Forget a baseline."""
        if not await self._store.baselines.delete(condition):
            raise NotFoundError(f"there is no baseline {condition}")

    # --- what a test does ---

    def take_search_scan(self, working_distance_mm: float) -> None:
        """Let the running refocus take one scan."""
        assert self._running is not None
        self.lens_mm = working_distance_mm
        scan = RefocusScan(
            index=len(self._running.scans),
            role=ScanRole.SEARCH,
            working_distance_mm=working_distance_mm,
            sharpness=1.5,
            sharpness_standard_error=0.01,
            laplacian_variance=120.0,
            signal_to_noise=8.0,
            beam_time_s=0.25,
        )
        self._running = replace(self._running, scans=(*self._running.scans, scan))

    async def finish(self, result: RefocusResult = RefocusResult.REFOCUSED, reason: str = "") -> None:
        """End the running refocus where the lens stands."""
        assert self._running is not None
        record = replace(
            self._running,
            result=result,
            reason=reason,
            final_working_distance_mm=self.lens_mm,
            duration_s=1.5,
        )
        await self._store.refocuses.update(record)
        self._last, self._running = record, None
        self._ended.set()

    async def close(self) -> None:
        """Leave no task behind."""
        self.lens_is_back.set()
        if self._running is not None:
            await self.finish(RefocusResult.CANCELLED)

    async def _put_back(self, reason: str) -> None:
        await self.lens_is_back.wait()
        self.lens_mm = START_MM
        if self._running is not None:
            await self.finish(RefocusResult.CANCELLED, reason)

    async def _wait(self, event: asyncio.Event) -> None:
        self.waiting.set()
        try:
            await event.wait()
        except asyncio.CancelledError:
            self.abandoned_waits += 1
            raise
        finally:
            self.waiting.clear()

    def _refuse(self) -> None:
        self._raise_fault()
        if self.paused_because is not None:
            raise PausedError(f"focusd is paused: {self.paused_because}")
        if not self.connected:
            raise NotConnectedError("not connected to the microscope: connection refused")

    def _refuse_while_busy(self) -> None:
        if self._running is not None:
            raise BusyError("a refocus is running", running_id=str(self._running.refocus_id))

    def _raise_fault(self) -> None:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault

    def _state(self) -> tuple[DaemonState, str]:
        if self.state is not None:
            return self.state, ""
        if not self.connected:
            return DaemonState.DISCONNECTED, "connection refused"
        if self._running is not None:
            return DaemonState.REFOCUSING, ""
        if self.paused_because is not None:
            return DaemonState.PAUSED, self.paused_because
        return DaemonState.MONITORING, ""
