"""What ``run`` reads from the environment, and what it makes of a daemon that cannot start or breaks."""

from __future__ import annotations

import errno
import gc
import os
from pathlib import Path

import pytest

from focusd import daemon
from focusd.cli import run
from focusd.config import Config
from focusd.errors import ConfigError, StoreError, StoreLockedError
from focusd.notify import Notifier
from tests.unit.cli.conftest import Focusd


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a good configuration file."""
    path = tmp_path / "focusd.toml"
    path.write_text("[microscope]\nlimits.working_distance_mm = [4.0, 30.0]\n[log]\nformat = 'json'\n")
    return path


class Ends:
    """Stands for a daemon that ends with an error, before or after its start was complete."""

    def __init__(self, error: Exception | None, *, started: bool = False) -> None:
        self._error = error
        self._started = started
        self.watchdog_s: float | None = None

    async def __call__(self, config: Config, *, notifier: Notifier, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        if self._started:
            notifier.ready()
        if self._error is not None:
            raise self._error


IN_USE = OSError(errno.EADDRINUSE, "cannot listen on http.port = 8470: Address already in use")


@pytest.mark.parametrize(
    ("error", "exit_code", "line"),
    [
        (IN_USE, 1, "focusd: cannot listen on http.port = 8470: Address already in use"),
        (ExceptionGroup("tasks", [ExceptionGroup("tasks", [IN_USE])]), 1, "focusd: cannot listen on"),
        (StoreError("/state: Read-only file system"), 1, "focusd: /state: Read-only file system"),
        (StoreLockedError("/state is held by process 7"), 75, "focusd: /state is held by process 7"),
        (ConfigError(["http.token_file: is empty"], source="x"), 78, "x: http.token_file: is empty"),
    ],
)
def test_a_start_that_cannot_be_is_one_line(
    error: Exception, exit_code: int, line: str, file: Path, focusd: Focusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person at the terminal is told why, not where in the source."""
    monkeypatch.setattr(daemon, "run_until_stopped", Ends(error))

    result = focusd("run", "-c", file)

    assert result.exit_code == exit_code
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "started"),
    [
        (RuntimeError("a bug"), False),
        (RuntimeError("a bug"), True),
        (OSError(errno.EIO, "a bug"), True),
        (StoreError("a bug"), True),
        (ExceptionGroup("tasks", [OSError("a bug"), ValueError("another")]), False),
    ],
)
def test_a_fault_is_told_in_the_log(
    error: Exception, started: bool, file: Path, focusd: Focusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that breaks ends with 1; the traceback is one event of the log and nothing else."""
    monkeypatch.setattr(daemon, "run_until_stopped", Ends(error, started=started))

    result = focusd("run", "-c", file)

    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert '"event": "daemon_failed"' in line
    assert "a bug" in line
    assert "Traceback" in line


def test_a_daemon_that_was_stopped_has_done_its_work(
    file: Path, focusd: Focusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 after a stop on request."""
    monkeypatch.setattr(daemon, "run_until_stopped", Ends(None, started=True))

    result = focusd("run", "-c", file)

    assert result.exit_code == 0
    assert result.output == ""


def test_a_bad_configuration_starts_nothing(
    file: Path, focusd: Focusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """78 tells systemd that another try is of no use."""
    file.write_text("[microscope]\n")
    monkeypatch.setattr(daemon, "run_until_stopped", Ends(AssertionError("started")))

    result = focusd("run", "-c", file)

    assert result.exit_code == 78
    assert result.stderr.startswith(f"{file}: microscope.limits is required")


@pytest.mark.parametrize(
    ("pid", "watchdog_s"), [(None, 30.0), (str(os.getpid()), 30.0), ("1", None)], ids=["any", "ours", "other"]
)
def test_the_watchdog_of_the_environment_is_fed(
    pid: str | None,
    watchdog_s: float | None,
    file: Path,
    focusd: Focusd,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``WATCHDOG_USEC`` counts unless ``WATCHDOG_PID`` names another process."""
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_PID", pid)
    ends = Ends(None)
    monkeypatch.setattr(daemon, "run_until_stopped", ends)

    focusd("run", "-c", file)

    assert ends.watchdog_s == watchdog_s


def test_only_the_stream_that_is_the_journal_counts_as_the_journal(tmp_path: Path) -> None:
    """``JOURNAL_STREAM`` is inherited by children whose output goes elsewhere."""
    with (tmp_path / "log").open("w") as log:
        found = os.fstat(log.fileno())
        itself = f"{found.st_dev}:{found.st_ino}"

        assert run.writes_to_journal(itself, log.fileno())
        assert not run.writes_to_journal(f"{found.st_dev}:{found.st_ino + 1}", log.fileno())
        assert not run.writes_to_journal("nonsense", log.fileno())
        assert not run.writes_to_journal(None, log.fileno())
        assert not run.writes_to_journal("", log.fileno())
    assert not run.writes_to_journal(itself, -1)


def test_what_is_imported_is_not_searched_for_garbage() -> None:
    """It stays for ever; what comes later is collected as usual, also after a start that failed."""
    gc.unfreeze()

    @run.imports_kept()
    def fail() -> None:
        assert not gc.isenabled()
        raise ConfigError(["no"], source="x")

    with pytest.raises(ConfigError):
        fail()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0

    with run.imports_kept():
        pass

    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    gc.unfreeze()
