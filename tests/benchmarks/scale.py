"""What the daemon's work costs as there is more of it: larger frames, a longer history, more pollers.

The daemon runs as a process of its own. Beside the cost of a verdict stands that of the published score, the
variance of the Laplacian in double precision, without daemon, transport or verdict.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from matplotlib.figure import Figure

from tests.benchmarks.daemon_process import Client, RunningDaemon, picture, processor_s, running_daemon
from tests.benchmarks.path_children import server
from tests.benchmarks.path_goals import Bounds, goals_table
from tests.benchmarks.report import Report
from tests.benchmarks.scale_folder import FolderLag, folder_lag
from tests.benchmarks.scale_history import make_history
from tests.benchmarks.scale_pollers import poll, serve_nothing
from tests.benchmarks.tables import Cell, Table

SIZES: Final = (512, 1024, 2048, 4096, 8192, 16_384)
HISTORIES: Final = (1_000, 10_000, 100_000, 1_000_000)
POLLERS: Final = (1, 10, 50)
ANSWERS: Final = ("status", "newest 50", "50 in the middle", "refocuses", "a frame")
FOLDERS: Final = (1_000, 100_000)
RATES_PER_S: Final = (2.0, 10.0, 50.0)
RATE_SIDE_PX: Final = 512
IDLE_CONNECTIONS: Final = 100
RATE_HZ: Final = 20.0

PER_PIXEL = Bounds(1.2, 2.0, at_most=True)
LONGER_HISTORY = Bounds(1.3, 2.0, at_most=True)
PAGE_MS = Bounds(10.0, 50.0, at_most=True)
MORE_FRAMES = Bounds(1.2, 2.0, at_most=True)
LISTING_LAG_MS = Bounds(20.0, 50.0, at_most=True)
POLL_OF_BARE = Bounds(2.0, 4.0, at_most=True)
POLL_P99_MS = Bounds(20.0, 50.0, at_most=True)


@dataclass(frozen=True, slots=True)
class ScaleOptions:
    """What is run."""

    sizes: Sequence[int] = SIZES
    histories: Sequence[int] = HISTORIES
    pollers: Sequence[int] = POLLERS
    rates_per_s: Sequence[float] = RATES_PER_S
    folders: Sequence[int] = FOLDERS
    rounds: int = 15
    """Calls of each kind; frames the fewer the larger they are."""
    starts: int = 3
    poll_s: float = 5.0
    poll_rounds: int = 4


@dataclass(frozen=True, slots=True)
class _Size:
    """Of a frame's size: least time of the whole exchange, processor time of daemon and published score."""

    side_px: int
    least_ms: float
    cpu_ms: float
    naive_cpu_ms: float

    @property
    def cpu_ns_per_px(self) -> float:
        return self.cpu_ms * 1e6 / self.side_px**2


@dataclass(frozen=True, slots=True)
class _History:
    """Of a history's length: a start, and the least time of each of ``ANSWERS``."""

    frames: int
    start_cpu_s: float
    times_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Rate:
    """Of so many frames a second, wanted and judged."""

    wanted_per_s: float
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """Processor time of the daemon for a frame."""


@dataclass(frozen=True, slots=True)
class _Polled:
    """Of so many pollers."""

    name: str
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Processor time of the server for a request."""


def run(options: ScaleOptions) -> Report:
    """Measure one after the other."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        sizes = _sizes(options, folder)
        histories = [_history(frames, options, folder / f"{frames}") for frames in options.histories]
        rates = _rates(options, folder)
        polled = _polled(options, folder)
    folders = [folder_lag(files, min(5, options.rounds)) for files in options.folders]
    return Report(
        name="scale",
        tables=(
            _size_table(sizes),
            _history_table(histories),
            _rate_table(rates),
            _poll_table(polled),
            _folder_table(folders),
            _goals(sizes, histories, rates, polled, folders),
        ),
        trials=[
            *map(asdict, sizes),
            *map(asdict, histories),
            *map(asdict, rates),
            *map(asdict, polled),
            *map(asdict, folders),
        ],
        draw=partial(_draw, sizes, histories),
    )


