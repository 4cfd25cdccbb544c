"""From bytes to a verdict: focusd's own parts against a naive asyncio daemon.

Whoever sends is a process, and so is each way. focusd receives a scan over a SharkSEM session while the frame
before is judged: once by the published score alone, once for the full verdict, with the spectrum, the quality
and the write to the database. The whole daemon, as a relay that a client scans through, passes each frame on
besides, and lets the client's next scan wait while frames are unjudged. The naive daemon reads the same
pixels from a plain stream, which costs least, and computes the formula in the event loop. A ticker shows how
late either loop gets to anything else.
"""

from __future__ import annotations

import asyncio
import logging
import math
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import cv2
import numpy as np
import structlog
from matplotlib.figure import Figure

from focusd.config import BaselineSettings, DriftSettings, RefocusSettings
from focusd.focus.laplacian import laplacian_variance
from focusd.frame import Frame, ImagingConditions, Pixels
from focusd.microscope.link import call, open_link
from focusd.microscope.sharksem_images import open_images
from focusd.protocol.sharksem_image import ScanAssembler
from focusd.service.monitor import Monitor
from focusd.service.workers import Workers
from focusd.store.database import open_store
from tests.benchmarks import naive, path_goals, transport
from tests.benchmarks.http_servers import serve_relay
from tests.benchmarks.path_children import Server, Worker, server, serving, working
from tests.benchmarks.path_senders import FRAME_ID, Kind, send_plain, send_scans
from tests.benchmarks.report import Report, trials_of
from tests.benchmarks.tables import Table
from tests.benchmarks.transport import receive_scans

VERDICT: Final = "focusd, full verdict"
SCORE: Final = "focusd, score only"
DAEMON: Final = "focusd, the daemon as relay"
RECEIVED: Final = "focusd, nothing judged"
NAIVE: Final = "naive daemon"
WARM_UP: Final = 3
TICK_S: Final = 0.001
SCHEDULE: Final = Path("/proc/thread-self/schedstat")
AHEAD: Final = 2
"""Frames being judged while the next is received; more wait for memory in the daemon too."""


@dataclass(frozen=True, slots=True)
class PathOptions:
    """What is run."""

    rounds: int = 5
    kinds: tuple[Kind, ...] = (Kind(4096), Kind(1024), Kind(4096, 16))
    megabytes: float = 400.0
    """Pixels in a turn; the naive way gets a quarter."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a turn took."""

    frames_per_s: float
    cpu_ms: float
    """Processor time a frame, of all threads."""
    lag_p99_ms: float
    own_lag_p99_ms: float
    """The same less the time for which there was no core for the event loop's thread."""
    lag_worst_ms: float


class _Meter:
    """Measures this process, and how late a ticker is, between ``begin`` and ``reading``."""

    def __init__(self) -> None:
        self._late_s: list[tuple[float, float]] = []

    @asynccontextmanager
    async def ticking(self) -> AsyncIterator[None]:
        """Tick for the length of a ``with`` block."""
        ticker = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            ticker.cancel()
            await asyncio.wait([ticker])

    def begin(self) -> None:
        """Start from here."""
        self._late_s.clear()
        self._cpu_s = time.process_time()
        self._since = time.perf_counter()

    def reading(self, frames: int) -> Reading:
        """Tell what it took since then."""
        seconds = time.perf_counter() - self._since
        late_ms, own_ms = 1000 * np.array(self._late_s or [(0.0, 0.0)]).T
        cpu_ms = 1000 * (time.process_time() - self._cpu_s) / frames
        return Reading(
            frames / seconds,
            cpu_ms,
            lag_p99_ms=float(np.percentile(late_ms, 99)),
            own_lag_p99_ms=float(np.percentile(own_ms, 99)),
            lag_worst_ms=float(late_ms.max()),
        )

    async def _tick(self) -> None:
        while True:
            due, waited_s = time.perf_counter() + TICK_S, _waited_for_a_core_s()
            await asyncio.sleep(TICK_S)
            late_s = max(0.0, time.perf_counter() - due)
            self._late_s.append((late_s, max(0.0, late_s - (_waited_for_a_core_s() - waited_s))))


def _waited_for_a_core_s() -> float:
    """Tell for how long this thread was ready to run and had no core, as Linux counts it."""
    try:
        return int(SCHEDULE.read_bytes().split()[1]) / 1e9
    except OSError:
        return 0.0


