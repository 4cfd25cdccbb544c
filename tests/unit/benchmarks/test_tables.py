"""Tables line up, goals say what is missing, and the command takes what it documents."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import main
from tests.benchmarks.goals import Goal
from tests.benchmarks.tables import Table, shown


def test_text_is_lined_up() -> None:
    """Names stand to the left, figures to the right, under their headings."""
    table = Table("title", ("name", "x"), (("a", 1.234), ("longer", None)), note="a note")

    assert table.as_text().splitlines() == [
        "title",
        "name       x",
        "------  ----",
        "a       1.23",
        "longer     -",
        "a note",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3"), (3.0, "3"), (0.456, "0.46"), (12.34, "12.3"), (math.nan, "-"), ("x", "x")]
)
def test_figures_are_short(value: float | str, text: str) -> None:
    """Three figures are enough, and none is made up for what was not measured."""
    assert shown(value) == text


def test_a_goal_says_by_how_much_it_is_missed() -> None:
    """Reached, short by so much, or not measured."""
    goal = Goal("scans", 3.2, at_most=True)
    strict = Goal("dose", 1.0, at_most=True, strictly=True)

    assert goal.line(3.2, 6.0)[-1] == "reached"
    assert goal.line(3.7, 6.0)[-1] == "short by 0.50"
    assert goal.line(math.nan, None)[-1] == "not measured"
    assert strict.line(1.0, None)[-1] == "short by 0"
    assert strict.line(0.9, None)[-2:] == ("under 1", "reached")


def test_command_prints_tables_and_writes_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The tables go to standard output, JSON and picture to the files named."""
    json_file, picture = tmp_path / "a.json", tmp_path / "a.png"
    chosen = ["--dose", "200", "--images", "gold", "--distance", "small", "--strategies", "published wide 5"]

    code = main(["refocus", *chosen, "--processes", "1", "--json", str(json_file), "--picture", str(picture)])

    assert code == 0
    assert "published wide 5" in capsys.readouterr().out
    assert json_file.stat().st_size > 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_command_names_a_strategy_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt strategy ends with the usage code and the names there are."""
    assert main(["refocus", "--strategies", "focused"]) == 2
    assert "unknown strategy focused; known are focusd" in capsys.readouterr().err
