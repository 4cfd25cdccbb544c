"""Put the demo together: simulator, daemon, acquisition; a summary and a picture at the end."""

from __future__ import annotations

import math
import os
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focusd.cli.outcome import CommandFailedError, ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from focusd.cli.demo.acquisition import Plan
    from focusd.cli.demo.result import DemoResult
    from focusd.config import Config
    from focusd.simulator.column import SimulatedColumn

SIDE_PX = 512
PIXEL_MM = 1e-5
DWELL_TIME_US = 1.0


class Method(StrEnum):
    """How focus is searched."""

    SPECTRAL = "spectral"
    BRENT = "brent"
    BRENT_WIDE = "brent-wide"


class Texture(StrEnum):
    """What the specimen looks like."""

    GOLD = "gold"
    FIBRES = "fibres"
    POROUS = "porous"
    NEUROPIL = "neuropil"


def demo(
    tiles: Annotated[int, typer.Option(min=4, max=2500, help="Tiles of the specimen to scan.")] = 64,
    refocus: Annotated[
        bool, typer.Option(" /--no-refocus", help="Only watch: focusd judges, and never moves the lens.")
    ] = True,
    method: Annotated[
        Method | None, typer.Option(help="How to search; focusd's default if left out.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Picture to write.")] = Path("focusd-demo.png"),
    time_scale: Annotated[
        float, typer.Option(min=0.01, max=1000, help="How much faster than a real microscope.")
    ] = 20.0,
    specimen: Annotated[Texture, typer.Option(help="What the specimen looks like.")] = Texture.GOLD,
    seed: Annotated[int, typer.Option(min=0, help="Decides specimen and noise.")] = 1,
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of focusd; 0 takes a free one.")] = 0,
) -> None:
    """Watch focusd hold the focus of a simulated microscope.

    Starts a simulated TESCAN microscope and the daemon, and scans a specimen whose height loses focus.
    Ends by itself with a summary and a picture; exit code 0 only if at least 95 % of the tiles are in focus.

    Example:
      focusd demo --tiles 100
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if not output.parent.is_dir() or output.is_dir():
        raise CommandFailedError(f"--output {output}: there is no such folder, or it is a folder itself")
    import asyncio

    import cv2
    from rich.console import Console

    from focusd import logs
    from focusd.cli.demo.picture import write_picture

    cv2.setNumThreads(1)
    logs.configure("error", "auto")
    console = Console(highlight=False)
    plan = _plan(tiles)
    with tempfile.TemporaryDirectory(prefix="focusd-demo-") as state:
        config = _config(plan, Path(state), method, refocus=refocus, http_port=http_port)
        column = _column(plan, specimen, seed, in_focus=not refocus)
        result = asyncio.run(_run(config, plan, column, console, time_scale=time_scale))
    _summarise(console, result, refocus=refocus)
    try:
        write_picture(result, output)
    except OSError as error:
        raise CommandFailedError(f"--output {output}: {error.strerror}") from None
    console.print(f"picture            {output}")
    if not result.held:
        raise typer.Exit(ExitCode.FAILED)


def _plan(tiles: int) -> Plan:
    from focusd.cli.demo.acquisition import Plan
    from focusd.frame import ScanRequest
    from focusd.simulator.presets import TileScan

    columns = math.ceil(math.sqrt(tiles))
    scan = TileScan(columns=columns, rows=math.ceil(tiles / columns), pitch_mm=SIDE_PX * PIXEL_MM * 1.02)
    return Plan(tiles, scan, ScanRequest(width=SIDE_PX, height=SIDE_PX, dwell_time_us=DWELL_TIME_US))


def _config(plan: Plan, state: Path, method: Method | None, *, refocus: bool, http_port: int) -> Config:
    from focusd.config import Config

    chosen = {} if method is None else {"method": method.value}

    return Config.model_validate(
        {
            "microscope": {"limits": {"working_distance_mm": (4.0, 30.0)}},
            "scan": {
                "width": plan.request.width,
                "height": plan.request.height,
                "dwell_time_us": plan.request.dwell_time_us,
                "trigger": "request",
            },
            # The acquisition waits for each verdict, so the probe may look into the first suspicion at once.
            "drift": {"frames_below": 1, "frames_window": 1},
            "baseline": {"policy": "autofocus" if refocus else "manual"},
            "refocus": {"mode": "immediate" if refocus else "advise", "depth_of_field_um": 2.0} | chosen,
            "http": {"port": http_port},
            "store": {"directory": state},
        }
    )


async def _run(
    config: Config, plan: Plan, column: SimulatedColumn, console: Console, *, time_scale: float
) -> DemoResult:
    import aiohttp

    from focusd.cli.demo.acquisition import Acquisition
    from focusd.cli.demo.result import DemoResult
    from focusd.cli.demo.view import DemoView
    from focusd.daemon import running
    from focusd.microscope.link import open_link
    from focusd.simulator.sharksem_server import SharkSEMServer

    result = DemoResult(plan.tiles, plan.scan.rows, plan.scan.columns)
    async with SharkSEMServer(column, time_scale=time_scale) as server:
        microscope = config.microscope.model_copy(update={"port": server.port})
        config = config.model_copy(update={"microscope": microscope})
        async with (
            running(config) as daemon,
            open_link("127.0.0.1", server.port, timeout_s=5) as stage,
            aiohttp.ClientSession(daemon.url + "/") as http,
        ):
            title = f"simulated SharkSEM on port {server.port}, focusd on {daemon.url}"
            view = DemoView(console, result, title)
            acquisition = Acquisition(plan, column, stage, http, view=view, result=result)
            with view.shown():
                await acquisition.prepare()
                if config.refocus.mode == "advise":
                    await acquisition.capture_baseline()
                await acquisition.run()
    return result


def _column(plan: Plan, texture: Texture, seed: int, *, in_focus: bool) -> SimulatedColumn:
    """A column that an operator has focused on the first tile; only nearly so unless ``in_focus``."""
    from focusd.simulator.column import SimulatedColumn
    from focusd.simulator.options import ColumnOptions
    from focusd.simulator.presets import demo_specimen
    from focusd.simulator.specimen import Specimen

    specimen = Specimen(demo_specimen(plan.scan, texture=texture.value, seed=seed))
    column = SimulatedColumn(ColumnOptions(field_of_view_mm=SIDE_PX * PIXEL_MM, seed=seed), specimen)
    error_mm = 0.0 if in_focus else 0.007
    column.set_working_distance(column.best_focus_mm(*plan.position_mm(0)) + error_mm)
    return column


def _summarise(console: Console, result: DemoResult, *, refocus: bool) -> None:
    from rich.rule import Rule

    tiles_s, refocus_s = result.beam_time_s
    total = len(result.tiles)
    console.print(Rule("focus was held" if result.held else "focus was lost"))
    console.print(f"tiles in focus     {result.in_focus} of {total} ({100 * result.in_focus / total:.0f} %)")
    untouched = result.in_focus_untouched
    console.print(f"without focusd     {untouched} of {total} ({100 * untouched / total:.0f} %)")
    if refocus:
        good = sum(record["result"] in {"refocused", "confirmed_in_focus"} for record in result.refocuses)
        console.print(f"refocuses          {len(result.refocuses)}, {good} of them found focus")
        console.print(f"scans to refocus   {result.refocus_scans}")
    console.print(f"tiles taken again  {result.tiles_taken - total}")
    console.print(f"beam time          {tiles_s:.1f} s on tiles, {refocus_s:.1f} s on refocusing")
