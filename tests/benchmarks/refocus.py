"""The refocus contest: every strategy from the same starts, by distance, dose and specimen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from focusd.records import RefocusResult
from tests.benchmarks import goals, pictures
from tests.benchmarks import strategies as known
from tests.benchmarks.outcomes import Outcome, Summary, outcome, summarise
from tests.benchmarks.pool import spread
from tests.benchmarks.report import Report
from tests.benchmarks.specimens import BLANK_IMAGES, image_names, specimen
from tests.benchmarks.tables import Cell, Table
from tests.benchmarks.world import DISTANCES, DOSES, NO_NOISE, Environment, Trial, make_scope

_COLUMNS = ("strategy", "scans", "ok %", "median |dz|", "p95 |dz|", "worse %", "dose")
_CLAIMS = {result.value for result in RefocusResult if result.is_success}
"""Results that say that the picture is in focus."""


@dataclass(frozen=True, slots=True)
class RefocusOptions:
    """What is run."""

    environment: Environment = "std"
    trials: int = 1
    """Starts for each image, dose and distance."""
    doses: tuple[float, ...] = DOSES
    distances: tuple[str, ...] = tuple(DISTANCES)
    images: tuple[str, ...] | None = None
    """All that can be had, unless given."""
    strategies: tuple[str, ...] | None = None
    """All, unless given."""
    seed: int = 1
    processes: int = 2


def run(options: RefocusOptions) -> Report:
    """Run the contest.

    Raises:
        ValueError: a strategy is not known.
    """
    names = known.chosen(options.strategies)
    trials = _trials(options)
    for image in dict.fromkeys(trial.image for trial in trials):
        specimen(image)  # built once, before the processes part
    answers = spread(partial(_contest, names=names), trials, processes=options.processes)
    outcomes = [one for answer in answers for one in answer]
    return Report(
        name="refocus",
        tables=tuple(_tables(outcomes, names, options)),
        trials=[asdict(one) for one in outcomes],
        draw=partial(pictures.refocus, outcomes),
    )


def _trials(options: RefocusOptions) -> list[Trial]:
    """All starts; the published model has no noise and its lens no travel but for small distances."""
    is_seed = options.environment == "seed"
    return [
        Trial(options.environment, image, dose, distance, index, options.seed)
        for image in options.images or image_names()
        for dose in ((NO_NOISE,) if is_seed else options.doses)
        for distance in (("small",) if is_seed else options.distances)
        for index in range(options.trials)
    ]


def _contest(trial: Trial, *, names: Sequence[str]) -> list[Outcome]:
    """Let each strategy start afresh from one and the same place."""
    table = known.strategies()
    outcomes = []
    for name in names:
        scope = make_scope(trial)
        start_depths = scope.defocus_depths
        ending = table[name](scope)
        outcomes.append(outcome(name, trial, scope, start_depths, ending))
    return outcomes


def _tables(outcomes: Sequence[Outcome], names: Sequence[str], options: RefocusOptions) -> Iterable[Table]:
    seen = [one for one in outcomes if one.image not in BLANK_IMAGES]
    distances = list(dict.fromkeys(one.distance for one in seen))
    for distance in distances:
        there = [one for one in seen if one.distance == distance]
        low, high = DISTANCES[distance]
        title = f"refocus, {options.environment}, {distance}: start {low:g} to {high:g} D from focus"
        count = len(there) // len(names)
        yield Table(
            title,
            _COLUMNS,
            tuple(_lines(there, names)),
            f"{count} trials a row; |dz| in D; dose in full frames",
        )
    yield _split("ok % by dose, electrons a pixel", seen, names, lambda one: f"{one.dose:g}")
    yield _split("ok % by specimen", seen, names, lambda one: one.image)
    blank = [one for one in outcomes if one.image in BLANK_IMAGES]
    if blank:
        yield _blank_table(blank, names)
    own = [name for name in names if name.startswith(known.OWN)]
    if own:
        yield _results_table(seen, own)
        yield _cpu_table(outcomes, own)
    if known.own_default() in own and options.environment != "seed":
        yield _goals_table(seen, blank, options.environment)


def _of(outcomes: Iterable[Outcome], strategy: str) -> Summary:
    return summarise([one for one in outcomes if one.strategy == strategy])


def _lines(outcomes: Sequence[Outcome], names: Sequence[str]) -> Iterable[tuple[Cell, ...]]:
    for name in names:
        s = _of(outcomes, name)
        yield (
            name,
            s.scans,
            s.ok_percent,
            s.median_depths,
            s.p95_depths,
            s.worse_percent,
            s.dose_frames,
        )


def _split(
    title: str, outcomes: Sequence[Outcome], names: Sequence[str], key: Callable[[Outcome], str]
) -> Table:
    """Share in focus at the end, all distances together, one column for each value of the key."""
    values = list(dict.fromkeys(map(key, outcomes)))
    rows: list[tuple[Cell, ...]] = [
        (name, *(_of([one for one in outcomes if key(one) == value], name).ok_percent for value in values))
        for name in names
    ]
    return Table(title, ("strategy", *values), tuple(rows), "all distances together")


def _blank_table(blank: Sequence[Outcome], names: Sequence[str]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        s = _of(blank, name)
        rows.append((name, s.scans, s.refused_percent, s.ok_percent, s.safe_percent, s.worse_percent))
    columns = ("strategy", "scans", "refused %", "right %", "refused or right %", "worse %")
    images = ", ".join(dict.fromkeys(one.image for one in blank))
    return Table("nearly blank specimens", columns, tuple(rows), f"{images}; all distances together")


def _results_table(seen: Sequence[Outcome], own: Sequence[str]) -> Table:
    """How focusd said that it ended, in percent of the trials, and how often that was not so."""
    codes = sorted({one.result for one in seen if one.result is not None})
    rows: list[tuple[Cell, ...]] = []
    for name in own:
        mine = [one for one in seen if one.strategy == name]
        claimed = [one for one in mine if one.result in _CLAIMS]
        wrong = sum(not one.ok for one in claimed)
        shares = [100.0 * sum(one.result == code for one in mine) / len(mine) for code in codes]
        rows.append((name, *shares, 100.0 * wrong / len(mine)))
    return Table(
        "result codes, % of the trials",
        ("strategy", *codes, "claimed but not ok"),
        tuple(rows),
        "all distances together; nearly blank specimens left out",
    )


def _cpu_table(outcomes: Sequence[Outcome], own: Sequence[str]) -> Table:
    rows = [(name, _of(outcomes, name).cpu_ms) for name in own]
    note = "all that focusd does, store and log included; a full frame is 512 x 512"
    return Table("processor time of a focus scan", ("strategy", "ms"), tuple(rows), note)


def _goals_table(seen: Sequence[Outcome], blank: Sequence[Outcome], environment: Environment) -> Table:
    lines: list[tuple[Cell, ...]] = []
    own = known.own_default()

    def add(goal: goals.Goal, outcomes: Sequence[Outcome], figure: Callable[[Summary], float]) -> None:
        mine, theirs = (_of(outcomes, name) for name in (own, known.PUBLISHED))
        lines.append(goal.line(figure(mine), figure(theirs) if theirs.trials else None))

    if environment == "rough":
        near = [one for one in seen if one.distance in {"small", "medium"}]
        add(goals.ROUGH_OK, near, lambda s: s.ok_percent)
        add(goals.ROUGH_WORSE, near, lambda s: s.worse_percent)
    else:
        for distance in dict.fromkeys(one.distance for one in seen):
            there = [one for one in seen if one.distance == distance]
            add(goals.refocus_scans(distance), there, lambda s: s.scans)
            add(goals.refocus_ok(distance), there, lambda s: s.ok_percent)
            add(goals.refocus_worse(distance), there, lambda s: s.worse_percent)
        add(goals.SMALL_DOSE, [one for one in seen if one.distance == "small"], lambda s: s.dose_frames)
    if blank:
        add(goals.BLANK_SAFE, blank, lambda s: s.safe_percent)
        add(goals.BLANK_WORSE, blank, lambda s: s.worse_percent)
    whole = _of(seen, known.own_default(whole_frames=True))
    lines.append(goals.CPU_MS.line(whole.cpu_ms, None))
    title = f"goals of the refocus, {environment}: {own} (the default) and {known.PUBLISHED}"
    return goals.goals_table(title, lines)