def judge_naively(port: int, kind: Kind, frames: int) -> Reading:
    """Read and compute in one and the same loop."""

    async def judge() -> Reading:
        meter = _Meter()
        async with meter.ticking(), naive.frames(port, kind) as ask:
            async for pixels in ask(WARM_UP):
                naive.formula(pixels)
            meter.begin()
            async for pixels in ask(frames):
                naive.formula(pixels)
            return meter.reading(frames)

    return asyncio.run(judge())


Judge = Callable[[Frame], Awaitable[object]]


def judge_fully(port: int, kind: Kind, frames: int) -> Reading:
    """Give each frame the verdict that the daemon gives it."""

    async def judge() -> Reading:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        with tempfile.TemporaryDirectory() as state:
            async with open_store(Path(state), max_frames=1000) as store:
                monitor = Monitor(
                    store,
                    DriftSettings(),
                    BaselineSettings(policy="learn", learn_frames=1),
                    refocus_metric=RefocusSettings(depth_of_field_um=2.0).metric,
                )
                return await _receive(port, kind, frames, monitor.judge)

    return asyncio.run(judge())


def score(port: int, kind: Kind, frames: int) -> Reading:
    """Give each frame the published score and nothing else."""

    async def judge(frame: Frame) -> float:
        return await asyncio.to_thread(laplacian_variance, frame.pixels)

    return asyncio.run(_receive(port, kind, frames, judge))


def only_receive(port: int, kind: Kind, frames: int) -> Reading:
    """Take frames and forget them: what is left when judging costs nothing."""

    async def judge(_: Frame) -> None:
        return None

    return asyncio.run(_receive(port, kind, frames, judge))


async def _receive(port: int, kind: Kind, frames: int, judge: Judge) -> Reading:
    """Judge frames while the next is received, in threads as the daemon has them."""
    cv2.setNumThreads(1)
    asyncio.get_running_loop().set_default_executor(Workers())
    meter = _Meter()
    async with (
        meter.ticking(),
        open_link("127.0.0.1", port, timeout_s=5) as link,
        open_images(link, connect_timeout_s=5, request_timeout_s=5) as images,
    ):
        side = kind.side_px
        scan = call("ScScanXY", FRAME_ID, side, side, 0, 0, side - 1, side - 1, 1, 100)

        async def take() -> Pixels:
            scanned = ScanAssembler(FRAME_ID, channel=0, bits_per_pixel=kind.bits, shape=(side, side))
            ended = images.expect(scanned)
            await link.exchange(scan, timeout_s=30)
            await ended
            images.ignore()
            pixels = scanned.take_frame()
            if pixels is None:
                raise RuntimeError(f"{scanned.missing_px} pixels did not come")
            return pixels

        conditions = ImagingConditions(side, side, kind.bits)
        judging: deque[asyncio.Task[object]] = deque()
        for number in range(WARM_UP + frames):
            if number == WARM_UP:
                meter.begin()
            frame = Frame(await take(), conditions, 9.25, time.time())
            judging.append(asyncio.create_task(_judged(judge, frame)))
            del frame
            while len(judging) > AHEAD:
                await judging.popleft()
        await asyncio.gather(*judging)
        return meter.reading(frames)


async def _judged(judge: Judge, frame: Frame) -> object:
    return await judge(frame)


_Judging = Callable[[int, Kind, int], Reading]
_WAYS: Final[dict[str, tuple[_Judging, Callable[..., None]]]] = {
    NAIVE: (judge_naively, send_plain),
    SCORE: (score, send_scans),
    VERDICT: (judge_fully, send_scans),
    RECEIVED: (only_receive, send_scans),
}
_Measured = dict[str, list[Reading]]


def run(options: PathOptions) -> Report:
    """Measure all ways in turns, for each kind of frame."""
    measured = {kind: _measure(kind, options) for kind in options.kinds}
    return Report(
        name="path",
        tables=(
            *(_table(kind, readings, options) for kind, readings in measured.items()),
            _goals_table(measured),
        ),
        trials=trials_of(measured),
        draw=partial(_draw, measured),
    )


