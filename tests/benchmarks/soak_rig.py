"""A microscope, a network and focusd's service in one process, on a clock that is told to go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from focusd.config import Config
from focusd.framepool import FRAMES
from focusd.microscope.registry import connect
from focusd.service.heartbeat import Heartbeat
from focusd.service.spare_memory import give_memory_back
from focusd.service.supervisor import Supervisor
from focusd.service.workers import Workers
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.sharksem_server import SharkSEMServer
from focusd.simulator.specimen import Specimen
from focusd.store.database import open_store
from focusd.store.housekeeping import keep_house
from tests.benchmarks.soak_weather import DriftingColumn, SoakClock
from tests.fault_proxy import FaultProxy, fault_proxy

SIDE_PX = 256
FIELD_MM = SIDE_PX * 1e-5
DEPTH_UM = 2.0
"""Pixels of 10 nm over the simulator's 5 mrad."""
LIMITS_MM = (8.9, 9.1)
EMPTY_SHARE = 0.06
PATCH_MM = 3.0 * FIELD_MM
TILES_A_ROW = 40
MAX_FRAMES = 500
"""Verdicts that the store keeps, so that it is full early in the run."""
TIMEOUTS = {
    "connect_s": 2.0,
    "request_s": 0.5,
    "settle_s": 2.0,
    "ping_interval_s": 0.5,
    "reconnect_max_s": 0.05,
}
"""In real time, which is not compressed."""


@dataclass(slots=True)
class Rig:
    """The parts of a soak run."""

    clock: SoakClock
    """Of column and service."""
    column: DriftingColumn
    """The microscope; its state is what only the judge may know."""
    server: SharkSEMServer
    """Its network side."""
    proxy: FaultProxy
    """The network."""
    supervisor: Supervisor
    """focusd's service."""
    owner: asyncio.Task[None]
    """The task that the service runs in."""
    specimens: dict[str, Specimen]
    """By texture."""
    _tile: int = 0

    @property
    def defocus_depths(self) -> float:
        """*Judge.* Distance from focus now."""
        return self.column.true_defocus_um() / DEPTH_UM

    def next_tile(self) -> None:
        """Move the stage on by one tile, row after row; the block begins again at its end."""
        row, along = divmod(self._tile, TILES_A_ROW)
        pitch_mm = 1.016 * FIELD_MM
        self.column.move_stage(along * pitch_mm, row % TILES_A_ROW * pitch_mm)
        self._tile += 1

    def change_specimen(self, texture: str) -> None:
        """Put another specimen under the beam, at the same height."""
        self.column.specimen = self.specimens[texture]


def specimen(texture: str) -> Specimen:
    """Make a specimen that is slightly uneven and empty here and there."""
    return Specimen(
        SpecimenOptions(
            texture=texture,
            texture_side_px=512,
            bumps_um=0.3 * DEPTH_UM,
            bump_size_mm=6.0 * FIELD_MM,
            contrast_variation_percent=15.0,
            blank_fraction=EMPTY_SHARE,
            patch_size_mm=PATCH_MM,
        )
    )


@asynccontextmanager
async def soak_rig(folder: Path, textures: Sequence[str], random: np.random.Generator) -> AsyncIterator[Rig]:
    """Run simulator, proxy and service, the first of the specimens under the beam."""
    specimens = {texture: specimen(texture) for texture in dict.fromkeys(textures)}
    clock = SoakClock()
    options = ColumnOptions(field_of_view_mm=FIELD_MM, seed=int(random.integers(2**31)))
    first = specimens[textures[0]]
    column = DriftingColumn(options, first, clock=clock, depth_um=DEPTH_UM, random=random)
    # The operator has focused.
    column.set_working_distance(column.best_focus_mm())
    asyncio.get_running_loop().set_default_executor(Workers())
    async with (
        SharkSEMServer(column, time_scale=0) as server,
        fault_proxy(server.port, ports=2) as proxy,
        open_store(folder, max_frames=MAX_FRAMES) as store,
        asyncio.TaskGroup() as group,
    ):
        config = configuration(proxy.listening_on[0])
        supervisor = Supervisor(
            config,
            store,
            connect=lambda: connect(config.microscope),
            # In real time: a jump of the simulated clock is no silence.
            heartbeat=Heartbeat(),
            clock=clock,
            wall_clock=clock,
        )
        # Not in the group: if it fails, that is to be counted and told of.
        owner = asyncio.create_task(supervisor.run(), name="owner of the microscope")
        memory = group.create_task(give_memory_back(FRAMES), name="memory of frames")
        house = group.create_task(keep_house(store, round_s=1.0), name="housekeeping of the store")
        try:
            yield Rig(
                clock=clock,
                column=column,
                server=server,
                proxy=proxy,
                supervisor=supervisor,
                owner=owner,
                specimens=specimens,
            )
        finally:
            house.cancel()
            memory.cancel()
            owner.cancel()
            await asyncio.wait([owner])


def configuration(port: int) -> Config:
    """Give focusd's default settings for this microscope, frames taken on request."""
    return Config.model_validate(
        {
            "microscope": {
                "port": port,
                "limits": {"working_distance_mm": LIMITS_MM},
                "timeouts": TIMEOUTS,
            },
            "scan": {"width": SIDE_PX, "height": SIDE_PX, "trigger": "request"},
            "refocus": {"depth_of_field_um": DEPTH_UM},
        }
    )
