"""kill -9 at random moments: the lens is put back, and nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from focusd.simulator.column import SimulatedColumn
from focusd.simulator.sharksem_server import SharkSEMServer
from tests.fake_microscope import texture
from tests.loopback.bench import make_column
from tests.loopback.pushing import pushing
from tests.loopback.test_process import process, until, until_event, write_config

KILLS = int(os.environ.get("KILLS", "4"))
"""1,000 by hand."""
SETTLED_WITHIN_S = 2.0
LONGEST_REFOCUS_S = 1.2
SIDE_PX = 128


async def near_a_move(column: SimulatedColumn, rng: random.Random) -> None:
    """Wait until shortly after the lens was commanded, or for any time."""
    if rng.random() < 2 / 3:
        await asyncio.sleep(rng.uniform(0.0, LONGEST_REFOCUS_S))
        return
    moves = len(column.moves) + rng.randint(1, 4)
    with suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_REFOCUS_S):
            await until(lambda: len(column.moves) >= moves)
    await asyncio.sleep(rng.uniform(0.0, 0.005))


@pytest.mark.timeout(60 + 15 * KILLS)
async def test_after_a_kill_the_lens_stands_where_it_did_or_in_focus(tmp_path: Path) -> None:
    """Whenever it comes: the next start finds the open restore point and closes it at once."""
    rng = random.Random(20_261_122)
    column = make_column()
    open_ones = 0
    async with SharkSEMServer(column, time_scale=1) as server:
        config = write_config(tmp_path, server.port)
        for kill in range(KILLS):
            start_mm = column.set_working_distance(9.0 + rng.choice([-1, 1]) * rng.uniform(0.006, 0.02))
            # A state directory of its own: without a baseline the first frame is focused.
            state = str(tmp_path / f"state{kill}")
            async with process(config, FOCUSD__STORE__DIRECTORY=state) as child:
                await until_event(child, "refocus_started")
                await near_a_move(column, rng)
                child.kill()
                await child.wait()
            before = len(column.moves)
            quiet = {"FOCUSD__REFOCUS__MODE": "advise", "FOCUSD__BASELINE__POLICY": "manual"}
            async with process(config, FOCUSD__STORE__DIRECTORY=state, **quiet) as child:
                first = await until_event(child, "restore_point_settled", "link_up")
                if first["event"] == "restore_point_settled":
                    open_ones += 1
                    assert first["outcome"] in {"put_back", "already_there"}, first
                    assert column.working_distance_mm == pytest.approx(start_mm, abs=1e-9)
                    async with asyncio.timeout(SETTLED_WITHIN_S):
                        await until_event(child, "link_up")
                else:
                    # The refocus had not begun to move, or had ended and proven where it ended.
                    at_focus = abs(column.true_defocus_um()) < 2.0
                    assert at_focus or column.working_distance_mm == pytest.approx(start_mm, abs=1e-9)
                    assert len(column.moves) == before
    assert open_ones > 0


async def send(session: aiohttp.ClientSession, number: int, answered: dict[int, float]) -> None:
    """Send frames until the daemon is gone; note every answer."""
    rng = np.random.default_rng(number)
    ground = texture(side=SIDE_PX)
    query = f"v1/frames?shape={SIDE_PX},{SIDE_PX}&dtype=uint8"
    headers = {"Content-Type": "application/octet-stream"}
    with suppress(aiohttp.ClientError, ConnectionError):
        while True:
            pixels = np.clip(rng.normal(ground, 8.0), 0, 255).astype(np.uint8).tobytes()
            async with session.post(query, data=pixels, headers=headers) as response:
                body = await response.json()
                assert response.status == 200, body
            answered[body["verdict"]["frame_id"]] = body["verdict"]["laplacian_variance"]


async def change(session: aiohttp.ClientSession, number: int, baselines: list[tuple[str, float]]) -> None:
    """Set the baseline again and again until the daemon is gone; note what was acknowledged last."""
    with suppress(aiohttp.ClientError, ConnectionError):
        while not baselines:
            async with session.post("v1/baselines/capture", json={}) as response:
                body = await response.json()
            if response.status == 201:
                baselines.append((body["condition"], body["sharpness"]["band_ratio"]))
        condition, _ = baselines[0]
        while True:
            number += 1
            value = float(number)
            body = {"sharpness": {"band_ratio": value}}
            async with session.put(f"v1/baselines/{condition}", json=body) as response:
                assert response.status == 200
            baselines[:] = [(condition, value)]


@pytest.mark.timeout(60 + 10 * KILLS)
async def test_what_was_answered_outlives_a_kill(tmp_path: Path) -> None:
    """Every verdict, and every baseline, that a client was told of is there after the next start."""
    rng = random.Random(20_261_123)
    answered: dict[int, float] = {}
    baselines: list[tuple[str, float]] = []
    for kill in range(KILLS):
        async with pushing(tmp_path) as daemon:
            session = daemon.session
            tasks = [asyncio.create_task(send(session, 100 * kill + n, answered)) for n in range(3)]
            await asyncio.sleep(0.3)
            tasks.append(asyncio.create_task(change(session, 10_000 * kill, baselines)))
            await asyncio.sleep(rng.uniform(0.1, 0.8))
            daemon.child.kill()
            await asyncio.gather(*tasks)
            await daemon.child.wait()
        async with pushing(tmp_path) as daemon:
            session = daemon.session
            for frame_id in list(answered)[-60:]:
                async with session.get(f"v1/frames/{frame_id}") as response:
                    assert (await response.json())["laplacian_variance"] == answered[frame_id]
            condition, value = baselines[0]
            async with session.get(f"v1/baselines/{condition}") as response:
                kept = await response.json()
            # One more change may have been written down whose answer was cut off.
            first_of_next = 10_000.0 * kill + 1
            assert kept["sharpness"]["band_ratio"] in {value, value + 1, first_of_next}
    assert len(answered) > 10 * KILLS
