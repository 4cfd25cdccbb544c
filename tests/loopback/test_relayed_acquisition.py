"""A script written for the microscope alone goes through the relay: only its port number is changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from focusd.frame import ScanRequest
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.exposure import Exposure, SeedExposure
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.sharksem_server import SharkSEMServer
from focusd.simulator.specimen import Specimen
from tests.loopback.bench import DEPTH_OF_FIELD_UM, FIELD_MM, SIDE_PX, Client, daemon
from tests.loopback.plain_client import PlainClient
from tests.loopback.tescan_client import CLIENTS, TOUR, run_script, take_tiles

TILES = 70
STEP_MM = 0.003
RISE_DEPTHS = 0.1
"""Depths of field by which the specimen rises from tile to tile."""
DWELL_NS = 500
"""Not focusd's own."""
IN_FOCUS_DEPTHS = 2.0


class WatchedColumn(SimulatedColumn):
    """Remembers how far out of focus each tile of the script was when the beam was on it."""

    def __init__(self, rise_depths: float) -> None:
        rise_um = rise_depths * DEPTH_OF_FIELD_UM / STEP_MM
        super().__init__(
            ColumnOptions(field_of_view_mm=FIELD_MM, working_distance_mm=9.0),
            Specimen(SpecimenOptions(texture="gold", texture_side_px=512, tilt_um_per_mm=(rise_um, 0.0))),
        )
        self.tiles: list[float] = []

    def expose(self, request: ScanRequest, detector_number: int | None = None) -> Exposure | SeedExposure:
        """Note the defocus of the script's tiles."""
        if request.dwell_time_us == pytest.approx(DWELL_NS / 1000):
            self.tiles.append(abs(self.true_defocus_um()) / DEPTH_OF_FIELD_UM)
        return super().expose(request, detector_number)

    @property
    def share_in_focus(self) -> float:
        """Of the script's tiles."""
        return sum(depths <= IN_FOCUS_DEPTHS for depths in self.tiles) / len(self.tiles)


@asynccontextmanager
async def relaying(
    column: SimulatedColumn, state: Path, **sections: dict[str, object]
) -> AsyncIterator[tuple[Client, int]]:
    """Run microscope and daemon; give the relay's port."""
    relay: dict[str, object] = {"listen": "127.0.0.1:0"} | sections.pop("relay", {})
    async with (
        SharkSEMServer(column, time_scale=0) as server,
        daemon(server.port, state, frames={"source": "relay"}, relay=relay, **sections) as client,
    ):
        status = await client.until(lambda status: status["column"] is not None)
        yield client, int(status["relay"]["address"].rpartition(":")[2])


@CLIENTS
async def test_an_unchanged_script_keeps_its_focus(client: Path, tmp_path: Path) -> None:
    """Directly most of the example's tiles are blurred; with another port number nearly none."""
    directly, relayed = WatchedColumn(RISE_DEPTHS), WatchedColumn(RISE_DEPTHS)
    async with SharkSEMServer(directly, time_scale=0) as server:
        await take_tiles(client, server.port, tmp_path / "directly", TILES, STEP_MM)
    async with relaying(relayed, tmp_path / "state") as (focusd, port):
        kept = await take_tiles(client, port, tmp_path / "relayed", TILES, STEP_MM)
        status = await focusd.get("v1/status")

    assert [len(tile) for tile in kept] == [SIDE_PX * SIDE_PX] * TILES
    assert len(directly.tiles) == len(relayed.tiles) == TILES
    assert directly.share_in_focus < 0.5
    assert relayed.share_in_focus >= 0.95, relayed.tiles
    assert status["relay"]["frames"] == TILES
    assert status["relay"]["holds_timed_out"] == 0
    assert status["counters"]["refocuses"] >= 3


@CLIENTS
async def test_without_drift_the_images_are_the_same_to_the_byte(client: Path, tmp_path: Path) -> None:
    """The relay adds nothing and takes nothing away: neither from images nor from any answer."""
    async with SharkSEMServer(WatchedColumn(0.0), time_scale=0) as server:
        direct = await take_tiles(client, server.port, tmp_path / "directly", 5, STEP_MM)
        heard = await run_script(client, TOUR, str(server.port))
    quiet: dict[str, object] = {"policy": "manual"}
    async with relaying(WatchedColumn(0.0), tmp_path / "state", baseline=quiet) as (_, port):
        relayed = await take_tiles(client, port, tmp_path / "relayed", 5, STEP_MM)
        overheard = await run_script(client, TOUR, str(port))

    assert relayed == direct
    assert overheard == heard
    assert len(set(heard.splitlines())) > 8


async def test_a_clients_own_move_is_no_drift(tmp_path: Path) -> None:
    """Suspicion ends with the move, the lens stays where the script put it, and the frame after it knows."""
    column = WatchedColumn(0.0)
    quiet: dict[str, object] = {"policy": "manual"}
    async with relaying(column, tmp_path, baseline=quiet) as (client, port):
        microscope = await asyncio.to_thread(PlainClient, port)
        try:
            await asyncio.to_thread(one_tile, microscope)
            first = await client.until(lambda status: status["counters"]["frames_judged"] == 1)
            await asyncio.to_thread(microscope.send, "SetWD", 9.004)
            await client.until(lambda status: status["working_distance_mm"] == 9.004)
            await asyncio.to_thread(one_tile, microscope)
            status = await client.until(lambda status: status["counters"]["frames_judged"] == 2)
        finally:
            microscope.close()

    assert first["last_verdict"]["working_distance_mm"] == 9.0
    assert status["last_verdict"]["working_distance_mm"] == 9.004
    assert column.working_distance_mm == 9.004
    assert status["last_refocus"] is None


async def test_a_refocus_by_hand_waits_for_the_clients_scan(tmp_path: Path) -> None:
    """The scan under way is finished undisturbed, the next one waits, and the images are whole."""
    column = WatchedColumn(0.0)
    column.set_working_distance(9.008)
    quiet: dict[str, object] = {"policy": "manual"}
    async with relaying(column, tmp_path, baseline=quiet) as (client, port):
        microscope = await asyncio.to_thread(PlainClient, port)
        try:
            microscope.send("DtEnable", 0, 1, 8)
            # Continuous: it ends when it is told to.
            await asyncio.to_thread(microscope.scan, 1, SIDE_PX, SIDE_PX, frames=0, dwell_ns=DWELL_NS)
            await asyncio.to_thread(microscope.fetch, [0], SIDE_PX * SIDE_PX)
            moved, problem = await client.call(
                "PUT", "v1/microscope/working-distance", {"working_distance_mm": 9.0}
            )
            _, started = await client.call("POST", "v1/refocuses")
            waiting = await client.get("v1/status")
            stands_mm = column.working_distance_mm
            await asyncio.to_thread(microscope.send, "ScStopScan")
            path = f"v1/refocuses/{started['refocus_id']}"
            done = await client.until(lambda status: status["last_refocus"] is not None)
            record = await client.get(path)
        finally:
            microscope.close()

    assert (moved, problem["type"]) == (409, "urn:focusd:problem:scan-lease")
    assert waiting["current_refocus"]["scans"] == []
    assert waiting["relay"]["is_scanning"]
    assert stands_mm == 9.008
    assert done["state"] != "refocusing"
    assert record["result"] == "refocused", record["reason"]


def one_tile(microscope: PlainClient) -> None:
    """Take one tile."""
    microscope.send("DtEnable", 0, 1, 8)
    microscope.scan(0, SIDE_PX, SIDE_PX, dwell_ns=DWELL_NS)
    microscope.fetch([0], SIDE_PX * SIDE_PX)
