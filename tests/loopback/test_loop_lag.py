"""A running daemon tells how late its event loop is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.loopback.bench import connected, make_column


async def test_the_status_tells_the_lag(tmp_path: Path) -> None:
    """After the first second there are figures, in rising order."""
    async with connected(make_column(), tmp_path) as client:
        lag: dict[str, Any] | None = None
        async with asyncio.timeout(20):
            while lag is None:
                _, status = await client.call("GET", "v1/status")
                lag = status["event_loop_lag_ms"]
                await asyncio.sleep(0.1)

    assert 0.0 <= lag["p50"] <= lag["p99"] <= lag["max"]
