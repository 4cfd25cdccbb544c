"""A scan of tilted ground over real TCP: with the position of the next tile told, and without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from focusd.client import Checkpoint, Client
from focusd.config import Config
from focusd.daemon import running
from focusd.frame import ScanRequest
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.presets import TileScan
from focusd.simulator.sharksem_server import SharkSEMServer
from focusd.simulator.specimen import Specimen
from tests.loopback.bench import DEPTH_OF_FIELD_UM, FIELD_MM, SIDE_PX, settings
from tests.loopback.test_bridge_daemon import connected as connected_bridge

SCAN = TileScan(columns=8, rows=6, pitch_mm=1.02 * FIELD_MM)
RISE_DEPTHS = 0.6
"""Of the ground, from one tile to the next along a row and from row to row."""
IN_FOCUS_DEPTHS = 2.0


@dataclass
class Scanned:
    """How a scan went."""

    defocus_depths: dict[int, float] = field(default_factory=dict)
    """Of each tile's last take."""
    takes: int = 0
    refocuses: int = 0
    checkpoints: list[Checkpoint] = field(default_factory=list)

    @property
    def share_in_focus(self) -> float:
        """Of the tiles as they were kept."""
        return sum(abs(depths) < IN_FOCUS_DEPTHS for depths in self.defocus_depths.values()) / len(
            self.defocus_depths
        )


def tilted() -> SimulatedColumn:
    """A microscope in focus on the first tile of ground that rises along rows and from row to row."""
    rise = RISE_DEPTHS * DEPTH_OF_FIELD_UM / SCAN.pitch_mm
    ground = SpecimenOptions(texture="gold", texture_side_px=512, tilt_um_per_mm=(rise, rise))
    column = SimulatedColumn(ColumnOptions(field_of_view_mm=FIELD_MM), Specimen(ground))
    column.move_stage(*SCAN.positions_mm()[0])
    column.set_working_distance(column.best_focus_mm())
    return column


@asynccontextmanager
async def acquiring(column: SimulatedColumn, state: Path, mode: str) -> AsyncIterator[Client]:
    """A daemon that is sent frames."""
    chosen: dict[str, dict[str, object]] = {"frames": {"source": "push"}, "refocus": {"mode": mode}}
    async with SharkSEMServer(column, time_scale=0) as server:
        config = Config.model_validate(settings(server.port, state, **chosen))
        async with running(config) as daemon, Client(daemon.url) as focusd:
            await focusd.wait_ready(timeout_s=10)
            yield focusd


async def take_all(focusd: Client, column: SimulatedColumn, *, tells: bool) -> Scanned:
    """Take all tiles, each after a checkpoint, and those again that were lost."""
    places, scanned = SCAN.positions_mm(), Scanned()
    tile_of_frame: dict[int, int] = {}
    due = list(range(len(places)))
    while True:
        done = await focusd.checkpoint(places[due[0]] if due and tells else None)
        scanned.checkpoints.append(done)
        scanned.refocuses += done.refocus is not None
        if done.reacquire_from is not None:
            again = {tile for frame, tile in tile_of_frame.items() if frame >= done.reacquire_from}
            due = sorted(again | set(due))
            continue
        if not due:
            return scanned
        tile = due.pop(0)
        column.move_stage(*places[tile])
        scanned.defocus_depths[tile] = column.true_defocus_um() / DEPTH_OF_FIELD_UM
        scanned.takes += 1
        judgement = await focusd.judge(
            column.render(ScanRequest(SIDE_PX, SIDE_PX, dwell_time_us=1.0)),
            wait_for_focus=False,
            dwell_time_us=1.0,
            pixel_size_nm=10.0,
            detector="SE",
        )
        tile_of_frame[judgement.frame_id] = tile


