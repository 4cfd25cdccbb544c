"""The benchmark from bytes to a verdict measures what it says."""

from __future__ import annotations

from tests.benchmarks import path
from tests.benchmarks.path import DAEMON, NAIVE, RECEIVED, SCORE, VERDICT, PathOptions
from tests.benchmarks.path_goals import Bounds
from tests.benchmarks.path_senders import Kind


def test_all_ways_judge_frames() -> None:
    """A tiny run gives rate, work and lag of every way, and lines for the goals."""
    report = path.run(PathOptions(rounds=1, kinds=(Kind(256), Kind(256, 16)), megabytes=0.5))

    *figures, goals = report.tables
    for table in figures:
        assert [row[0] for row in table.rows] == [NAIVE, SCORE, VERDICT, RECEIVED, DAEMON]
        assert all(isinstance(row[1], float) and row[1] > 0 for row in table.rows)
        assert table.row(NAIVE)["of naive"] == 1
    assert len(goals.rows) == 2 * 3 + 1
    assert len(report.trials) == 2 * 5
    assert [axes.get_ylabel() for axes in report.draw().axes] == ["frames/s", "frames/s"]


def test_a_verdict_on_a_figure_names_what_is_missing() -> None:
    """Above the goal, between goal and floor, and below; also where less is better."""
    rate, lag = Bounds(6.0, 4.0), Bounds(5.0, 20.0, at_most=True)

    assert [rate.verdict(figure) for figure in (7.0, 5.0, 3.0)] == [
        "reached",
        "short by 1",
        "short by 3, under the floor",
    ]
    assert [lag.verdict(figure) for figure in (5.0, 19.0, 21.0)] == [
        "reached",
        "short by 14",
        "short by 16, under the floor",
    ]
