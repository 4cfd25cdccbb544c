"""The benchmark of the connections measures what it says."""

from __future__ import annotations

from tests.benchmarks import transport
from tests.benchmarks.path_senders import Kind
from tests.benchmarks.transport import BRIDGE, NAIVE, RAW, SHARKSEM, TransportOptions


def test_all_ways_receive_frames() -> None:
    """A tiny run gives rate, work and page faults of every way, and a line for each of focusd's own."""
    report = transport.run(TransportOptions(rounds=2, kinds=(Kind(256), Kind(256, 16)), frames=2))

    *figures, goals = report.tables
    for table in figures:
        assert [row[0] for row in table.rows] == [RAW, SHARKSEM, BRIDGE, NAIVE]
        assert all(isinstance(row[1], float) and row[1] > 0 for row in table.rows)
        assert table.row(RAW)["of raw"] == 1
    assert len(goals.rows) == 4
    assert len(report.trials) == 2 * 2 * 4
    assert [axes.get_ylabel() for axes in report.draw().axes] == ["GB/s", "GB/s"]
