"""SIGTERM, as a process: how soon it is over, and what it leaves behind."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from focusd.simulator.sharksem_server import SharkSEMServer
from tests.loopback.bench import make_column
from tests.loopback.test_process import START_MM, process, until, until_event, write_config

STOPS = int(os.environ.get("STOPS", "2"))
"""100 by hand."""
IDLE_WITHIN_S = 2.0
REFOCUSING_WITHIN_S = 10.0
LONGEST_REFOCUS_S = 1.2


async def stop(child: asyncio.subprocess.Process) -> tuple[float, int]:
    """Send SIGTERM; give the seconds until the process has ended, and its exit status."""
    assert child.stderr is not None
    rest = asyncio.create_task(child.stderr.read())
    began = time.monotonic()
    child.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        status = await child.wait()
    took_s = time.monotonic() - began
    await rest
    return took_s, status


async def hold_open(url: str, held: asyncio.Event) -> None:
    """Hold a long poll and an idle connection open until the daemon ends them."""
    async with aiohttp.ClientSession(url) as session:
        async with session.get("/v1/health/live") as response:
            assert response.status == 200
        held.set()
        with suppress(aiohttp.ClientError, ConnectionError):
            async with session.get("/v1/ready?timeout_s=600"):
                await asyncio.Event().wait()


@pytest.mark.timeout(60 + 10 * STOPS)
async def test_an_idle_daemon_stops_at_once(tmp_path: Path) -> None:
    """With a microscope and with none, and with clients that hold connections open; the exit status is 0."""
    column = make_column(working_distance_mm=START_MM)
    async with SharkSEMServer(column, time_scale=0) as server:
        for number in range(STOPS):
            is_away = number % 2 == 1
            config = write_config(tmp_path, 1 if is_away else server.port)
            environment = {
                "FOCUSD__SCAN__TRIGGER": "request",
                "FOCUSD__STORE__DIRECTORY": str(tmp_path / f"state{number}"),
            }
            async with process(config, **environment) as child:
                url = str((await until_event(child, "started"))["url"])
                await until_event(child, "link_down" if is_away else "link_up")
                held = asyncio.Event()
                client = asyncio.create_task(hold_open(url, held))
                await held.wait()
                took_s, status = await stop(child)
                client.cancel()
                with suppress(asyncio.CancelledError):
                    await client
            assert status == 0
            assert took_s <= IDLE_WITHIN_S, number
    assert not column.moves


@pytest.mark.timeout(60 + 15 * STOPS)
async def test_in_a_refocus_it_puts_back_first(tmp_path: Path) -> None:
    """Whenever it comes: the lens stands where it did, or in proven focus, within 10 s; nothing is open."""
    rng = random.Random(20_261_124)
    column = make_column()
    async with SharkSEMServer(column, time_scale=1) as server:
        config = write_config(tmp_path, server.port)
        for number in range(STOPS):
            start_mm = column.set_working_distance(9.0 + rng.choice([-1, 1]) * rng.uniform(0.006, 0.02))
            state = {"FOCUSD__STORE__DIRECTORY": str(tmp_path / f"state{number}")}
            before = len(column.moves)
            async with process(config, **state) as child:
                await until_event(child, "refocus_started")
                await until(lambda before=before: len(column.moves) > before)  # type: ignore[misc]  # bound now
                await asyncio.sleep(rng.uniform(0.0, LONGEST_REFOCUS_S))
                took_s, status = await stop(child)
            assert status == 0
            assert took_s <= REFOCUSING_WITHIN_S, number
            is_back = column.working_distance_mm == pytest.approx(start_mm, abs=1e-9)
            assert is_back or abs(column.true_defocus_um()) < 2.0, number
