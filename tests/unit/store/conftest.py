"""A store in a directory of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from focusd.store.database import Store, open_store


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Give a state directory that does not exist yet."""
    return tmp_path / "state"


@pytest_asyncio.fixture
async def store(directory: Path) -> AsyncIterator[Store]:
    """Give an open store that keeps 100 frames."""
    async with open_store(directory, max_frames=100) as opened:
        yield opened
