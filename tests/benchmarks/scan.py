"""A whole scan of tiles that loses focus on its way: how much of it stays sharp, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product

import numpy as np

from tests.benchmarks import goals, pictures
from tests.benchmarks.keepers import EVERY_TILE, OWN, PUBLISHED, TIMES_TAKEN_AT_MOST, WAYS, Keeper, Own
from tests.benchmarks.landscape import STEPS, Landscape
from tests.benchmarks.pool import spread
from tests.benchmarks.report import Report
from tests.benchmarks.scan_result import IN_FOCUS_DEPTHS, NEEDLESS_DEPTHS, ScanResult, Spent
from tests.benchmarks.tables import Table


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What is run."""

    side: int = 20
    """Tiles along each side of the block."""
    dose: float = 20.0
    texture: str = "neuropil"
    steps: bool = True
    """Whether the surface has sheer steps beside tilt and bumps."""
    trials: int = 1
    """Specimens."""
    seed: int = 1
    processes: int = 2


@dataclass(frozen=True, slots=True)
class _Job:
    way: str
    number: int
    options: ScanOptions


def run(options: ScanOptions) -> Report:
    """Scan every specimen in every way."""
    jobs = [_Job(way, number, options) for number, way in product(range(options.trials), WAYS)]
    # The longest first, so that no process is left waiting for it.
    jobs.sort(key=lambda job: job.way != EVERY_TILE)
    results = sorted(
        spread(_scan, jobs, processes=options.processes),
        key=lambda result: (result.seed, list(WAYS).index(result.way)),
    )
    return Report(
        name="scan",
        tables=(_table(results, options), _spent_table(results), _goals_table(results)),
        trials=[asdict(result) for result in results],
        draw=partial(pictures.scan, [one for one in results if one.seed == results[0].seed]),
    )


def _scan(job: _Job) -> ScanResult:
    """Take all tiles of one specimen in one way; those given back are taken again at once."""
    options = job.options
    seed = options.seed + job.number
    steps = STEPS if options.steps else ()
    ground = Landscape(options.side, options.dose, options.texture, seed, steps)
    with WAYS[job.way](ground) as keeper:
        defocus, taken = _take_all(ground, keeper)
    return ScanResult(
        way=job.way,
        side=options.side,
        seed=seed,
        scans=ground.scope.scans,
        dose_frames=ground.scope.dose_frames,
        alarms=keeper.alarms,
        searched_from_depths=keeper.searched_from_depths,
        defocus_depths=[defocus[tile] for tile in ground.by_place()],
        times_taken=[taken[tile] for tile in ground.by_place()],
        spent=keeper.spent if isinstance(keeper, Own) else {},
    )


def _take_all(ground: Landscape, keeper: Keeper) -> tuple[list[float], list[int]]:
    """Take the tiles; give each one's distance from focus at its last take (NaN: none), and its takes."""
    defocus, taken = [math.nan] * ground.tiles, [0] * ground.tiles
    due = list(range(0, ground.tiles, keeper.stride))[::-1]
    while due:
        tile = due.pop()
        ground.go_to(tile)
        take = keeper.take(tile, taken[tile])
        defocus[tile] = take.defocus_depths
        taken[tile] += 1
        due.extend(sorted((one for one in take.again if taken[one] < TIMES_TAKEN_AT_MOST), reverse=True))
    return defocus, taken


def _table(results: Sequence[ScanResult], options: ScanOptions) -> Table:
    rows = []
    for way in WAYS:
        mine = [one for one in results if one.way == way]
        alarms = float(np.mean([one.alarms for one in mine]))
        searches = float(np.mean([len(one.searched_from_depths) for one in mine]))
        needless = float(np.mean([one.needless_searches for one in mine]))
        p95 = float(np.mean([one.p95_depths for one in mine]))
        rows.append((way, _in_focus(mine), _extra(mine), _extra_dose(mine), p95, alarms, searches, needless))
    within = f"within {IN_FOCUS_DEPTHS:g} D %"
    size = f"{options.side} x {options.side} tiles{'' if options.steps else ' without steps'}"
    return Table(
        f"a scan of {size}, {options.texture}, {options.dose:g} electrons a pixel",
        ("way", within, "extra scans a tile", "extra dose", "p95 |dz|", "alarms", "searches", "needless"),
        tuple(rows),
        f"means of {options.trials} specimens; dose in full frames a tile; |dz| in D, of each last take;\n"
        f"needless: searches begun within {NEEDLESS_DEPTHS:g} D of focus",
    )


def _spent_table(results: Sequence[ScanResult]) -> Table:
    """Where focusd's extra scans go."""
    mine = [one for one in results if one.way == OWN]
    tiles = sum(sum(times > 0 for times in one.times_taken) for one in mine)
    rows = []
    for purpose in dict.fromkeys(purpose for one in mine for purpose in one.spent):
        spent = [one.spent.get(purpose, Spent()) for one in mine]
        rows.append(
            (
                purpose,
                sum(one.times for one in spent) / len(mine),
                sum(one.scans for one in spent) / tiles,
                sum(one.dose_frames for one in spent) / tiles,
            )
        )
    return Table(
        "where focusd's extra scans go", ("what for", "times", "scans a tile", "dose a tile"), tuple(rows)
    )


def _goals_table(results: Sequence[ScanResult]) -> Table:
    mine, theirs = ([one for one in results if one.way == way] for way in (OWN, PUBLISHED))
    lines = [
        goals.SCAN_IN_FOCUS.line(_in_focus(mine), _in_focus(theirs)),
        goals.SCAN_EXTRA.line(_extra(mine), _extra(theirs)),
        goals.SCAN_EXTRA_DOSE.line(_extra_dose(mine), _extra_dose(theirs)),
    ]
    return goals.goals_table("goals of the scan", lines)


def _in_focus(results: Sequence[ScanResult]) -> float:
    return float(np.mean([one.in_focus_percent for one in results]))


def _extra(results: Sequence[ScanResult]) -> float:
    return float(np.mean([one.extra_scans for one in results]))


def _extra_dose(results: Sequence[ScanResult]) -> float:
    return float(np.mean([one.extra_dose for one in results]))
