"""What it costs to judge a frame: the published score against others' code, the whole verdict, by size.

One thread. The published score is the variance of the Laplacian; a verdict is all that the monitor reads off
a frame: that score, the spectrum with the two metrics of the default, and whether the frame can be judged.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import cv2
from matplotlib.figure import Figure

from focusd.focus import laplacian, spectrum
from tests.benchmarks import kernel_ways as ways
from tests.benchmarks.kernel_ways import FORMULA, OWN, READ, SCIPY, SKIMAGE, VERDICT, Timing
from tests.benchmarks.report import Report
from tests.benchmarks.tables import Cell, Table, shown

FASTEST_DWELL_NS = 20.0
"""Rest of a fast single beam on a pixel; such a microscope sends 50 million pixels a second."""
ETHERNET_MPX = 1250.0
"""Pixels of 8 bits, in millions a second, that 10-gigabit Ethernet carries if it carries nothing else."""


@dataclass(frozen=True, slots=True)
class KernelOptions:
    """What is run."""

    turns: int = 15
    """Of each way; slow ones take a few."""
    small_px: int = 1024
    main_px: int = 4096
    large_px: int = 16_384
    other_px: tuple[int, ...] = (256, 512, 2048, 8192)
    ring_mib: float = 192.0
    """Size of all frames of one kind together: more than any cache."""

    @property
    def sides_px(self) -> tuple[int, ...]:
        """All sizes, rising."""
        return tuple(sorted({self.small_px, self.main_px, self.large_px, *self.other_px}))


@dataclass(frozen=True, slots=True)
class Mark:
    """A ratio to reach, and what a busy machine may be asked for at least."""

    quantity: str
    goal: float
    floor: float
    at_most: bool = False

    def line(self, figure: float, limit: float, what: str, ratio: float) -> tuple[Cell, ...]:
        """One row of the table of goals: a figure, what it is compared with, and their ratio."""
        sign = "<= " if self.at_most else ">= "
        compared = f"{shown(limit)} {what}"
        targets = (sign + shown(self.goal), sign + shown(self.floor))
        return (self.quantity, figure, compared, ratio, *targets, self.verdict(ratio))

    def verdict(self, ratio: float) -> str:
        """Tell how far a ratio is from goal and floor."""
        if self._is_kept(ratio, self.goal):
            return "reached"
        short = f"short by {shown(abs(ratio - self.goal))}"
        return short if self._is_kept(ratio, self.floor) else f"{short}, under the floor"

    def _is_kept(self, ratio: float, target: float) -> bool:
        return ratio <= target if self.at_most else ratio >= target


class Timings:
    """All that was timed, by kind of frame, size and way."""

    def __init__(self) -> None:
        self.all: list[Timing] = []

    def of(self, way: str, kind: str, side_px: int) -> Timing:
        """Look one up.

        Raises:
            KeyError: that was not timed.
        """
        for timing in self.all:
            if (timing.way, timing.kind, timing.side_px) == (way, kind, side_px):
                return timing
        raise KeyError((way, kind, side_px))

    def best_ms(self, way: str, kind: str, side_px: int) -> float | None:
        """Give the least time, where there is one."""
        try:
            return self.of(way, kind, side_px).best_ms
        except KeyError:
            return None


def run(options: KernelOptions) -> Report:
    """Time everything."""
    cv2.setNumThreads(1)
    timings = Timings()
    for side_px in options.sides_px:
        for kind in ways.KINDS if side_px in (options.small_px, options.main_px) else ("uint8",):
            timings.all += ways.timed(_turns(options, side_px), side_px, kind, ring_mib=options.ring_mib)
    return Report(
        name="kernel",
        tables=(_kernel_table(timings), _verdict_table(timings), _goals_table(timings, options)),
        trials=[asdict(timing) for timing in timings.all],
        draw=partial(_draw, timings),
    )


def _turns(options: KernelOptions, side_px: int) -> dict[str, tuple[ways.Way, int]]:
    """Which ways take part at a size, and how often; beyond the main size the peers fill the memory."""
    few = max(1, options.turns // 4)
    turns = few if side_px > options.main_px else options.turns
    chosen = {name: (way, turns) for name, way in ways.own_ways().items()}
    if side_px <= options.main_px:
        chosen |= {name: (way, turns if name == FORMULA else few) for name, way in ways.peers().items()}
    return chosen


def _kernel_table(timings: Timings) -> Table:
    rows = []
    peers = [name for name in (FORMULA, SCIPY, SKIMAGE, READ) if name in {one.way for one in timings.all}]
    for own in (one for one in timings.all if one.way == OWN):
        row: list[Cell] = [f"{own.side_px}, {own.kind}", own.best_ms, own.median_ms]
        row += [timings.best_ms(peer, own.kind, own.side_px) for peer in peers]
        formula = timings.best_ms(FORMULA, own.kind, own.side_px)
        rows.append((*row, formula / own.best_ms if formula else None))
    note = (
        "ms of processor time, the least of all turns, frames from memory; ratio: of formula to focusd;\n"
        "scikit-image scales and borders otherwise, so its number is another"
    )
    missing = "" if SKIMAGE in peers else "\nscikit-image is not installed, and left out"
    columns = ("side, px", OWN, "its median", *peers, "ratio")
    return Table("variance of the Laplacian", columns, tuple(rows), note + missing)


def _verdict_table(timings: Timings) -> Table:
    rows = []
    for one in (one for one in timings.all if one.way == VERDICT):
        kernel = timings.of(OWN, one.kind, one.side_px).best_ms
        rate = 1e3 / one.best_ns_per_px
        name = f"{one.side_px}, {one.kind}"
        rows.append((name, one.best_ms, one.median_ms, one.best_ns_per_px, rate, one.best_ms / kernel))
    return Table(
        "all of a verdict",
        ("side, px", "ms", "its median", "ns a pixel", "Mpixel/s", "of the Laplacian's"),
        tuple(rows),
        "scores, spectrum and quality of a frame, as the monitor asks for them by default",
    )


def _goals_table(timings: Timings, options: KernelOptions) -> Table:
    lines = [
        *_kernel_lines(timings, options),
        *_verdict_lines(timings, options),
        *_scratch_lines(options),
    ]
    columns = ("quantity", "focusd", "peer or limit", "ratio", "goal", "floor", "verdict")
    return Table("goals of the kernel", columns, tuple(lines))


def _kernel_lines(timings: Timings, options: KernelOptions) -> list[tuple[Cell, ...]]:
    main, small = options.main_px, options.small_px
    lines = []
    for side_px, kind, goal, floor in (
        (main, "uint8", 9.0, 6.0),
        (main, "uint16", 7.0, 4.5),
        (small, "uint8", 5.0, 3.5),
    ):
        own, formula = (timings.of(way, kind, side_px).best_ms for way in (OWN, FORMULA))
        mark = Mark(f"{side_px} px, {kind}: the score, ms", goal, floor)
        lines.append(mark.line(own, formula, "formula", formula / own))
    for kind, goal, floor in (("uint8", 0.08, 0.05), ("uint16", 0.12, 0.09)):
        own, read = (timings.of(way, kind, main).best_ns_per_px for way in (OWN, READ))
        item_bytes = 1 if kind == "uint8" else 2
        mark = Mark(f"{main} px, {kind}: the score, GB/s", goal, floor)
        lines.append(mark.line(item_bytes / own, item_bytes / read, "memory read", read / own))
    return lines


def _verdict_lines(timings: Timings, options: KernelOptions) -> list[tuple[Cell, ...]]:
    main = options.main_px
    lines = []
    for kind in ("uint8", "uint16"):
        verdict, kernel = (timings.of(way, kind, main).best_ms for way in (VERDICT, OWN))
        mark = Mark(f"{main} px, {kind}: a verdict, ms", 3.0, 6.0, at_most=True)
        lines.append(mark.line(verdict, kernel, "the score", verdict / kernel))
    large, small = (
        timings.of(VERDICT, "uint8", side_px).best_ns_per_px
        for side_px in (options.large_px, options.small_px)
    )
    growth = Mark(f"{options.large_px} px: a verdict, ns a pixel", 1.3, 2.0, at_most=True)
    lines.append(growth.line(large, small, f"at {options.small_px} px", large / small))
    rates = {side: 1e3 / timings.of(VERDICT, "uint8", side).best_ns_per_px for side in options.sides_px}
    slowest, beam = min(rates.values()), 1e3 / FASTEST_DWELL_NS
    one_beam = Mark("verdicts at the slowest size, Mpixel/s", 1.0, 1.0)
    lines.append(one_beam.line(slowest, beam, f"a beam of {FASTEST_DWELL_NS:g} ns", slowest / beam))
    ethernet = Mark(f"verdicts at {main} px, Mpixel/s", 1.0, 0.5)
    lines.append(ethernet.line(rates[main], ETHERNET_MPX, "10 GbE", rates[main] / ETHERNET_MPX))
    return lines


def _scratch_lines(options: KernelOptions) -> list[tuple[Cell, ...]]:
    """Most memory taken beside the largest frame, in MiB, by Python's account; OpenCV's own is not in it."""
    (frame,) = ways.frames(options.large_px, "uint8", 0.0)
    lines = []
    for name, goal, floor in ((OWN, 1.0, 4.0), (VERDICT, 16.0, 16.0)):
        laplacian._SPARE.clear()
        spectrum._plan.cache_clear()
        tracemalloc.start()
        ways.own_ways()[name](frame)
        peak_mib = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        what = "the score" if name == OWN else "a verdict"
        mark = Mark(f"{options.large_px} px: memory of {what}, MiB", goal, floor, at_most=True)
        whole_mib = 16 * frame.size / 2**20
        lines.append(mark.line(peak_mib, whole_mib, "formula", peak_mib))
    return lines


def _draw(timings: Timings) -> Figure:
    """Cost of a pixel against the size of the frame, of every way."""
    figure = Figure(figsize=(7.5, 5.0), layout="constrained")
    panel = figure.subplots()
    for way in dict.fromkeys(one.way for one in timings.all):
        seen: Sequence[Timing] = [one for one in timings.all if (one.way, one.kind) == (way, "uint8")]
        style = "o-" if way in (OWN, VERDICT) else "o--"
        panel.plot([one.side_px for one in seen], [one.best_ns_per_px for one in seen], style, label=way)
    panel.axhline(FASTEST_DWELL_NS, color="0.7", label="a fast beam sends a pixel")
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xlabel("side of a frame of 8 bits, px")
    panel.set_ylabel("processor time of one core, ns a pixel")
    panel.legend(fontsize=8)
    return figure
