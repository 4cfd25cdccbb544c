"""What the watchdog is told of a supervisor whose threads or whose microscope hang, with real threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from focusd.config import Config
from focusd.frame import Frame, ScanRequest
from focusd.service.heartbeat import OWN_WORK_S, OWNER, Heartbeat
from focusd.service.supervisor import Supervisor
from focusd.store.database import open_store
from tests.fake_microscope import REQUEST, FakeMicroscope


class Clock:
    """Seconds that pass when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class SlowMicroscope(FakeMicroscope):
    """Scans for as long as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.scans_begun = asyncio.Event()
        self.may_scan = asyncio.Event()

    async def scan(self, request: ScanRequest) -> Frame:
        self.scans_begun.set()
        await self.may_scan.wait()
        return await super().scan(request)


class Bench:
    """A supervisor at work, its heartbeat, and time."""

    def __init__(self, supervisor: Supervisor, heartbeat: Heartbeat, clock: Clock) -> None:
        self.supervisor = supervisor
        self.heartbeat = heartbeat
        self.clock = clock


@asynccontextmanager
async def working(folder: Path, microscope: FakeMicroscope) -> AsyncIterator[Bench]:
    """Run a supervisor that scans when asked, for the length of an ``async with`` block."""
    clock = Clock()
    heartbeat = Heartbeat(clock)
    config = Config.model_validate(
        {
            "microscope": {"limits": {"working_distance_mm": microscope.limits_mm}},
            "scan": {"width": 192, "height": 192, "trigger": "request"},
            "baseline": {"policy": "manual"},
        }
    )

    @asynccontextmanager
    async def connect() -> AsyncIterator[FakeMicroscope]:
        yield microscope

    async with open_store(folder, max_frames=1000) as store, asyncio.TaskGroup() as group:
        supervisor = Supervisor(config, store, connect=connect, heartbeat=heartbeat)
        owner = group.create_task(supervisor.run())
        async with asyncio.timeout(20):
            while not supervisor.status.link.connected:
                await asyncio.sleep(0.005)
        yield Bench(supervisor, heartbeat, clock)
        owner.cancel()


@contextmanager
def threads_that_hang() -> Iterator[threading.Event]:
    """Make the one thread for frames wait for an event."""
    gate = threading.Event()
    with ThreadPoolExecutor(max_workers=1) as pool:
        asyncio.get_running_loop().set_default_executor(pool)
        pool.submit(gate.wait, 30)
        try:
            yield gate
        finally:
            gate.set()


async def until_overdue(bench: Bench, what: str) -> None:
    """Wait until something is overdue after the time for focusd's own work has passed."""
    async with asyncio.timeout(20):
        while what not in bench.heartbeat.overdue:
            bench.clock.now += OWN_WORK_S / 4
            await asyncio.sleep(0.005)


async def test_a_frame_whose_thread_hangs_is_overdue(tmp_path: Path) -> None:
    """Frames that others send never reach a verdict, while the owner of the microscope has nothing to do."""
    frame = await FakeMicroscope().scan(REQUEST)
    async with working(tmp_path, FakeMicroscope()) as bench:
        with threads_that_hang() as gate:
            judging = asyncio.create_task(bench.supervisor.judge(frame))
            await until_overdue(bench, "judging a frame")
            gate.set()
            await judging

        assert "judging a frame" not in bench.heartbeat.overdue


async def test_an_owner_whose_thread_hangs_is_overdue(tmp_path: Path) -> None:
    """The scan came in time, its measurement does not end."""
    async with working(tmp_path, FakeMicroscope()) as bench:
        with threads_that_hang() as gate:
            scan = asyncio.create_task(bench.supervisor.scan())
            await until_overdue(bench, OWNER)
            gate.set()
            await scan

        assert bench.supervisor.is_alive


async def test_a_microscope_that_takes_its_time_leaves_the_daemon_well(tmp_path: Path) -> None:
    """A scan far slower than it should be is waited for, and nothing is overdue."""
    microscope = SlowMicroscope()
    async with working(tmp_path, microscope) as bench:
        scan = asyncio.create_task(bench.supervisor.scan())
        await asyncio.wait_for(microscope.scans_begun.wait(), 5)
        bench.clock.now += 2 * OWN_WORK_S

        assert bench.supervisor.is_alive
        microscope.may_scan.set()
        assert (await scan).verdict.frame_id == 1


@pytest.mark.parametrize("pause_s", [0.0, 8.0])
async def test_an_idle_owner_is_well(tmp_path: Path, pause_s: float) -> None:
    """Between two signs of life of the microscope nothing is overdue."""
    async with working(tmp_path, FakeMicroscope()) as bench:
        bench.clock.now += pause_s + OWN_WORK_S - 1.0

        assert bench.supervisor.is_alive
