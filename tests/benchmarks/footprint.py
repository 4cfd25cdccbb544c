"""What the daemon takes of its computer: time to start, memory, processor time while nothing happens.

Beside each figure stands what a program takes that imports the same libraries and does nothing at all.
"""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from matplotlib.figure import Figure

from tests.benchmarks.daemon_process import Client, RunningDaemon, picture, running_daemon, serve_microscope
from tests.benchmarks.path_children import serving
from tests.benchmarks.path_goals import Bounds, goals_table
from tests.benchmarks.report import Report
from tests.benchmarks.tables import Table

_LIBRARIES: Final = (
    "import aiohttp.web, cv2, numpy, pydantic_settings, scipy.fft, scipy.special, sqlite3, structlog, typer"
)
READY: Final = "start to READY"
LIBRARIES: Final = "its libraries alone"
HELP: Final = "focusd --help"
PYTHON: Final = "Python alone"
WARM_UP_FRAMES: Final = 1000
"""Until SQLite's pages and the answers that are kept have filled what is set aside for them."""

READY_S = Bounds(1.2, 3.0, at_most=True)
RSS_MIB = Bounds(110.0, 160.0, at_most=True)
IDLE_PERCENT = Bounds(0.5, 2.0, at_most=True)
GROWTH_MIB = Bounds(2.0, 5.0, at_most=True)
HELP_S = Bounds(0.4, 0.8, at_most=True)


@dataclass(frozen=True, slots=True)
class FootprintOptions:
    """What is run."""

    starts: int = 5
    idle_s: float = 20.0
    frames: int = 10_000
    """Frames judged after the first ones, of 128 x 128 pixels."""
    warm_up: int = WARM_UP_FRAMES


@dataclass(frozen=True, slots=True)
class _Run:
    """Of a program that was started."""

    wall_s: float
    cpu_s: float


@dataclass(slots=True)
class _Measured:
    runs: dict[str, list[_Run]] = field(default_factory=dict)
    libraries_mib: float = math.nan
    rss_mib: float = math.nan
    idle_percent: float = math.nan
    memory_mib: list[tuple[int, float]] = field(default_factory=list)
    """Frames judged, and the memory then."""
    imports_ms: dict[str, float] = field(default_factory=dict)

    @property
    def growth_mib(self) -> float:
        """From the end of the warm-up to the end."""
        return self.memory_mib[-1][1] - self.memory_mib[1][1]

    def add(self, name: str, run: _Run) -> None:
        """Note a run of a program."""
        self.runs.setdefault(name, []).append(run)

    def least_s(self, name: str) -> float:
        """Least time of a program."""
        return min(run.wall_s for run in self.runs[name])

    def least_cpu_s(self, name: str) -> float:
        """Least processor time of a program."""
        return min(run.cpu_s for run in self.runs[name])


def run(options: FootprintOptions) -> Report:
    """Measure, each kind of start in turn."""
    measured = _Measured()
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        for _ in range(options.starts):
            _time_starts(measured, folder)
        measured.imports_ms = _imports_ms()
        with serving(serve_microscope) as port, running_daemon(folder, microscope_port=port) as daemon:
            _idle(measured, daemon, options)
            _judge(measured, daemon, options)
    return Report(
        name="footprint",
        tables=(_start_table(measured), _memory_table(measured), _goals(measured, options)),
        trials=[
            *(
                {"what": name, "s": [run.wall_s for run in runs], "processor_s": [run.cpu_s for run in runs]}
                for name, runs in measured.runs.items()
            ),
            {"memory_mib": measured.memory_mib, "imports_ms": measured.imports_ms},
        ],
        draw=partial(_draw, measured),
    )


def _time_starts(measured: _Measured, folder: Path) -> None:
    with running_daemon(folder) as daemon:
        measured.add(READY, _Run(daemon.ready_s, daemon.start_cpu_s))
    run, told = _python(f"{_LIBRARIES}\nprint(open('/proc/self/statm').read().split()[1])")
    measured.add(LIBRARIES, run)
    measured.libraries_mib = int(told) * os.sysconf("SC_PAGE_SIZE") / 2**20
    measured.add(HELP, _python("from focusd.cli import main; main()", arguments=("--help",))[0])
    measured.add(PYTHON, _python("pass")[0])


