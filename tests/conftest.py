"""Rules every test is held to: no task left behind, and no setting leaking in from the environment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import structlog


@pytest_asyncio.fixture(autouse=True)
async def no_task_left_behind() -> AsyncIterator[None]:
    """Fail a test that leaves a task pending in its event loop."""
    before = asyncio.all_tasks()
    yield
    left = {task for task in asyncio.all_tasks() - before - {asyncio.current_task()} if not task.done()}
    for task in left:
        task.cancel()
    assert not left, f"tasks left pending: {left}"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide settings of the developer's own shell."""
    for name in list(os.environ):
        if name.startswith(("FOCUSD__", "NOTIFY_SOCKET", "WATCHDOG_", "JOURNAL_STREAM")):
            monkeypatch.delenv(name)
    structlog.contextvars.clear_contextvars()
