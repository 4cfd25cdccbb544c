"""What focusd's probe makes of alarms: false ones on tiles in focus, and true ones at known distances.

The probe is asked and told as ``focusd/service/refocus.py`` does it: the alarm's own frame first, then scans
beside the present working distance. The depth of field is what the configuration says, as before the first
refocus of a day, or as well known as after a few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from focusd.focus.depth import LearnedDepth
from focusd.focus.measure import measure
from focusd.focus.probe import Probe, ProbeResult
from tests.benchmarks.detect_tally import Tally
from tests.benchmarks.pool import spread
from tests.benchmarks.tables import Cell, Table
from tests.benchmarks.tiles import Place, scope_at

DISTANCES_DEPTHS = (0.0, 0.5, 1.5, 2.0, 4.0)
LEARNT_LOG_SD = 0.12
"""How well a few refocuses tell the depth of field."""
MOST_ALARMS = 400
"""So many false alarms are probed at most; more tell nothing new."""


@dataclass(frozen=True, slots=True)
class ProbeJob:
    """One probe: of an alarm's very frame (``repeat``), or at a distance from focus."""

    place: Place
    repeat: int = 0
    defocus_depths: float = 0.0
    is_learnt: bool = False
    """Whether the depth of field is known from refocuses before."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What the probe found."""

    table: Table
    needless_per_10000: Mapping[str, float]
    """Refocuses of tiles in focus that the probe lets pass, per 10,000 tiles, by detector."""


def run(tallies: Sequence[Tally], places: Sequence[Place], *, seed: int, processes: int) -> Probed:
    """Probe the false alarms of some detectors, and these places at known distances."""
    random = np.random.default_rng([seed, 9])
    jobs = {f"false alarms: {tally.name}": _false_alarms(tally, random) for tally in tallies}
    for known, is_learnt in (("", False), (", depth learnt", True)):
        for distance in DISTANCES_DEPTHS:
            jobs[f"{distance:g} D from focus{known}"] = [
                ProbeJob(place, 0, distance * (1.0 if random.integers(2) else -1.0), is_learnt)
                for place in places
            ]
    flat = [job for of_one in jobs.values() for job in of_one]
    answers = iter(spread(_probe, flat, processes=processes))
    found = {name: [next(answers) for _ in of_one] for name, of_one in jobs.items()}
    columns = ("probe", "probed", *[f"{result.value} %" for result in ProbeResult], "scans")
    rows = tuple(_row(name, of_one) for name, of_one in found.items())
    needless = {
        tally.name: tally.alarms_per_10000 * _lost_share(of_one)
        for tally, of_one in zip(tallies, found.values(), strict=False)
    }
    return Probed(Table("the probe", columns, rows, "scans: those beside the alarm's own frame"), needless)


def _false_alarms(tally: Tally, random: np.random.Generator) -> list[ProbeJob]:
    jobs = [ProbeJob(place, repeat) for place, repeat in tally.alarm_tiles]
    if len(jobs) <= MOST_ALARMS:
        return jobs
    return [jobs[int(index)] for index in random.choice(len(jobs), MOST_ALARMS, replace=False)]


def _lost_share(answers: Sequence[tuple[ProbeResult, int]]) -> float:
    return float(np.mean([result is ProbeResult.LOST for result, _ in answers])) if answers else 0.0


def _row(name: str, answers: Sequence[tuple[ProbeResult, int]]) -> tuple[Cell, ...]:
    counts = Counter(result for result, _ in answers)
    shares = [100.0 * counts[result] / len(answers) if answers else None for result in ProbeResult]
    scans = float(np.mean([scans for _, scans in answers])) if answers else None
    return (name, len(answers), *shares, scans)


def _probe(job: ProbeJob) -> tuple[ProbeResult, int]:
    """Give the result and the number of scans beside the first frame."""
    scope = scope_at(job.place)
    if job.defocus_depths:
        scope.move(scope.working_distance_mm + job.defocus_depths * scope.depth_mm)
    frames = [scope.scan() for _ in range(job.repeat + 1)]
    low_mm, high_mm = scope.limits_mm
    depth_um = 1000.0 * scope.depth_mm
    learnt = LearnedDepth(depth_um, depth_um, LEARNT_LOG_SD) if job.is_learnt else None
    probe = Probe(scope.working_distance_mm, low_mm, high_mm, depth_um, prior=learnt)
    probe.tell(scope.working_distance_mm, measure(frames[-1], ()))
    scans = 0
    while (place_mm := probe.ask()) is not None:
        scope.move(place_mm)
        probe.tell(place_mm, measure(scope.scan(), ()))
        scans += 1
    return probe.outcome.result, scans
