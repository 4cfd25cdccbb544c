"""What is noted in a soak run, and whether focusd kept its promises."""

from __future__ import annotations

import math
import os
import threading
from array import array
from asyncio import all_tasks
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from focusd.records import FrameVerdict, RefocusRecord, RefocusResult, Verdict

IN_FOCUS_DEPTHS = 1.5
USABLE_DEPTHS = 2.2
GOOD_RATIO = 0.9
WARM_UP_SHARE = 0.1
_SAME_MM = 1e-6


@dataclass(frozen=True, slots=True)
class Usage:
    """What the process holds at one moment."""

    frame: int
    memory_mib: float
    files: int
    tasks: int
    threads: int


def usage(frame: int) -> Usage:
    """Look at this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Usage(
        frame=frame,
        memory_mib=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        files=len(list(Path("/proc/self/fd").iterdir())),
        tasks=len(all_tasks()),
        threads=threading.active_count(),
    )


@dataclass(slots=True)
class Judged:
    """Frames that were judged, one number of each array for each."""

    at_s: array[float] = field(default_factory=lambda: array("d"))
    defocus_depths: array[float] = field(default_factory=lambda: array("d"))
    ratio: array[float] = field(default_factory=lambda: array("d"))
    counts: array[int] = field(default_factory=lambda: array("b"))
    """Whether the frame counts: judgeable, and not the first after an outage."""
    kept: array[int] = field(default_factory=lambda: array("b"))
    """Whether the frame was kept, not taken again after a refocus."""

    def add(
        self,
        at_s: float,
        defocus_depths: float,
        verdict: FrameVerdict,
        *,
        is_after_outage: bool,
        is_kept: bool,
    ) -> None:
        """Note a frame."""
        is_judged = verdict.verdict is not Verdict.UNJUDGEABLE
        self.at_s.append(at_s)
        self.defocus_depths.append(defocus_depths)
        self.ratio.append(math.nan if verdict.ratio is None else verdict.ratio)
        self.counts.append(is_judged and not is_after_outage)
        self.kept.append(is_judged and is_kept)

    def within_percent(self, depths: float, which: Sequence[int]) -> float:
        """Share of the frames that ``which`` marks whose distance from focus is at most ``depths``."""
        return _percent(
            [abs(one) <= depths for one, counts in zip(self.defocus_depths, which, strict=True) if counts]
        )

    @property
    def good_ratio_percent(self) -> float:
        """Share of the frames that count with at least ``GOOD_RATIO`` of the baseline."""
        return _percent(
            [
                one >= GOOD_RATIO
                for one, counts in zip(self.ratio, self.counts, strict=True)
                if counts and not math.isnan(one)
            ]
        )


@dataclass(slots=True)
class SoakLog:
    """Everything that was noted.

    Attributes:
        broken: Promises that were broken, one line each.
        marks: When something happened, by what it was.
        troubles: How often each fault came.
    """

    frames: Judged = field(default_factory=Judged)
    broken: list[str] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    marks: dict[str, list[float]] = field(default_factory=dict)
    usages: list[Usage] = field(default_factory=list)
    moves: int = 0
    scans: int = 0
    lost_frames: int = 0
    """Asked for in vain."""
    outages: int = 0
    survived: int = 0
    lens_left_out: int = 0
    """Failed refocuses after which the lens was neither in focus nor where it stood."""
    wrongly_refocused: int = 0
    """Refocuses that succeeded, as focusd says, and ended out of focus."""
    stuck_elsewhere: int = 0
    """Failed refocuses after which the microscope would not move the lens back."""
    outside_limits: int = 0
    astray: int = 0
    """Reconnections after which the lens stood elsewhere than before, without a refocus."""
    overdue: int = 0
    """Times that the owner of the microscope was not heard of in time."""
    restarts: int = 0
    simulated_s: float = 0.0

    def mark(self, what: str, at_s: float) -> None:
        """Note when something happened."""
        self.marks.setdefault(what, []).append(at_s)

    def note_refocus(
        self, record: RefocusRecord, at_s: float, *, lens_mm: float, defocus_depths: float
    ) -> None:
        """Note a refocus, and whether the lens was left as promised.

        Args:
            record: The refocus as it ended.
            at_s: When.
            lens_mm: Working distance once the link is up again.
            defocus_depths: *Judge.* Distance from focus then.
        """
        name = "running" if record.result is None else record.result.value
        self.results[name] += 1
        is_success = record.result is not None and record.result.is_success
        self.mark("refocus" if is_success else "refocus in vain", at_s)
        start_mm = record.start_working_distance_mm
        stood_still = start_mm is None or abs(lens_mm - start_mm) <= _SAME_MM
        is_in_focus = abs(defocus_depths) <= USABLE_DEPTHS
        if is_success:
            self.wrongly_refocused += not is_in_focus
        if is_success or stood_still or is_in_focus:
            return
        if record.result is RefocusResult.WD_NOT_SETTABLE:
            # The microscope would not take it back, and focusd said so.
            self.stuck_elsewhere += 1
            return
        self.lens_left_out += 1
        self.broken.append(
            f"day {at_s / 86_400:.3f}: refocus {record.refocus_id} ({name}: {record.reason}) began at "
            f"{start_mm} and left the lens at {lens_mm:.6f} mm, {defocus_depths:.1f} D from focus"
        )

    def growth(self, of: Callable[[Usage], float]) -> float:
        """From the median of the first quarter after the warm-up to that of the last."""
        warm = self.usages[int(len(self.usages) * WARM_UP_SHARE) :]
        quarter = max(1, len(warm) // 4)
        if not warm:
            return math.nan
        return median(map(of, warm[-quarter:])) - median(map(of, warm[:quarter]))


def _percent(those: Sequence[bool]) -> float:
    return 100.0 * sum(those) / len(those) if those else math.nan
