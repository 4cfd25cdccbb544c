"""The relay's benchmark measures what it says."""

from __future__ import annotations

from tests.benchmarks import relay
from tests.benchmarks.relay import DIRECT, FORWARDED, RELAYED, RelayBenchmarkOptions


def test_all_ways_are_measured() -> None:
    """A tiny run gives round trips and rates of every way, a line for each goal, and a picture."""
    report = relay.run(RelayBenchmarkOptions(rounds=2, messages=20, side_px=256, frames=2))

    figures, goals = report.tables
    assert [row[0] for row in figures.rows] == [DIRECT, RELAYED, FORWARDED]
    assert all(isinstance(cell, float) and cell > 0 for row in figures.rows for cell in row[1:])
    assert len(goals.rows) == 3
    assert [len(trial["rates"]) for trial in report.trials] == [2, 2, 2]
    assert [axes.get_xlabel() for axes in report.draw().axes][1] == "turn"
