"""Every example keeps the focus of a specimen over which the same loop without focusd loses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from focusd.config import Config
from focusd.daemon import running
from focusd.frame import ScanRequest
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.exposure import Exposure, SeedExposure
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.presets import TileScan, demo_specimen
from focusd.simulator.sharksem_server import SharkSEMServer
from focusd.simulator.specimen import Specimen
from tests.loopback.bench import DEPTH_OF_FIELD_UM, FIELD_MM, settings
from tests.pythons import oldest_python

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
SCAN = TileScan(columns=8, rows=4)
TILES = SCAN.columns * SCAN.rows
DWELL_TIME_US = 0.8
"""Of the examples, and not of focusd: so their scans are told apart."""
IN_FOCUS_DEPTHS = 2.0


class WatchedColumn(SimulatedColumn):
    """Remembers how far out of focus the beam was in each scan of an example; an hour passes with each.

    Args:
        specimen: What is scanned.
        drift_depths: Depths of field by which focus drifts from one scan to the next.
    """

    def __init__(self, specimen: SpecimenOptions, drift_depths: float) -> None:
        self.takes: list[float] = []
        super().__init__(
            ColumnOptions(
                field_of_view_mm=FIELD_MM, focus_drift_um_per_hour=drift_depths * DEPTH_OF_FIELD_UM
            ),
            Specimen(specimen),
            clock=lambda: 3600.0 * len(self.takes),
        )
        # In focus on the first tile, as an operator begins.
        self.set_working_distance(self.best_focus_mm(*SCAN.positions_mm()[0]))
        self.moves.clear()

    def expose(self, request: ScanRequest, detector_number: int | None = None) -> Exposure | SeedExposure:
        """Note the defocus of an example's scan."""
        if request.dwell_time_us == pytest.approx(DWELL_TIME_US):
            self.takes.append(abs(self.true_defocus_um()) / DEPTH_OF_FIELD_UM)
        return super().expose(request, detector_number)


def uneven() -> WatchedColumn:
    """Ground that rises, with bumps and steps; the lens would have to move three times at least."""
    relief = demo_specimen(SCAN, depth_of_field_um=DEPTH_OF_FIELD_UM, texture="gold")
    return WatchedColumn(replace(relief, texture_side_px=512), drift_depths=0.0)


def drifting() -> WatchedColumn:
    """Flat ground under a stage that creeps, as one does that warms up."""
    return WatchedColumn(SpecimenOptions(texture="gold", texture_side_px=512), drift_depths=0.15)


@asynccontextmanager
async def focusing(column: SimulatedColumn, state: Path, mode: str) -> AsyncIterator[tuple[str, str]]:
    """Run microscope and daemon; give their addresses."""
    async with SharkSEMServer(column, time_scale=0) as server:
        chosen: dict[str, dict[str, object]] = {"frames": {"source": "push"}, "refocus": {"mode": mode}}
        async with running(Config.model_validate(settings(server.port, state, **chosen))) as daemon:
            yield f"127.0.0.1:{server.port}", daemon.url


async def run(example: str, sem: str, focusd: str, output: Path) -> list[int]:
    """Run an example on the oldest Python at hand; give the tiles in the order in which they were taken."""
    process = await asyncio.create_subprocess_exec(
        await asyncio.to_thread(oldest_python),
        *("-W", "error", str(EXAMPLES / example), "--sem", sem, "--focusd", focusd),
        *("--columns", str(SCAN.columns), "--rows", str(SCAN.rows), "--output", str(output)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, errors) == (0, b""), errors.decode()
    return [int(line.split()[1]) for line in out.decode().splitlines()]


def share_in_focus(column: WatchedColumn, tiles: list[int]) -> float:
    """Of the tiles as they were kept: the last of several takes."""
    kept = dict(zip(tiles, column.takes, strict=True))
    assert sorted(kept) == list(range(TILES))
    return sum(depths < IN_FOCUS_DEPTHS for depths in kept.values()) / TILES


@pytest.mark.parametrize(
    ("example", "mode", "make_column"),
    [
        ("plain_http.py", "immediate", uneven),
        ("tile_loop.py", "checkpoint", uneven),
        ("hold_lease.py", "immediate", drifting),
        ("hold_lease.py", "immediate", uneven),
    ],
)
async def test_an_example_keeps_its_focus(
    tmp_path: Path, example: str, mode: str, make_column: Callable[[], WatchedColumn]
) -> None:
    """At least 95 % of the tiles are in focus in the end, each is kept, and few are taken twice."""
    column = make_column()
    (tmp_path / "tiles").mkdir()
    async with focusing(column, tmp_path / "state", mode) as (sem, focusd):
        tiles = await run(example, sem, focusd, tmp_path / "tiles")

    assert share_in_focus(column, tiles) >= 0.95
    assert len(list((tmp_path / "tiles").iterdir())) == TILES
    assert len(tiles) <= 2 * TILES


@pytest.mark.parametrize("make_column", [uneven, drifting])
async def test_the_same_loop_without_focusd_loses_it(
    tmp_path: Path, make_column: Callable[[], WatchedColumn]
) -> None:
    """On the same specimen, beginning in focus."""
    column = make_column()
    async with SharkSEMServer(column, time_scale=0) as server:
        tiles = await run("without_focusd.py", f"127.0.0.1:{server.port}", "http://127.0.0.1:1", tmp_path)

    assert share_in_focus(column, tiles) < 0.5
    assert list(column.moves) == []
