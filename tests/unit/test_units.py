"""The files of systemd/: what the daemon needs of them, and what systemd says of them unrun."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from focusd.cli.outcome import ExitCode
from focusd.config import Timeouts
from focusd.configfile import HTTP_CREDENTIALS
from focusd.service.refocus import PUT_BACK_DEADLINE_S

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNITS = ("focusd.service", "focusd@.service")
MOST_EXPOSED = 1.2
_UNITS_OF_TIME = {"s": 1.0, "min": 60.0}


def version_of_systemd() -> int:
    """Give the version of systemd-analyze, 0 where there is none."""
    found = shutil.which("systemd-analyze")
    if found is None:
        return 0
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"systemd (\d+)", said)
    return int(version[1]) if version else 0


needs_analyze = pytest.mark.skipif(
    version_of_systemd() < 250, reason="systemd-analyze 250 or newer is not installed"
)


def text(unit: str) -> str:
    """Give a unit without its comments."""
    lines = (SYSTEMD / unit).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def setting(unit: str, key: str) -> str:
    """Give the one value of a setting."""
    (value,) = re.findall(rf"^{key}=(.*)$", text(unit), re.MULTILINE)
    return str(value)


def seconds(unit: str, key: str) -> float:
    """Give a setting that is a time."""
    match = re.fullmatch(r"(\d+)(s|min)", setting(unit, key))
    assert match is not None
    return int(match[1]) * _UNITS_OF_TIME[match[2]]


def analyzed(tmp_path: Path, unit: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Let systemd look at a copy of a unit whose program is there."""
    copy = tmp_path / unit
    program = (SYSTEMD / unit).read_text(encoding="utf-8").replace("/opt/focusd/bin/focusd", sys.executable)
    copy.write_text(program, encoding="utf-8")
    return subprocess.run(
        [str(shutil.which("systemd-analyze")), *command, str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_template_is_the_unit_for_several() -> None:
    """Both differ in names only, so that nothing is mended in one and forgotten in the other."""
    template = text("focusd@.service")

    assert template.replace("-%i", "").replace("%i.toml", "focusd.toml").replace(
        "the electron microscope %i", "an electron microscope"
    ) == text("focusd.service")


@pytest.mark.parametrize("unit", UNITS)
def test_times_and_names_are_those_of_the_daemon(unit: str) -> None:
    """A stop has time to put the lens back, a start is not cut short, and names are the daemon's own."""
    slack_s = 5 * Timeouts().request_s
    assert seconds(unit, "TimeoutStopSec") >= PUT_BACK_DEADLINE_S + slack_s
    assert int(setting(unit, "RestartPreventExitStatus")) == ExitCode.BAD_CONFIGURATION
    loaded = re.findall(r"^LoadCredential=([a-z-]+):", text(unit), re.MULTILINE)
    assert loaded == list(HTTP_CREDENTIALS.values())


@needs_analyze
@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_is_little_exposed(tmp_path: Path, unit: str) -> None:
    """Systemd's own rating stays at 1.2 or below (0 is best, 10 a unit without any protection)."""
    rated = analyzed(tmp_path, unit, "security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}")

    assert rated.returncode == 0, rated.stdout[-300:] + rated.stderr
    rating = re.search(r"Overall exposure level for \S+: ([\d.]+)", rated.stdout)
    assert rating is not None
    assert float(rating[1]) <= MOST_EXPOSED


@needs_analyze
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_the_unit(tmp_path: Path, unit: str) -> None:
    """Nothing is misspelt; only the growing pauses are unknown to systemd before 254."""
    verified = analyzed(tmp_path, unit, "verify")

    complaints = [line for line in verified.stderr.splitlines() if "focusd" in line]
    unknown = re.compile(r"Unknown key.*'(RestartSteps|RestartMaxDelaySec)'")
    assert [line for line in complaints if not unknown.search(line)] == []
    assert verified.returncode == 0