def _sizes(options: ScaleOptions, folder: Path) -> list[_Size]:
    found = []
    with running_daemon(folder, extra='[store]\ndirectory = "sizes"') as daemon:
        for side_px in options.sizes:
            pixels = picture(side_px)
            client = Client(daemon)
            count = max(3, min(options.rounds, options.rounds * 4096 // side_px))
            client.post_frame(pixels)
            cpu_s = daemon.cpu_s
            times = client.timed_ms(partial(client.post_frame, pixels), count)
            cpu_ms = (daemon.cpu_s - cpu_s) * 1000 / count
            client.close()
            found.append(_Size(side_px, min(times), cpu_ms, _naive_cpu_ms(pixels)))
    return found


def _naive_cpu_ms(pixels: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> float:
    """Least processor time of the published score; of the largest frames by the part it has memory for."""
    part = pixels[:8192, :8192]
    times = []
    for _ in range(3):
        since = time.thread_time()
        float(cv2.Laplacian(part, cv2.CV_64F).var())
        times.append(time.thread_time() - since)
    return min(times) * 1000 * pixels.size / part.size


def _history(frames: int, options: ScaleOptions, folder: Path) -> _History:
    folder.mkdir()
    make_history(folder / "state", frames)
    limits = "[store]\nmax_frames = 10000000\nkeep_days = 36500"
    starts_cpu_s = []
    for _ in range(options.starts):
        with running_daemon(folder, extra=limits) as daemon:
            starts_cpu_s.append(daemon.start_cpu_s)
            times_ms = _answers_ms(daemon, frames, options) if len(starts_cpu_s) == options.starts else ()
    return _History(frames, min(starts_cpu_s), times_ms)


def _answers_ms(daemon: RunningDaemon, frames: int, options: ScaleOptions) -> tuple[float, ...]:
    client, pixels = Client(daemon), picture(128)
    paths = (
        "/v1/status",
        "/v1/frames?limit=50",
        f"/v1/frames?limit=50&before={frames // 2}",
        "/v1/refocuses?limit=20",
    )
    calls = [*(partial(client.get, path) for path in paths), partial(client.post_frame, pixels)]
    least = [min(client.timed_ms(call, 3 * options.rounds)) for call in calls]
    client.close()
    return tuple(least)


def _rates(options: ScaleOptions, folder: Path) -> list[_Rate]:
    found = []
    pixels = picture(RATE_SIDE_PX)
    with running_daemon(folder, extra='[store]\ndirectory = "rates"') as daemon:
        for wanted_per_s in options.rates_per_s:
            client = Client(daemon)
            client.post_frame(pixels)
            began, cpu_s = time.perf_counter(), daemon.cpu_s
            times: list[float] = []
            for number in range(max(3, round(wanted_per_s * options.poll_s))):
                time.sleep(max(0.0, began + number / wanted_per_s - time.perf_counter()))
                times += client.timed_ms(partial(client.post_frame, pixels), 1)
            cpu_ms = (daemon.cpu_s - cpu_s) * 1000 / len(times)
            p50, p99 = np.percentile(times, (50, 99))
            per_s = len(times) / (time.perf_counter() - began)
            found.append(_Rate(wanted_per_s, per_s, float(p50), float(p99), cpu_ms))
            client.close()
    return found


def _polled(options: ScaleOptions, folder: Path) -> list[_Polled]:
    found = []
    most = max(options.pollers)
    with server(serve_nothing) as bare:
        found.append(_poll("aiohttp alone", bare.port, most, 0, options, bare.process_id))
    with running_daemon(folder, extra='[store]\ndirectory = "polled"') as daemon:
        for pollers in options.pollers:
            idle = IDLE_CONNECTIONS if pollers == most else 0
            name = f"{pollers}" + (f" and {idle} idle" if idle else "")
            found.append(_poll(name, daemon.port, pollers, idle, options, daemon.process_id))
    return found


def _poll(name: str, port: int, pollers: int, idle: int, options: ScaleOptions, process_id: int) -> _Polled:
    """Poll for a while, several times; give the calmest."""
    found = []
    for _ in range(options.poll_rounds):
        cpu_s = processor_s(process_id)
        times = asyncio.run(
            poll(port, pollers=pollers, idle=idle, rate_hz=RATE_HZ, duration_s=options.poll_s)
        )
        cpu_us = (processor_s(process_id) - cpu_s) * 1e6 / len(times)
        p50, p99 = np.percentile(times, (50, 99))
        found.append(_Polled(name, len(times) / options.poll_s, float(p50), float(p99), cpu_us))
    return min(found, key=lambda one: one.p99_ms)


def _size_table(sizes: Sequence[_Size]) -> Table:
    columns = ("side, px", "ms (least)", "processor ms", "ns a pixel", "published score, ms")
    rows = tuple(
        (f"{one.side_px}", one.least_ms, one.cpu_ms, one.cpu_ns_per_px, one.naive_cpu_ms) for one in sizes
    )
    note = "From the first byte of the POST to its answer; the processor time is that of the daemon."
    return Table("A frame of 8 bits, judged", columns, rows, note)


def _history_table(histories: Sequence[_History]) -> Table:
    columns = ("verdicts", "start, processor s", *(f"{name}, ms" for name in ANSWERS))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (f"{one.frames}", one.start_cpu_s, *one.times_ms) for one in histories
    )
    note = "Least times over HTTP, with a refocus for every hundred verdicts; the frame has 128 x 128 pixels."
    return Table("Length of the history", columns, rows, note)


def _rate_table(rates: Sequence[_Rate]) -> Table:
    columns = ("frames a second", "judged a second", "p50, ms", "p99, ms", "processor ms each")
    rows = tuple((f"{one.wanted_per_s:g}", one.per_s, one.p50_ms, one.p99_ms, one.cpu_ms) for one in rates)
    return Table(f"Frames of {RATE_SIDE_PX} x {RATE_SIDE_PX} px at a steady rate", columns, rows)


def _poll_table(polled: Sequence[_Polled]) -> Table:
    rows = tuple((one.name, one.per_s, one.p50_ms, one.p99_ms, one.cpu_us) for one in polled)
    note = (
        f"Each poller asks {RATE_HZ:g} times a second, aiohttp alone as the last line; calmest of some runs."
    )
    return Table(
        "Status", ("pollers", "answers a second", "p50, ms", "p99, ms", "processor us each"), rows, note
    )


def _folder_table(folders: Sequence[FolderLag]) -> Table:
    columns = ("files in a folder", "listing, ms", "loop late at rest, ms", "listing: p99, ms", "longest, ms")
    rows = tuple((f"{one.files}", one.listing_ms, one.rest_max_ms, one.p99_ms, one.max_ms) for one in folders)
    return Table("Watched folder, all files done with", columns, rows)


def _goals(
    sizes: Sequence[_Size],
    histories: Sequence[_History],
    rates: Sequence[_Rate],
    polled: Sequence[_Polled],
    folders: Sequence[FolderLag],
) -> Table:
    reference = min(sizes, key=lambda one: abs(one.side_px - 4096))
    largest, shortest, longest = sizes[-1], histories[0], histories[-1]
    worst = max(long / short for long, short in zip(longest.times_ms, shortest.times_ms, strict=True))
    bare, most = polled[0], polled[-1]
    return goals_table(
        [
            PER_PIXEL.ratio_line(
                f"processor ns a pixel, {largest.side_px}\u00b2 against {reference.side_px}\u00b2",
                largest.cpu_ns_per_px,
                reference.cpu_ns_per_px,
                largest.cpu_ns_per_px / reference.cpu_ns_per_px,
            ),
            LONGER_HISTORY.ratio_line(
                f"start, processor s, {longest.frames} verdicts against {shortest.frames}",
                longest.start_cpu_s,
                shortest.start_cpu_s,
                longest.start_cpu_s / shortest.start_cpu_s,
            ),
            LONGER_HISTORY.line(f"the worst answer, of that with {shortest.frames}", worst, math.nan),
            PAGE_MS.line("50 verdicts in the middle, ms", longest.times_ms[2], shortest.times_ms[2]),
            MORE_FRAMES.ratio_line(
                f"processor ms a frame, {rates[-1].wanted_per_s:g}/s against {rates[0].wanted_per_s:g}/s",
                rates[-1].cpu_ms,
                rates[0].cpu_ms,
                rates[-1].cpu_ms / rates[0].cpu_ms,
            ),
            POLL_OF_BARE.ratio_line(
                f"status, processor us, {most.name}", most.cpu_us, bare.cpu_us, most.cpu_us / bare.cpu_us
            ),
            POLL_P99_MS.line(f"status p99, ms, {most.name}", most.p99_ms, bare.p99_ms),
            LISTING_LAG_MS.line(
                f"loop late while {folders[-1].files} files are listed, ms",
                folders[-1].max_ms,
                folders[-1].rest_max_ms,
            ),
        ]
    )


def _draw(sizes: Sequence[_Size], histories: Sequence[_History]) -> Figure:
    figure = Figure(figsize=(11.0, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    pixels = [one.side_px**2 for one in sizes]
    left.loglog(pixels, [one.least_ms for one in sizes], "o-", label="POST to answer")
    left.loglog(pixels, [one.cpu_ms for one in sizes], "o-", label="processor time of the daemon")
    left.loglog(pixels, [one.naive_cpu_ms for one in sizes], "s--", label="published score alone")
    left.set(xlabel="pixels of the frame", ylabel="ms")
    lengths = [one.frames for one in histories]
    for index, name in enumerate(ANSWERS):
        right.semilogx(lengths, [one.times_ms[index] for one in histories], "o-", label=name)
    right.set(xlabel="verdicts in the store", ylabel="ms", ylim=(0, None))
    left.legend()
    right.legend()
    return figure
