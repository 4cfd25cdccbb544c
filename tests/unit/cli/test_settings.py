"""``check-config`` and ``schema``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from focusd.config import Config
from tests.unit.cli.conftest import Focusd

GOOD = "[microscope]\nlimits.working_distance_mm = [4.0, 30.0]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a good configuration file."""
    path = tmp_path / "focusd.toml"
    path.write_text(GOOD)
    return path


def test_a_good_configuration_is_ok(file: Path, focusd: Focusd) -> None:
    """One word to people, 0 to systemd."""
    result = focusd("check-config", file)

    assert result.exit_code == 0
    assert result.stdout == f"{file}: OK\n"


def test_every_problem_is_a_line_of_its_own(file: Path, focusd: Focusd) -> None:
    """All problems are told at once, each with the file and the field; 78."""
    file.write_text("[microscope]\nport = 70000\nprot = 1\n[http]\nport = 'x'\n")

    result = focusd("check-config", file)

    assert result.exit_code == 78
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert all(line.startswith(f"{file}: ") for line in lines)
    for field in ("microscope.limits", "microscope.port", "microscope.prot", "http.port"):
        assert sum(f"{file}: {field} " in line for line in lines) == 1


@pytest.mark.parametrize(
    ("addition", "problem"),
    [
        ('driver = "telepathy"', "microscope.driver must be one of"),
        ('[drift]\nmetric = "beauty"', "drift.metric must be one of"),
        ('[refocus]\nmetric = "beauty"', "refocus.metric must be one of"),
    ],
)
def test_names_that_only_the_daemon_knows_are_checked_too(
    addition: str, problem: str, file: Path, focusd: Focusd
) -> None:
    """A driver or a metric that does not exist is found before the night, not in it."""
    file.write_text(GOOD + addition)

    result = focusd("check-config", file)

    assert result.exit_code == 78
    assert result.stderr.startswith(f"{file}: {problem}")


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"[[[", b""])
def test_a_file_that_is_no_configuration(content: bytes | None, file: Path, focusd: Focusd) -> None:
    """Missing, not text, not TOML, empty: 78 and no traceback."""
    file.unlink()
    if content is not None:
        file.write_bytes(content)

    result = focusd("check-config", file)

    assert result.exit_code == 78
    assert result.stderr.startswith(f"{file}: ")


def test_a_variable_that_sets_nothing_is_a_problem(
    file: Path, focusd: Focusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typing error in the environment is not passed over."""
    monkeypatch.setenv("FOCUSD__HTTP__PROT", "8471")

    result = focusd("check-config", file)

    assert result.exit_code == 78
    assert "FOCUSD__HTTP__PROT" in result.stderr


def test_schema_is_the_configurations_own(focusd: Focusd) -> None:
    """An editor can check a file as focusd would."""
    assert json.loads(focusd("schema").stdout) == Config.model_json_schema()


def test_every_setting_in_the_schema_has_a_meaning(focusd: Focusd) -> None:
    """Nobody has to guess what a key does."""
    schema = json.loads(focusd("schema").stdout)

    settings = dict(_settings(schema))
    assert len(settings) > 50
    assert [name for name, setting in settings.items() if not setting.get("description")] == []


def _settings(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for model in [schema, *schema["$defs"].values()]:
        for name, setting in model["properties"].items():
            # The meaning of a section stands with the section, unless it says something else here.
            section = schema["$defs"][setting["$ref"].rpartition("/")[2]] if "$ref" in setting else {}
            yield f"{model['title']}.{name}", section | setting
