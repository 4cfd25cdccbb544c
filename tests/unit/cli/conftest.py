"""A fake daemon, a runner of commands, and no setting of the developer's own shell."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import pytest
import structlog
from typer.testing import CliRunner

from focusd.cli import refocus
from focusd.cli.app import app
from tests.unit.cli.fake_daemon import FakeDaemon, running

if TYPE_CHECKING:
    from typer.testing import Result


class Focusd(Protocol):
    """Runs ``focusd`` with arguments in this process."""

    def __call__(self, *arguments: object) -> Result: ...


@pytest.fixture(autouse=True)
def own_settings_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's daemon; poll a fake one fast, on a terminal that is wide and without colours."""
    for name in ("FOCUSD_URL", "FOCUSD_TOKEN_FILE", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(refocus, "POLL_S", 0.005)
    monkeypatch.setattr(refocus, "PATIENCE_S", 0.05)


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Take back the log that a command sets up for its process: here it shares one with other tests."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def focusd() -> Focusd:
    """Give the runner of commands."""
    runner = CliRunner()

    def run(*arguments: object) -> Result:
        return runner.invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)

    return run


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    """Give a fake daemon that listens."""
    with running(FakeDaemon()) as fake:
        yield fake
