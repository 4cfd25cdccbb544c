"""A simulated SharkSEM server for tests, small enough to be quick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache

from focusd.simulator.column import SimulatedColumn
from focusd.simulator.faults import Faults
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.sharksem_server import SharkSEMServer
from focusd.simulator.specimen import Specimen
from tests.loopback.plain_client import PlainClient

SCAN, STAGE, OPTICS, PROCEDURE = 0x100, 0x200, 0x400, 0x800
SEND_RESPONSE, JUMP = 1, 2


@cache
def specimen() -> Specimen:
    """Give a specimen that is cheap to make."""
    return Specimen(SpecimenOptions(texture="gold", texture_side_px=256))


def server(
    *,
    time_scale: float = 0.0,
    faults: Faults | None = None,
    strict: bool = False,
    read_timeout_s: float = 10.0,
    options: ColumnOptions | None = None,
) -> SharkSEMServer:
    """Give a server that has not been started; by default nothing takes any time."""
    return SharkSEMServer(
        SimulatedColumn(options, specimen()),
        time_scale=time_scale,
        faults=faults,
        strict=strict,
        read_timeout_s=read_timeout_s,
    )


async def play(rig: SharkSEMServer, scene: Callable[[PlainClient], None]) -> None:
    """Run a scene with one connected client in a thread."""

    def run() -> None:
        with PlainClient(rig.port) as client:
            scene(client)

    async with rig:
        await asyncio.to_thread(run)
