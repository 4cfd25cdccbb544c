"""The benchmark of the endpoint measures what it says."""

from __future__ import annotations

from tests.benchmarks import http_load
from tests.benchmarks.http_load import NAIVE, SCORE, VERDICT, HttpOptions
from tests.benchmarks.path_senders import Kind


def test_all_servers_judge_and_answer() -> None:
    """A tiny run gives rates and waiting times of every server, and lines for the goals."""
    report = http_load.run(HttpOptions(rounds=1, kind=Kind(256), post_s=0.2, poll_s=0.3, clients=5))

    figures, goals = report.tables
    assert [row[0] for row in figures.rows] == [VERDICT, SCORE, NAIVE]
    assert all(isinstance(row[1], float) and row[1] > 0 for row in figures.rows)
    assert figures.row(NAIVE)["of naive"] == 1
    assert all(trial["answers"] >= 5 for trial in report.trials)
    assert len(goals.rows) == 3
    assert [axes.get_ylabel() for axes in report.draw().axes] == ["frames/s", "status p99, ms"]
