"""Two weeks alone on a compressed clock: does focusd keep its promises, and stay the same size?

Focus drifts to and fro, specimens come and go, and the link breaks again and again, all decided by a seed.
The service is focusd's own, and reaches the simulated microscope over TCP through a proxy that does the
faults. Deadlines of the link run in real time; everything else by the clock of the run.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from tests.benchmarks.path_goals import Bounds
from tests.benchmarks.report import Report
from tests.benchmarks.soak_log import GOOD_RATIO, IN_FOCUS_DEPTHS, USABLE_DEPTHS, SoakLog
from tests.benchmarks.soak_run import soak
from tests.benchmarks.soak_weather import DAY_S
from tests.benchmarks.tables import Cell, Table

FAULTS_A_DAY = 200 / 14
FRAMES_A_DAY = 720
_MEMORY = Path("/dev/shm")  # noqa: S108 - only the place for a private directory

NONE = Bounds(0.0, 0.0, at_most=True)
IN_FOCUS = Bounds(99.0, 97.0)
GROWTH_MIB = Bounds(2.0, 5.0, at_most=True)
FLAT = Bounds(0.0, 2.0, at_most=True)


@dataclass(frozen=True, slots=True)
class SoakOptions:
    """What is run."""

    days: float = 14.0
    """Simulated time."""
    frames: int | None = None
    """Tiles in that time; one every two minutes unless given."""
    faults: int | None = None
    """Faults in that time; some 14 a day unless given."""
    seed: int = 1


def run(options: SoakOptions) -> Report:
    """Run it, and tell what came of it.

    Raises:
        ValueError: there is no time, or no frame.
    """
    frames = round(options.days * FRAMES_A_DAY) if options.frames is None else options.frames
    fault_count = round(options.days * FAULTS_A_DAY) if options.faults is None else options.faults
    if not options.days > 0 or frames < 1:
        raise ValueError(f"a soak takes some days and frames, got {options.days:g} and {frames}")
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        log = asyncio.run(
            soak(
                days=options.days,
                frames=frames,
                fault_count=fault_count,
                seed=options.seed,
                folder=Path(folder),
            )
        )
    return Report(
        name="soak",
        tables=(_promises(log, options, frames), _counts("faults", log.troubles), _refocuses(log)),
        trials=[_trial(log)],
        draw=partial(_draw, log),
    )


def _promises(log: SoakLog, options: SoakOptions, frames: int) -> Table:
    judged = log.frames
    lines: list[tuple[str, float, Bounds]] = [
        ("restarts, or never an answer", log.restarts, NONE),
        ("lens sent outside its limits, times", log.outside_limits, NONE),
        ("left neither in focus nor where it stood, times", log.lens_left_out, NONE),
        ("refocused, and out of focus, times", log.wrongly_refocused, NONE),
        ("moved without a refocus, times", log.astray, NONE),
        ("outages not survived", log.outages - log.survived, NONE),
        ("owner not heard of in time, times", log.overdue, NONE),
        (
            f"frames within {IN_FOCUS_DEPTHS:g} D, %",
            judged.within_percent(IN_FOCUS_DEPTHS, judged.counts),
            IN_FOCUS,
        ),
        (
            f"frames within {USABLE_DEPTHS:g} D, %",
            judged.within_percent(USABLE_DEPTHS, judged.counts),
            IN_FOCUS,
        ),
        (
            f"frames that were kept within {IN_FOCUS_DEPTHS:g} D, %",
            judged.within_percent(IN_FOCUS_DEPTHS, judged.kept),
            IN_FOCUS,
        ),
        (f"frames with {GOOD_RATIO:g} of the baseline, %", judged.good_ratio_percent, IN_FOCUS),
        ("growth of memory, MiB", log.growth(lambda one: one.memory_mib), GROWTH_MIB),
        ("growth of open files", log.growth(lambda one: one.files), FLAT),
        ("growth of tasks", log.growth(lambda one: one.tasks), FLAT),
        ("growth of threads", log.growth(lambda one: one.threads), FLAT),
    ]
    broken = "".join(f"\n{line}" for line in log.broken[:20])
    return Table(
        f"{log.simulated_s / DAY_S:.2f} of {options.days:g} days, {frames} tiles, seed {options.seed}",
        ("quantity", "figure", "goal", "floor", "verdict"),
        tuple(_line(quantity, figure, bounds) for quantity, figure, bounds in lines),
        f"{len(judged.at_s)} frames judged, {log.lost_frames} asked for in vain, {log.scans} scans in all, "
        f"{log.moves} moves of the lens, {log.outages} outages.\n"
        "Frames: judgeable ones, as they were taken; the first after an outage shows what drifted meanwhile\n"
        "and does not count. Growth: median of the last quarter over that of the first, after a warm-up."
        f"{broken}",
    )


def _line(quantity: str, figure: float, bounds: Bounds) -> tuple[Cell, ...]:
    verdict = "not measured" if math.isnan(figure) else bounds.verdict(figure)
    return (quantity, figure, bounds.goal, bounds.floor, verdict)


def _counts(title: str, counts: dict[str, int]) -> Table:
    return Table(title, ("what", "times"), tuple(sorted(counts.items())))


def _refocuses(log: SoakLog) -> Table:
    return _counts("refocuses and probes, by result", log.results)


def _trial(log: SoakLog) -> dict[str, object]:
    frames = log.frames
    return {
        "broken": log.broken,
        "troubles": dict(log.troubles),
        "results": dict(log.results),
        "marks_s": log.marks,
        "usages": [asdict(one) for one in log.usages],
        "at_s": list(frames.at_s),
        "defocus_depths": list(frames.defocus_depths),
        "counts": list(frames.counts),
        "kept": list(frames.kept),
    }


_MARKS = {
    "fault": ("#c0392b", "|"),
    "refocus": ("#1b7f3b", "^"),
    "refocus in vain": ("#7f8c8d", "v"),
    "another specimen": ("#2c3e50", "D"),
}


def _draw(log: SoakLog) -> Figure:
    """Distance from focus over time with what happened, and the memory below."""
    figure = Figure(figsize=(14.0, 7.0), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(3, 1))
    days = [at_s / DAY_S for at_s in log.frames.at_s]
    above.plot(days, log.frames.defocus_depths, ".", color="0.3", markersize=2, label="frame")
    for depths in (-IN_FOCUS_DEPTHS, IN_FOCUS_DEPTHS):
        above.axhline(depths, color="0.7", linewidth=0.8)
    for row, (what, (colour, marker)) in enumerate(_MARKS.items()):
        times = [at_s / DAY_S for at_s in log.marks.get(what, [])]
        above.plot(times, [-8.0 - 0.5 * row] * len(times), marker, color=colour, markersize=5, label=what)
    above.set(xlabel="days", ylabel="distance from focus, D", ylim=(-10.0, 8.0))
    above.legend(loc="upper right", ncols=5)
    below.plot([one.frame for one in log.usages], [one.memory_mib for one in log.usages])
    below.set(xlabel="tiles", ylabel="memory, MiB", ylim=(0.0, None))
    return figure
