"""Run focusd itself over a benchmark's microscope, step by step, from code that knows no event loop.

Nothing of the service is mirrored: a real supervisor with a store of its own is given a microscope that is
the benchmark's simulated one, without a wire. So a search is driven, verified, accepted or put back, and a
scan is kept in focus, exactly as the daemon does it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from focusd.config import BaselineSettings, Config, Limits, MicroscopeSettings, RefocusSettings, ScanSettings
from focusd.focus.search import METHODS
from focusd.frame import Frame, ImagingConditions, ScanRequest
from focusd.microscope.interface import MicroscopeIdentity, MicroscopeState
from focusd.records import RefocusRecord
from focusd.service.heartbeat import Heartbeat
from focusd.service.keeper import ScanAnswer
from focusd.service.supervisor import Supervisor
from focusd.service.surface import Place
from focusd.service.turns import Checkpoint
from focusd.store.database import open_store
from tests.benchmarks.world import PIXEL_NM, Scope

FocusRegion = Literal["auto", "frame"]

MAX_CHANGE_DEPTHS = 100.0
"""``max_change_um`` over the depth of field; the defaults of both have this ratio."""
_MEMORY = Path("/dev/shm")  # noqa: S108 - only the place for a private directory
_Answer = TypeVar("_Answer")


def configuration(
    scope: Scope,
    *,
    method: str | None = None,
    focus_region: FocusRegion = "auto",
    keeps_baseline: bool = True,
) -> Config:
    """Give focusd's default settings for a microscope, in its depth of field.

    Args:
        scope: The microscope.
        method: How to search; the default unless given.
        focus_region: What a refocus scans.
        keeps_baseline: Whether the first refocus takes one more frame as the baseline, as by default.

    Raises:
        ValueError: the method is not known.
    """
    chosen = method or RefocusSettings().method
    if chosen not in METHODS:
        raise ValueError(f"unknown method {method!r}; known are {', '.join(METHODS)}")
    depth_um, frame = scope.depth_mm * 1000.0, scope.request
    refocus = RefocusSettings(depth_of_field_um=depth_um, max_change_um=MAX_CHANGE_DEPTHS * depth_um)
    return Config(
        microscope=MicroscopeSettings(limits=Limits(working_distance_mm=scope.limits_mm)),
        scan=ScanSettings(
            width=frame.width,
            height=frame.height,
            dwell_time_us=frame.dwell_time_us,
            focus_region=focus_region,
            trigger="request",
        ),
        baseline=BaselineSettings(policy="autofocus" if keeps_baseline else "manual"),
        # Not validated again: a method may be new in the search and not yet in the configuration.
        refocus=refocus.model_copy(update={"method": chosen}),
    )


class Daemon:
    """focusd's service, connected to a benchmark's microscope while the context lasts.

    Args:
        scope: The microscope.
        config: The settings.
        clock: The service's time; real time unless given.

    Attributes:
        supervisor: The service.
    """

    supervisor: Supervisor

    def __init__(self, scope: Scope, config: Config, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._microscope = ScopeMicroscope(scope)
        self._config = config
        self._clock = clock
        self._runner = asyncio.Runner()
        self._open = AsyncExitStack()
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self._do(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._stop())
        self._runner.__exit__(kind, error, trace)

    def refocus(self) -> RefocusRecord:
        """Refocus as an operator asks for it: the first look is a scan of its own."""
        return self._do(self._refocus())

    def scan(self) -> ScanAnswer:
        """Take and judge one frame, and refocus if that is due."""
        return self._do(self.supervisor.scan())

    def checkpoint(self, x_mm: float, y_mm: float) -> Checkpoint | None:
        """Say that the next tile is at a place."""
        return self._do(self.supervisor.turns.checkpoint(Place(x_mm, y_mm), timeout_s=600.0))

    def _do(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        return self._runner.run(work)

    async def _start(self) -> None:
        parent = _MEMORY if _MEMORY.is_dir() else None
        directory = self._open.enter_context(tempfile.TemporaryDirectory(dir=parent))
        store = await self._open.enter_async_context(open_store(Path(directory), max_frames=100_000))
        self.supervisor = Supervisor(
            self._config,
            store,
            connect=self._connect,
            heartbeat=Heartbeat(self._clock),
            clock=self._clock,
            wall_clock=self._clock,
        )
        self._task = asyncio.create_task(self.supervisor.run())
        while not self.supervisor.status.link.connected:
            await asyncio.sleep(0)

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._open.aclose()

    async def _refocus(self) -> RefocusRecord:
        record = await self.supervisor.start_refocus()
        return await self.supervisor.wait_for_refocus(record.refocus_id)

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[ScopeMicroscope]:
        yield self._microscope


class ScopeMicroscope:
    """A benchmark's microscope as the service sees it; stands in for ``focusd.microscope.interface``.

    Args:
        scope: The microscope.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.identity = MicroscopeIdentity("benchmark")
        self.limits_mm = scope.limits_mm

    async def get_state(self) -> MicroscopeState:
        column = self._scope.column
        return MicroscopeState(column.working_distance_mm, stage_position=column.stage_position)

    async def get_working_distance(self) -> float:
        return self._scope.working_distance_mm

    async def set_working_distance(self, working_distance_mm: float) -> float:
        return self._scope.move(working_distance_mm)

    @asynccontextmanager
    async def acquisition(self) -> AsyncIterator[None]:
        yield

    async def scan(self, request: ScanRequest) -> Frame:
        rows, columns = request.shape
        return Frame(
            pixels=self._scope.scan(request.region, request.dwell_time_us),
            conditions=ImagingConditions(
                rows, columns, request.bits_per_pixel, request.dwell_time_us, pixel_size_nm=PIXEL_NM
            ),
            working_distance_mm=self._scope.working_distance_mm,
            acquired_at=time.time(),
            stage_position=self._scope.column.stage_position,
        )

    async def ping(self) -> float:
        return 0.0

    def on_lost(self, callback: Callable[[], object]) -> None:
        """There is no link to lose."""