async def test_told_where_the_tiles_are_focusd_refocuses_less(tmp_path: Path) -> None:
    """All tiles are in focus, more nearly so, fewer are taken twice, and every move is a sure one."""
    scans = {}
    for tells in (False, True):
        column = tilted()
        async with acquiring(column, tmp_path / str(tells), "checkpoint") as focusd:
            scans[tells] = await take_all(focusd, column, tells=tells)
    told, untold = scans[True], scans[False]
    moves = [done.prediction for done in told.checkpoints if done.prediction and done.prediction.applied]

    assert told.share_in_focus == untold.share_in_focus == 1.0
    assert told.refocuses <= untold.refocuses - 2
    assert told.takes < untold.takes
    assert len(moves) >= 10
    assert all(move.standard_deviation_um <= DEPTH_OF_FIELD_UM for move in moves)
    assert all(done.prediction is None for done in untold.checkpoints)
    summed = [sum(abs(depths) for depths in scan.defocus_depths.values()) for scan in (told, untold)]
    assert summed[0] < 0.8 * summed[1]


@pytest.mark.parametrize("mode", ["immediate", "advise"])
async def test_the_mode_decides_whether_the_lens_follows(tmp_path: Path, mode: str) -> None:
    """``advise`` never moves; ``immediate`` moves at checkpoints too."""
    column = tilted()
    async with acquiring(column, tmp_path, mode) as focusd:
        moves_before = len(column.moves)
        if mode == "immediate":
            await focusd.refocus()
        scanned = await take_all(focusd, column, tells=True)

    applied = [done for done in scanned.checkpoints if done.prediction and done.prediction.applied]
    assert bool(applied) is (mode == "immediate")
    assert (len(column.moves) > moves_before) is (mode == "immediate")


async def test_points_outlive_the_daemon(tmp_path: Path) -> None:
    """The next daemon predicts where the last one found focus, and goes there, for the lens was left so."""
    column = tilted()
    async with acquiring(column, tmp_path, "checkpoint") as focusd:
        first = await take_all(focusd, column, tells=True)
    place = SCAN.positions_mm()[0]
    async with acquiring(column, tmp_path, "checkpoint") as focusd:
        [told] = await focusd.predict_focus([place])
        done = await focusd.checkpoint(place)
        await focusd.forget_focus_surface()
        nothing = await focusd.checkpoint(place)

    assert first.refocuses >= 4
    assert done.prediction is not None
    assert done.prediction.working_distance_mm == pytest.approx(told.working_distance_mm, abs=2e-4)
    error_um = (told.working_distance_mm - column.best_focus_mm(*place)) * 1000
    assert abs(error_um) < 3 * told.standard_deviation_um
    assert nothing.prediction is None


async def test_a_bridge_is_led_along_tilted_ground_too(tmp_path: Path) -> None:
    """Where focusd takes the frames: one call before each, one for each, and every point has its place."""
    column = tilted()
    applied, defocus_depths = [], []
    async with connected_bridge(column, tmp_path) as (client, _):
        for x_mm, y_mm in SCAN.positions_mm()[:32]:
            _, done = await client.call("POST", "v1/checkpoint", {"position": {"x_mm": x_mm, "y_mm": y_mm}})
            applied.append(done["prediction"] is not None and done["prediction"]["applied"])
            column.move_stage(x_mm, y_mm)
            await client.call("POST", "v1/scans")
            defocus_depths.append(column.true_defocus_um() / DEPTH_OF_FIELD_UM)
        [surface] = (await client.get("v1/focus-surface"))["surfaces"]
        status = await client.get("v1/status")

    assert max(map(abs, defocus_depths)) < IN_FOCUS_DEPTHS
    assert status["counters"]["predicted_moves"] == sum(applied) >= 5
    places = {(round(x_mm, 6), round(y_mm, 6)) for x_mm, y_mm in SCAN.positions_mm()}
    assert {(round(point["x_mm"], 6), round(point["y_mm"], 6)) for point in surface["points"]} <= places
    assert surface["fit"]["tilt_x_um_per_mm"] < 0.0
