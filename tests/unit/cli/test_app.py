"""The command line as a whole: help, exit codes, what is loaded, and what an error becomes."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
import typer

from focusd import __version__
from focusd.cli import answers
from focusd.cli.app import COMMANDS, EPILOG
from focusd.cli.outcome import CommandFailedError, ExitCode, explained, plain
from focusd.errors import ConfigError, FocusdError, StoreError, StoreLockedError
from tests.unit.cli.conftest import Focusd

HEAVY = {"numpy", "cv2", "scipy", "aiohttp", "pydantic", "structlog", "http.client"}
HEAVY_OF_FOCUSD = {"focusd.daemon", "focusd.simulator.column", "focusd.frame", "focusd.config", "focusd.api"}


def test_help_names_every_command_and_every_exit_code(focusd: Focusd) -> None:
    """What a script has to know stands in ``focusd --help``."""
    result = focusd("--help")

    assert result.exit_code == 0
    for name, _, _ in COMMANDS:
        assert f" {name} " in result.stdout
    for code in ExitCode:
        assert f"  {code.value}  " in EPILOG
        assert str(code.value) in result.stdout


def test_every_command_stands_in_the_table_once() -> None:
    """Two entries of one name would hide a command."""
    names = [name for name, _, _ in COMMANDS]

    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_every_command_shows_an_example_of_itself(name: str, focusd: Focusd) -> None:
    """Help is more than a list of options."""
    result = focusd(name, "--help")

    assert result.exit_code == 0
    assert f"focusd {name}" in result.stdout.split("Example:")[1]


def test_without_a_command_the_help_is_shown(focusd: Focusd) -> None:
    """``focusd`` alone helps, and is a usage error to a script."""
    result = focusd()

    assert result.exit_code == 2
    assert "Exit codes" in result.output


def test_version(focusd: Focusd) -> None:
    """The version is one word after the name."""
    assert focusd("--version").stdout == f"focusd {__version__}\n"


@pytest.mark.parametrize("arguments", [("fly",), ("run",), ("status", "--colour"), ("check-config",)])
def test_a_wrong_command_line_is_a_usage_error(arguments: tuple[str, ...], focusd: Focusd) -> None:
    """Unknown commands and options, and missing arguments, end in 2."""
    assert focusd(*arguments).exit_code == 2


def test_help_loads_nothing_heavy() -> None:
    """The commands can be listed, and a daemon asked, without the libraries of the daemon."""
    script = (
        "import sys; from focusd.cli.app import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: print(sorted(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    loaded = set(ast.literal_eval(out.splitlines()[-1]))
    assert loaded & (HEAVY | HEAVY_OF_FOCUSD) == set()


@pytest.mark.parametrize(
    ("error", "exit_code", "stderr"),
    [
        (FocusdError("no way"), 1, "focusd: no way\n"),
        (StoreError("the disk is full"), 1, "focusd: the disk is full\n"),
        (StoreLockedError("held by process 7"), 75, "focusd: held by process 7\n"),
        (
            ConfigError(["a is wrong", "b is wrong"], source="f.toml"),
            78,
            "f.toml: a is wrong\nf.toml: b is wrong\n",
        ),
        (CommandFailedError("not there", ExitCode.NO_DAEMON), 69, "focusd: not there\n"),
        (FocusdError("two\nlines\x1b[31m"), 1, "focusd: two\\nlines\\x1b[31m\n"),
    ],
)
def test_an_error_becomes_lines_and_an_exit_code(
    error: FocusdError, exit_code: int, stderr: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors raised on purpose are explained in one place, without a traceback."""

    def command() -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        explained(command)()

    assert ended.value.exit_code == exit_code
    assert capsys.readouterr().err == stderr


def test_an_error_nobody_foresaw_is_not_explained_away() -> None:
    """A bug shows itself as what it is."""

    def command() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        explained(command)()


def test_text_from_elsewhere_stays_on_its_line() -> None:
    """Controls, line separators and half characters are shown as escapes; letters stay."""
    assert plain("5 µm\n\x1b]0;\u2028\ud800") == "5 µm\\n\\x1b]0;\\u2028\\ud800"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0.0 s"),
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (12.7, "13 s"),
        (59.7, "1 min"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3 * 3600 + 5 * 60 + 59, "3 h 5 min"),
        (2 * 86_400 + 3600, "2 d 1 h"),
        (86_400 + 60, "1 d"),
    ],
)
def test_lengths_of_time_have_two_units_at_most(seconds: float, words: str) -> None:
    """People read `3 h 5 min`, not 11159 s."""
    assert answers.span(seconds) == words