def _python(program: str, *options: str, arguments: Sequence[str] = ()) -> tuple[_Run, str]:
    """Run a program; give what it said, too."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    before, since = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, *options, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    wall_s, after = time.perf_counter() - since, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _Run(wall_s, cpu_s), done.stdout + done.stderr


def _imports_ms() -> dict[str, float]:
    """Give what each package costs at import, the dearest first; Python's own in one."""
    _, told = _python("import focusd.cli, focusd.daemon", "-X", "importtime")
    times = Counter[str]()
    for line in told.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            package = parts[2].strip().partition(".")[0]
            times["Python's own" if package.lstrip("_") in _OWN or package in _OWN else package] += int(
                parts[0]
            )
    return {name: microseconds / 1000 for name, microseconds in times.most_common(12)}


_OWN: Final = frozenset({*sys.stdlib_module_names, *(name.lstrip("_") for name in sys.stdlib_module_names)})


def _idle(measured: _Measured, daemon: RunningDaemon, options: FootprintOptions) -> None:
    """Let the daemon be, once it is connected."""
    client = Client(daemon)
    while not client.get("/v1/status")["link"]["connected"]:
        time.sleep(0.05)
    client.close()
    measured.rss_mib = daemon.memory_mib()
    cpu_s, since = daemon.cpu_s, time.perf_counter()
    time.sleep(options.idle_s)
    measured.idle_percent = 100 * (daemon.cpu_s - cpu_s) / (time.perf_counter() - since)


def _judge(measured: _Measured, daemon: RunningDaemon, options: FootprintOptions) -> None:
    """Have frames judged as focusd's own client does: with a key to each."""
    client, pixels = Client(daemon), picture(128)
    measured.memory_mib.append((0, daemon.memory_mib()))
    marks = sorted({options.warm_up, *(options.warm_up + options.frames * k // 10 for k in range(1, 11))})
    for number in range(1, options.warm_up + options.frames + 1):
        client.post_frame(pixels, key=f"frame {number} of the benchmark's own run")
        if number in marks:
            measured.memory_mib.append((number, daemon.memory_mib()))
    client.close()


def _start_table(measured: _Measured) -> Table:
    rows = tuple(
        (name, measured.least_s(name), median(run.wall_s for run in runs), measured.least_cpu_s(name))
        for name, runs in measured.runs.items()
    )
    note = (
        "The processor time is what a start takes where no other program wants the core. Imports, ms: "
        + ", ".join(f"{name} {ms:.0f}" for name, ms in measured.imports_ms.items())
    )
    return Table("Start", ("what", "s (least)", "s (median)", "processor s (least)"), rows, note)


def _memory_table(measured: _Measured) -> Table:
    return Table("Memory", ("frames judged", "MiB"), tuple((f"{n}", mib) for n, mib in measured.memory_mib))


def _goals(measured: _Measured, options: FootprintOptions) -> Table:
    over_python_s = measured.least_cpu_s(HELP) - measured.least_cpu_s(PYTHON)
    return goals_table(
        [
            READY_S.line("start to READY, s (least)", measured.least_s(READY), measured.least_s(LIBRARIES)),
            READY_S.line(
                "the same, processor s", measured.least_cpu_s(READY), measured.least_cpu_s(LIBRARIES)
            ),
            RSS_MIB.line("memory when idle, MiB", measured.rss_mib, measured.libraries_mib),
            IDLE_PERCENT.line("processor when idle, % of a core", measured.idle_percent, math.nan),
            GROWTH_MIB.line(f"growth over {options.frames} frames, MiB", measured.growth_mib, math.nan),
            HELP_S.line("focusd --help over Python alone, processor s", over_python_s, math.nan),
        ]
    )


def _draw(measured: _Measured) -> Figure:
    figure = Figure(figsize=(11.0, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(*zip(*measured.memory_mib, strict=True), "o-")
    left.set(xlabel="frames judged", ylabel="resident memory, MiB", ylim=(0, None))
    names = list(measured.imports_ms)[::-1]
    right.barh(names, [measured.imports_ms[name] for name in names])
    right.set(xlabel="import, ms")
    return figure
