"""A program acquires with its own Micro-Manager core, and a daemon beside it keeps its images in focus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bridges.demo_camera import Z_LIMITS_UM, bridge_module, load, write_config
from tests.bridges.test_micromanager import ACCEPTED_UM, SECTIONS, shared_core
from tests.loopback.bench import Client, daemon

Sections = dict[str, dict[str, object]]


@asynccontextmanager
async def streaming(folder: Path, *, z_um: float, **refocus: object) -> AsyncIterator[tuple[Client, Any]]:
    """Share a core that starts beside focus with a daemon that judges what the program takes."""
    core = load(shared_core(), write_config(folder, z_um=z_um))
    sections: Sections = SECTIONS | {
        "frames": {"source": "stream"},
        "refocus": SECTIONS["refocus"] | refocus,
    }
    with bridge_module().sharing(core, Z_LIMITS_UM, port=0, pixel_size_um=1.0) as bridge:
        async with daemon(bridge.port, folder, **sections) as client:
            await client.until(lambda status: status["stream"]["is_subscribed"])
            yield client, core


async def snap_until(client: Client, core: Any, what: str, least: int) -> dict[str, Any]:
    """Let the program snap, one image after the other, until so many of something have been counted."""
    async with asyncio.timeout(40):
        while True:
            status: dict[str, Any] = await client.get("v1/status")
            is_settled = status["current_refocus"] is None and status["pending_refocus"] is None
            if is_settled and status["counters"][what] >= least and status["state"] == "monitoring":
                return status
            await asyncio.to_thread(core.snapImage)


async def test_focus_that_a_program_loses_is_mended_from_its_snaps_alone(tmp_path: Path) -> None:
    """Started 8 um beside focus; once that is mended, 6 um are lost again."""
    async with streaming(tmp_path, z_um=8.0, mode="immediate") as (client, core):
        first = await snap_until(client, core, "refocuses", 1)
        first_um = core.getPosition()
        await asyncio.to_thread(core.setPosition, first_um - 6.0)
        second = await snap_until(client, core, "refocuses", 2)
        second_um = core.getPosition()

    assert [each["last_refocus"]["result"] for each in (first, second)] == ["refocused"] * 2
    assert second["last_refocus"]["trigger"] == "drift"
    assert abs(first_um) < ACCEPTED_UM
    assert abs(second_um) < ACCEPTED_UM
    assert second["stream"]["frames_refused"] == 0


async def test_an_acquisition_engines_images_are_judged_and_nothing_moves_under_it(tmp_path: Path) -> None:
    """What is wanted after the images of an MDA waits for the checkpoint between two of them."""
    useq = pytest.importorskip("useq")
    sequence = useq.MDASequence(time_plan={"interval": 0.05, "loops": 6})
    async with streaming(tmp_path, z_um=8.0) as (client, core):
        # There is none that the engine could close between two images.
        core.setAutoShutter(False)
        await asyncio.to_thread(core.mda.run, sequence)
        judged = await client.until(lambda status: status["counters"]["frames_judged"] == 6)
        untouched_um = core.getPosition()
        _, done = await client.call("POST", "v1/checkpoint")

    assert judged["pending_refocus"]["waits_for"] == "checkpoint"
    assert judged["stream"]["frames_missing"] == 0
    assert judged["last_verdict"]["working_distance_mm"] == pytest.approx(10.008)
    assert untouched_um == pytest.approx(8.0)
    assert done["action"] == "refocused"
    assert abs(core.getPosition()) < ACCEPTED_UM
