"""How trials of a refocus end, one by one and taken together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from focusd.records import RefocusResult
from tests.benchmarks.strategies import Ending
from tests.benchmarks.world import Scope, Trial, blur_px

OK_DEPTHS = 1.12
"""Nearer to focus than this the blur is within half a pixel of the best: hypot(1, 1.12) = 1.5."""
WORSE_BY_PX = 0.1
_REFUSALS = {RefocusResult.NO_PEAK.value, "blind"}
"""Results that say that there is nothing to focus on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one strategy fared from one start; lengths in D."""

    strategy: str
    image: str
    dose: float
    distance: str
    index: int
    start_depths: float
    end_depths: float
    scans: int
    dose_frames: float
    """Electrons spent, in full frames at full dwell."""
    ok: bool
    worse: bool
    result: str | None
    """focusd's result code; peers have none."""
    reason: str
    """focusd's words for it."""
    cpu_s: float | None

    @property
    def refused(self) -> bool:
        """Whether it said that there is nothing to focus on."""
        return self.result in _REFUSALS


def outcome(strategy: str, trial: Trial, scope: Scope, start_depths: float, ending: Ending) -> Outcome:
    """Judge where the lens stands.

    Worse is a blur larger than at the start by a tenth of a pixel, and by what the instrument itself does not
    repeat: a lens put back ends within its play and jitter of where it stood.
    """
    end_depths = scope.defocus_depths
    allowed_px = WORSE_BY_PX + scope.is_repeatable_to_depths
    return Outcome(
        strategy=strategy,
        image=trial.image,
        dose=trial.dose,
        distance=trial.distance,
        index=trial.index,
        start_depths=start_depths,
        end_depths=end_depths,
        scans=scope.scans,
        dose_frames=scope.dose_frames,
        ok=abs(end_depths) < OK_DEPTHS,
        worse=blur_px(end_depths) > blur_px(start_depths) + allowed_px,
        result=None if ending.result is None else ending.result.value,
        reason=ending.reason,
        cpu_s=ending.cpu_s,
    )


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over trials; NaN where there are none."""

    trials: int
    scans: float
    ok_percent: float
    median_depths: float
    p95_depths: float
    worse_percent: float
    dose_frames: float
    refused_percent: float
    safe_percent: float
    """Refused or right."""
    cpu_ms: float
    """Processor time a scan; NaN for peers."""


def summarise(outcomes: Sequence[Outcome]) -> Summary:
    """Take trials together."""
    ends = [abs(one.end_depths) for one in outcomes]
    timed = [one for one in outcomes if one.cpu_s is not None and one.scans]
    return Summary(
        trials=len(outcomes),
        scans=_mean([one.scans for one in outcomes]),
        ok_percent=_percent([one.ok for one in outcomes]),
        median_depths=float(np.median(ends)) if ends else float("nan"),
        p95_depths=float(np.percentile(ends, 95)) if ends else float("nan"),
        worse_percent=_percent([one.worse for one in outcomes]),
        dose_frames=_mean([one.dose_frames for one in outcomes]),
        refused_percent=_percent([one.refused for one in outcomes]),
        safe_percent=_percent([one.refused or one.ok for one in outcomes]),
        cpu_ms=1e3 * sum(one.cpu_s or 0.0 for one in timed) / sum(one.scans for one in timed)
        if timed
        else float("nan"),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _percent(values: Sequence[bool]) -> float:
    return 100.0 * _mean([float(value) for value in values])
