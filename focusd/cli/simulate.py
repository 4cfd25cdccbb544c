"""``focusd simulate``: a microscope to try focusd with, on the real wire protocol."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import typer

from focusd.cli import simulate_options as opt
from focusd.cli.outcome import CommandFailedError

if TYPE_CHECKING:
    from focusd.simulator.column import SimulatedColumn

IMAGE_COLUMNS = 1024
"""The depth of field that is shown holds for scans of so many columns, focusd's default."""
TILE_DWELL_US = 1.0
"""Of the owner's tiles, focusd's default too."""


def simulate(  # noqa: PLR0913 - one argument an option
    *,
    protocol: opt.Spoken = opt.Protocol.SHARKSEM,
    host: opt.Host = "127.0.0.1",
    port: opt.Port = None,
    time_scale: opt.TimeScale = 1.0,
    strict: opt.Strict = False,
    owner_interval: opt.OwnerInterval = 0.0,
    owner_step: opt.OwnerStep = 0.0,
    specimen: opt.SpecimenName = opt.Texture.NEUROPIL,
    image: opt.Image = None,
    tilt: opt.Tilt = (0.0, 0.0),
    bumps: opt.Bumps = 0.0,
    blank: opt.Blank = 0.0,
    seed: opt.Seed = 1,
    optics: opt.OpticsModel = opt.Optics.PHYSICAL,
    best_focus: opt.BestFocus = 9.0,
    working_distance: opt.StartsAt = 9.01,
    focus_drift: opt.FocusDrift = 0.0,
    brightness_drift: opt.BrightnessDrift = 0.0,
    backlash: opt.Backlash = 0.0,
) -> None:
    """Run a simulated microscope until Ctrl-C or SIGTERM.

    It speaks a real microscope's protocol, starts 10 µm out of focus unless
    told otherwise, and knows where true focus is.

    Example:
      focusd simulate --specimen gold --focus-drift 60
      focusd simulate --image micrograph.tif --port 8310 --time-scale 10
      focusd simulate --protocol bridge --owner-interval 2 --focus-drift 600
    """
    import asyncio

    from focusd import logs
    from focusd.simulator.column import SimulatedColumn
    from focusd.simulator.options import ColumnOptions, SpecimenOptions
    from focusd.simulator.specimen import Specimen

    if owner_interval and protocol is not opt.Protocol.BRIDGE:
        raise typer.BadParameter("needs --protocol bridge", param_hint="--owner-interval")
    column = SimulatedColumn(
        ColumnOptions(
            optics=optics.value,
            best_focus_mm=best_focus,
            working_distance_mm=working_distance,
            focus_drift_um_per_hour=focus_drift,
            brightness_drift_percent_per_hour=brightness_drift,
            backlash_um=backlash,
            seed=seed,
        ),
        Specimen(
            SpecimenOptions(
                texture=specimen.value,
                image=image,
                tilt_um_per_mm=tilt,
                bumps_um=bumps,
                blank_fraction=blank,
                seed=seed,
            )
        ),
        # Drifts run as fast as everything else; with no time at all for scans they take real time.
        clock=lambda: time.monotonic() * (time_scale or 1.0),
    )
    logs.configure()
    wanted_port = opt.DEFAULT_PORTS[protocol] if port is None else port
    serve = (
        _serve_sharksem
        if protocol is opt.Protocol.SHARKSEM
        else partial(_serve_bridge, owner=(owner_interval, owner_step))
    )
    try:
        asyncio.run(serve(column, host, wanted_port, time_scale, strict))
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        both = " and the next one" if protocol is opt.Protocol.SHARKSEM else ""
        raise CommandFailedError(f"cannot listen on {host} port {wanted_port}{both}: {why}") from error


async def _serve_sharksem(
    column: SimulatedColumn, host: str, port: int, time_scale: float, strict: bool
) -> None:
    from focusd.simulator.sharksem_server import SharkSEMServer

    async with SharkSEMServer(column, host=host, port=port, time_scale=time_scale, strict=strict) as server:
        address = f"SharkSEM microscope at {host} port {server.port}, images on {server.port + 1}"
        await _until_stopped([address, *_facts(column)])


async def _serve_bridge(
    column: SimulatedColumn,
    host: str,
    port: int,
    time_scale: float,
    strict: bool,
    *,
    owner: tuple[float, float],
) -> None:
    import asyncio

    from focusd.frame import ScanRequest
    from focusd.simulator.bridge_owner import OwnersHabits, acquire_tiles
    from focusd.simulator.bridge_server import BridgeServer

    interval_s, step_um = owner
    # As with drifts, tiles come in real time when nothing takes any.
    tile = ScanRequest(IMAGE_COLUMNS, IMAGE_COLUMNS, TILE_DWELL_US)
    habits = OwnersHabits(tile, interval_s / (time_scale or 1.0), step_um / 1000)
    lines = [f"a tile every {interval_s:g} s"] if interval_s else []
    async with (
        BridgeServer(column, host=host, port=port, time_scale=time_scale, strict=strict) as server,
        asyncio.TaskGroup() as group,
    ):
        work = group.create_task(acquire_tiles(server, habits)) if interval_s else None
        address = f"microscope with a bridge at {host} port {server.port}"
        await _until_stopped([address, *lines, *_facts(column)])
        if work is not None:
            work.cancel()


async def _until_stopped(lines: list[str]) -> None:
    """Say what is there and wait for the end."""
    import asyncio

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    for line in lines:
        typer.echo(line)
    await stop.wait()


def _facts(column: SimulatedColumn) -> list[str]:
    """What only a simulator can tell."""
    return [
        f"true focus {column.best_focus_mm():.4f} mm",
        f"working distance {column.working_distance_mm:.4f} mm ({column.true_defocus_um():+.1f} µm)",
        f"depth of field {column.depth_of_field_um(IMAGE_COLUMNS):.1f} µm at {IMAGE_COLUMNS} columns",
        "Ctrl-C ends it",
    ]
