"""The detection contest: false alarms on tiles in focus, delay after focus is lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np

from tests.benchmarks import goals, pictures, probing
from tests.benchmarks.detect_tally import STEPS, TILES_AFTER, Tally, together
from tests.benchmarks.detectors import (
    LEARN_FRAMES,
    OWN_DEFAULT,
    OWN_SUSPICION,
    PUBLISHED,
    Candidate,
    candidates,
)
from tests.benchmarks.pool import spread
from tests.benchmarks.report import Report
from tests.benchmarks.tables import Cell, Table
from tests.benchmarks.tiles import DOSES, EMPTY, WORLDS, Place, Pool, Tile, Walk, build_grounds, look_at

FOCUS_LOST_AT = 100
"""Tile at which focus is lost."""
RAMP_PER_TILE = 0.05
RAMP_TILES = 160
MOST_ALARMS = 50.0
"""Alarms per 10,000 tiles in focus that a detector may give to be compared."""


@dataclass(frozen=True, slots=True)
class DetectOptions:
    """What is run."""

    side_px: int = 256
    doses: tuple[float, ...] = DOSES
    worlds: tuple[str, ...] = WORLDS
    places: int = 100
    """Places of each world."""
    empty_places: int = 12
    probe_every: int = 5
    """The probe is tried on every so many of the places."""
    rounds: int = 8
    """Scans of each kind are repeated so often for each world and dose."""
    steady_tiles: int = 5000
    """Tiles in focus, each round."""
    losses: int = 8
    """Losses of each kind, each round."""
    seed: int = 1
    processes: int = 2


@dataclass(frozen=True, slots=True)
class _Job:
    world: str
    dose: float
    pool: Pool
    round: int
    options: DetectOptions


def run(options: DetectOptions) -> Report:
    """Run the contest."""
    build_grounds(options.worlds)
    jobs = [
        _Job(world, dose, pool, number, options)
        for (world, dose), pool in _pools(options).items()
        for number in range(options.rounds)
    ]
    tallies = [tally for answer in spread(_contest, jobs, processes=options.processes) for tally in answer]
    overall = together(tallies, lambda tally: tally.name)
    probed = probing.run(
        [overall[OWN_DEFAULT], overall[OWN_SUSPICION]],
        [place for place in _places(options) if place.world != EMPTY][:: options.probe_every],
        seed=options.seed,
        processes=options.processes,
    )
    return Report(
        name="detect",
        tables=(*_tables(tallies, overall, options), probed.table, _goals_table(overall, probed)),
        trials=[tally.as_json() for tally in tallies],
        draw=partial(pictures.detect, list(overall.values())),
    )


def _places(options: DetectOptions) -> list[Place]:
    """All places of all worlds, and the empty ones, at all doses."""
    return [
        Place(world, dose, index / count, options.seed * 100_000 + index, options.side_px)
        for world, dose in product((*options.worlds, EMPTY), options.doses)
        for count in [options.empty_places if world == EMPTY else options.places]
        for index in range(count)
    ]


def _pools(options: DetectOptions) -> dict[tuple[str, float], Pool]:
    """Scan all places of all worlds at all levels."""
    places = _places(options)
    keys = dict.fromkeys((place.world, place.dose) for place in places)
    looks: dict[tuple[str, float], list[list[list[Tile]]]] = {key: [] for key in keys}
    for place, look in zip(places, spread(look_at, places, processes=options.processes), strict=True):
        looks[place.world, place.dose].append(look)
    return {
        (world, dose): Pool(looks[world, dose], looks[EMPTY, dose])
        for world, dose in product(options.worlds, options.doses)
    }


def _contest(job: _Job) -> list[Tally]:
    """Show every detector the same scans."""
    options = job.options
    random = np.random.default_rng([options.seed, job.round, round(10 * job.dose), *job.world.encode()])
    steady = Walk(job.pool, random).tiles(LEARN_FRAMES + options.steady_tiles, lambda _: 0.0)
    steps = {
        step: [
            Walk(job.pool, random).tiles(FOCUS_LOST_AT + TILES_AFTER, partial(_step, depths=step))
            for _ in range(options.losses)
        ]
        for step in STEPS
    }
    ramps = [Walk(job.pool, random).tiles(FOCUS_LOST_AT + RAMP_TILES, _ramp) for _ in range(options.losses)]
    tallies = []
    for candidate in candidates():
        tally = Tally(candidate.name, job.world, job.dose, tiles=options.steady_tiles)
        alarms = _alarms(candidate, steady)
        tally.alarms = len(alarms)
        tally.alarm_tiles = [
            (tile.place, tile.repeat) for tile in (steady[index] for index in alarms) if tile.place
        ]
        for step, scans in steps.items():
            tally.delays[step] = [_delay(candidate, tiles) for tiles in scans]
        tally.ramp_depths = [RAMP_PER_TILE * (_delay(candidate, tiles) - 1) for tiles in ramps]
        tallies.append(tally)
    return tallies


def _step(index: int, *, depths: float) -> float:
    return depths if index >= FOCUS_LOST_AT else 0.0


def _ramp(index: int) -> float:
    return RAMP_PER_TILE * max(0, index - FOCUS_LOST_AT)


def _alarms(candidate: Candidate, tiles: Sequence[Tile]) -> list[int]:
    """Where a detector raises the alarm after its warm-up."""
    watch = candidate.start()
    watch.learn(tiles[:LEARN_FRAMES])
    return [index for index, tile in enumerate(tiles) if index >= LEARN_FRAMES and watch.fold(tile)]


def _delay(candidate: Candidate, tiles: Sequence[Tile]) -> int:
    """Tiles from the loss to the first alarm after it; one more than there are when none comes."""
    after = [index for index in _alarms(candidate, tiles) if index >= FOCUS_LOST_AT]
    return (after[0] if after else len(tiles)) - FOCUS_LOST_AT + 1


def _tables(tallies: Sequence[Tally], overall: dict[str, Tally], options: DetectOptions) -> Iterable[Table]:
    yield _contest_table(overall, options)
    yield _split_table([tally for tally in tallies if tally.name == OWN_DEFAULT])


def _contest_table(overall: dict[str, Tally], options: DetectOptions) -> Table:
    variants = {candidate.name for candidate in candidates() if candidate.is_variant}
    shown = [tally for name, tally in overall.items() if name not in variants]
    useful = [overall[name] for name in variants if overall[name].alarms_per_10000 <= MOST_ALARMS]
    if useful:
        shown.append(min(useful, key=lambda tally: (float(np.mean(tally.delays[2.0])), tally.name)))
    columns = ["detector", "alarms per 10,000"]
    for step in STEPS:
        columns += [f"{step:g} D: tiles", f"{step:g} D: found %"]
    rows = []
    for tally in shown:
        row: list[Cell] = [tally.name, tally.alarms_per_10000]
        for step in STEPS:
            row += [tally.median_delay(step), tally.found_percent(step)]
        row += [float(np.median(tally.ramp_depths)), float(np.percentile(tally.ramp_depths, 90))]
        rows.append(tuple(row))
    side = options.side_px
    return Table(
        f"detection on tiles of {side} x {side} px",
        (*columns, "ramp: |dz| at alarm", "p90"),
        tuple(rows),
        f"{shown[0].tiles} tiles in focus; found within {TILES_AFTER} tiles; ramp {RAMP_PER_TILE:g} D a tile;"
        f"\nthe last line is the best of the published score's settings under {MOST_ALARMS:g} alarms",
    )


def _split_table(tallies: Sequence[Tally]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, tally in together(tallies, lambda one: f"{one.world}, {one.dose:g}").items():
        rows.append(
            (
                name,
                tally.alarms_per_10000,
                tally.median_delay(2.0),
                tally.found_percent(2.0),
                tally.median_delay(4.0),
                tally.found_percent(4.0),
            )
        )
    steps = [f"{step:g} D: {what}" for step in (2.0, 4.0) for what in ("tiles", "found %")]
    columns = ("specimen, dose", "alarms per 10,000", *steps)
    return Table(f"{OWN_DEFAULT}, by specimen and dose", columns, tuple(rows))


def _goals_table(overall: dict[str, Tally], probed: probing.Probed) -> Table:
    own, published = overall[OWN_DEFAULT], overall[PUBLISHED]
    lines = [
        goals.DETECT_ALARMS.line(own.alarms_per_10000, published.alarms_per_10000),
        goals.DETECT_DELAY.line(own.median_delay(2.0), published.median_delay(2.0)),
        goals.DETECT_FOUND.line(own.found_percent(2.0), published.found_percent(2.0)),
        # Whoever has no probe refocuses at every alarm.
        *[
            replace(goals.DETECT_NEEDLESS, quantity=f"{goals.DETECT_NEEDLESS.quantity}, {when}").line(
                probed.needless_per_10000[name], published.alarms_per_10000
            )
            for when, name in (("alarms", OWN_DEFAULT), ("suspicions", OWN_SUSPICION))
        ],
    ]
    return goals.goals_table("goals of the detection", lines)
