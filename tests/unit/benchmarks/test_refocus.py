"""The refocus contest counts scans and dose rightly and judges where the lens ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from focusd.config import RefocusSettings
from focusd.focus.search import METHODS
from tests.benchmarks import refocus, strategies, tables
from tests.benchmarks.peers import PUBLISHED_MAXITER
from tests.benchmarks.report import Report
from tests.benchmarks.strategies import own_default, own_name
from tests.benchmarks.world import Environment

MOST_SCANS = RefocusSettings().max_scans


@pytest.fixture(scope="module")
def report() -> Report:
    """Give a contest of everybody over two easy starts."""
    return refocus.run(
        refocus.RefocusOptions(
            doses=(200.0,), images=("gold", "resin"), distances=("small", "medium"), processes=1
        )
    )


def test_everybody_starts_from_every_place(report: Report) -> None:
    """Each strategy has a row for each distance, and one trial for each specimen and distance."""
    names = list(strategies.strategies())

    assert [row[0] for row in report.tables[0].rows] == names
    assert report.tables[0].title.startswith("refocus, std, small")
    assert len(report.trials) == len(names) * 4
    assert {own_name(method) for method in METHODS} < set(names)


@pytest.mark.parametrize("maxiter", PUBLISHED_MAXITER)
@pytest.mark.parametrize("reach", ["wide", "10 D"])
def test_published_call_takes_as_many_scans_as_it_may(report: Report, maxiter: int, reach: str) -> None:
    """The published call's cost is its ``maxiter``, in scans and in dose."""
    row = report.tables[0].row(f"published {reach} {maxiter}")

    assert row["scans"] == maxiter
    assert row["dose"] == pytest.approx(maxiter)


def test_focusd_finds_focus_and_ends_nowhere_worse(report: Report) -> None:
    """On clear pictures the default method ends in focus within its budget; nothing of ours ends worse."""
    for table in report.tables[:2]:
        row = table.row(own_default(whole_frames=True))
        assert row["ok %"] == 100.0, table.title
        assert isinstance(row["scans"], float)
        assert 3.0 <= row["scans"] <= MOST_SCANS
    own = [trial for trial in report.trials if trial["strategy"].startswith(strategies.OWN)]
    assert not [trial for trial in own if trial["worse"]]
    assert all(trial["cpu_s"] > 0.0 for trial in own)


def test_an_empty_field_misleads_peers_only(report: Report) -> None:
    """Resin has next to nothing to focus on: focusd finds it or says so, and no peer says anything."""
    table = next(table for table in report.tables if table.title.startswith("nearly blank"))

    assert table.row(own_default())["refused or right %"] == 100.0
    assert table.row(own_default())["worse %"] == 0.0
    assert table.row("Odemis-like")["refused %"] == 0.0


def test_goals_are_measured_on_the_default_method(report: Report) -> None:
    """The goals name the figure of the tables, the peer's, and whether it is reached."""
    goals = report.tables[-1]
    small = report.tables[0]

    row = goals.row("small: scans")

    assert row["focusd"] == small.row(own_default())["scans"]
    assert row["published"] == small.row(strategies.PUBLISHED)["scans"]
    assert str(row["verdict"]).startswith(("reached", "short by"))


def test_report_can_be_written_and_drawn(report: Report, tmp_path: Path) -> None:
    """Tables and trials go to a JSON file; the picture has a panel for each distance."""
    path = tmp_path / "contest.json"

    tables.write_json(path, report.name, report.tables, report.trials)
    content = json.loads(path.read_text(encoding="utf-8"))
    figure = report.draw()

    assert content["benchmark"] == "refocus"
    assert len(content["trials"]) == len(report.trials)
    assert [panel.get_title() for panel in figure.axes] == ["start: small", "start: medium"]


@pytest.mark.parametrize("environment", ["rough", "seed"])
def test_other_microscopes_can_be_had(environment: Environment) -> None:
    """A worn microscope and the published model run the same contest."""
    report = refocus.run(
        refocus.RefocusOptions(
            environment=environment,
            doses=(200.0,),
            images=("gold",),
            distances=("small",),
            strategies=(own_default(whole_frames=True), "published"),
            processes=1,
        )
    )

    row = report.tables[0].row(own_default(whole_frames=True))
    assert row["ok %"] == 100.0
    assert row["worse %"] == 0.0
