"""The detection contest: the same tiles for every detector, alarms and delays counted rightly."""

from __future__ import annotations

import numpy as np
import pytest

from focusd.focus.spectrum import Score
from tests.benchmarks import detect
from tests.benchmarks.detect_tally import STEPS, TILES_AFTER, Tally, together
from tests.benchmarks.detectors import OWN_DEFAULT, PUBLISHED, PublishedWatch, candidates
from tests.benchmarks.tiles import LEVELS, REPEATS, Place, Pool, Tile, Walk, scope_at


def test_contest_shows_focusd_ahead_of_the_published_score() -> None:
    """On small tiles of gold a loss of 4 D is found at once by focusd, and seldom by the raw score."""
    report = detect.run(
        detect.DetectOptions(
            side_px=128, doses=(20.0,), worlds=("gold",), places=8, empty_places=2, rounds=1,
            steady_tiles=200, losses=3, processes=1,
        )
    )  # fmt: skip

    contest = report.tables[0]
    own, published = contest.row(OWN_DEFAULT), contest.row(PUBLISHED)
    assert own["4 D: found %"] == 100.0
    assert isinstance(own["4 D: tiles"], float)
    assert own["4 D: tiles"] <= 5.0
    assert isinstance(published["alarms per 10,000"], float)
    assert [row[0] for row in report.tables[-1].rows] == [
        "raw alarms per 10,000 tiles",
        "step of 2 D: median delay, tiles",
        "step of 2 D: found %",
        "refocuses run without need per 10,000 tiles, alarms",
        "refocuses run without need per 10,000 tiles, suspicions",
    ]
    probe = report.tables[-2]
    assert probe.row("0 D from focus")["lost %"] == 0.0
    assert probe.row("4 D from focus")["lost %"] == 100.0
    shown = {candidate.name for candidate in candidates() if not candidate.is_variant}
    assert shown <= {trial["detector"] for trial in report.trials}
    assert report.draw().axes[0].get_xscale() == "log"


def _tile(value: float, *, judgeable: bool = True) -> Tile:
    return Tile(judgeable, {"laplacian_variance": Score(value, 0.0)})


def test_walk_takes_levels_by_distance_from_focus() -> None:
    """A distance between two scanned levels takes either, in proportion; beyond the last, the last."""
    places = [[[_tile(level)] * REPEATS for level in LEVELS] for _ in range(5)]
    walk = Walk(Pool(places, places), np.random.default_rng(1), empty_share=0.0)

    taken = [tile.scores["laplacian_variance"].value for tile in walk.tiles(400, lambda _: 2.25)]
    far = walk.tiles(3, lambda _: 50.0)

    assert set(taken) == {2.0, 3.0}
    assert np.mean(taken) == pytest.approx(2.25, abs=0.08)
    assert {tile.scores["laplacian_variance"].value for tile in far} == {LEVELS[-1]}


def test_walk_meets_empty_places_in_runs() -> None:
    """As many tiles are empty as asked for, several in a row."""
    full, empty = ([[[_tile(value)] * REPEATS for _ in LEVELS]] for value in (1.0, 0.0))
    walk = Walk(Pool(full, empty), np.random.default_rng(2))

    tiles = walk.tiles(20_000, lambda _: 0.0)
    is_empty = np.array([tile.scores["laplacian_variance"].value == 0.0 for tile in tiles])

    runs = np.count_nonzero(np.diff(is_empty.astype(int)) == 1)
    assert is_empty.mean() == pytest.approx(0.06, abs=0.015)
    assert is_empty.sum() / runs == pytest.approx(3.0, abs=0.5)


def test_published_watch_needs_so_many_in_a_row() -> None:
    """A tile above the threshold starts the count afresh; after an alarm it begins again."""
    watch = PublishedWatch(0.7, in_a_row=2)
    watch.learn([_tile(10.0)] * 3)

    alarms = [watch.fold(_tile(value)) for value in (6.0, 8.0, 6.0, 6.0, 6.0, 6.0)]

    assert alarms == [False, False, False, True, False, True]


def test_tallies_add_up() -> None:
    """Rates, medians and shares are over everything that was added."""
    parts = [
        Tally("one", "gold", 20.0, tiles=1000, alarms=1),
        Tally("one", "gold", 8.0, tiles=1000, alarms=3),
    ]
    parts[0].delays = {step: [2, TILES_AFTER + 1] for step in STEPS}
    parts[1].delays = {step: [4, 6] for step in STEPS}

    tally = together(parts, lambda part: part.name)["one"]

    assert tally.alarms_per_10000 == 20.0
    assert tally.median_delay(2.0) == 5.0
    assert tally.found_percent(2.0) == 75.0


def test_a_false_alarm_is_probed_with_its_own_frame() -> None:
    """The picture of a tile can be had again as it was, noise and all."""
    place = Place("gold", 20.0, 0.5, 7, 128)

    first, again = scope_at(place), scope_at(place)

    assert (first.scan() == again.scan()).all()
    assert not (first.scan() == scope_at(place).scan()).all()