def _measure(kind: Kind, options: PathOptions) -> _Measured:
    measured: _Measured = {way: [] for way in (*_WAYS, DAEMON)}
    frames = max(4, round(options.megabytes * 1e6 / kind.nbytes))
    with ExitStack() as stack:
        ports: dict[Any, int] = {}
        workers: dict[str, Worker[Reading]] = {}
        for way, (judge, send) in _WAYS.items():
            if send not in ports:
                ports[send] = stack.enter_context(serving(send, kind))
            workers[way] = stack.enter_context(working(judge))
        daemon = stack.enter_context(server(serve_relay, ports[send_scans]))
        client = stack.enter_context(working(receive_scans))
        for way in list(measured) * options.rounds:
            if way == DAEMON:
                measured[way].append(_relayed(daemon, client, kind, frames))
                continue
            count = max(4, frames // 4) if way == NAIVE else frames
            measured[way].append(workers[way](ports[_WAYS[way][1]], kind, count))
    return measured


def _relayed(daemon: Server, client: Worker[transport.Reading], kind: Kind, frames: int) -> Reading:
    """Take scans through the daemon; its loop has no ticker but its own, which is too slow to count here."""
    cpu_s = daemon.cpu_s
    gigabytes_per_s = client(daemon.port, kind, frames).gigabytes_per_s
    cpu_ms = 1000 * (daemon.cpu_s - cpu_s) / (frames + transport.WARM_UP)
    return Reading(gigabytes_per_s * 1e9 / kind.nbytes, cpu_ms, math.nan, math.nan, math.nan)


def of_naive(measured: _Measured, way: str) -> float:
    """Median over the turns of a way's rate, of the naive daemon's in the same turn."""
    pairs = zip(measured[way], measured[NAIVE], strict=True)
    return median(mine.frames_per_s / other.frames_per_s for mine, other in pairs)


def _table(kind: Kind, measured: _Measured, options: PathOptions) -> Table:
    rows = tuple(
        (
            way,
            median(one.frames_per_s for one in turns),
            max(one.frames_per_s for one in turns),
            of_naive(measured, way),
            median(one.cpu_ms for one in turns),
            _cpu_of(measured, NAIVE) / _cpu_of(measured, way),
            median(one.lag_p99_ms for one in turns),
            median(one.own_lag_p99_ms for one in turns),
            max(one.lag_worst_ms for one in turns),
        )
        for way, turns in measured.items()
    )
    columns = (
        *("way", "frames/s", "best", "of naive", "CPU ms", "naive CPU"),
        *("lag p99, ms", "with a core", "worst, ms"),
    )
    note = (
        f"{options.rounds} turns of {options.megabytes:.0f} MB; medians over the turns, the worst of all. "
        "CPU: of all threads, a frame; naive CPU: how many times as much the naive way takes. "
        "Lag of the event loop; with a core: less the time it had none."
    )
    return Table(f"Frames of {kind}, bytes to verdict", columns, rows, note)


def _cpu_of(measured: _Measured, way: str) -> float:
    """The least of the turns: work does not vary, what disturbs it does."""
    return min(one.cpu_ms for one in measured[way]) or math.nan


def _goals_table(measured: dict[Kind, _Measured]) -> Table:
    lines = []
    for kind, readings in measured.items():
        bounds = path_goals.FRAMES_OF_NAIVE.get(str(kind), path_goals.SMALL_FRAMES_OF_NAIVE)
        peer = median(one.frames_per_s for one in readings[NAIVE])
        for way in (SCORE, VERDICT, DAEMON):
            rate = median(one.frames_per_s for one in readings[way])
            lines.append(bounds.ratio_line(f"{way}, {kind}: frames/s", rate, peer, of_naive(readings, way)))
    kind, readings = next(iter(measured.items()))
    lags = [median(one.lag_p99_ms for one in readings[way]) for way in (VERDICT, NAIVE)]
    lines.append(path_goals.LAG_P99_MS.line(f"{VERDICT}, {kind}: loop lag p99, ms", *lags))
    return path_goals.goals_table(lines)


def _draw(measured: dict[Kind, _Measured]) -> Figure:
    figure = Figure(figsize=(11.0, 4.5), layout="constrained")
    many: Sequence[Any] = figure.subplots(1, len(measured), squeeze=False)[0]
    for axes, (kind, readings) in zip(many, measured.items(), strict=True):
        for way, turns in readings.items():
            axes.plot([one.frames_per_s for one in turns], "o-", label=way)
        axes.set(title=str(kind), xlabel="turn", ylabel="frames/s", ylim=(0, None))
    many[0].legend()
    return figure
