"""A grid of positions with pymmcore-plus and useq, kept in focus by a focusd that shares the core.

focusd: ``microscope.driver = "bridge"``, ``frames.source = "push"``, ``refocus.mode = "immediate"``;
``deploy/bridges/README.md`` says what else belongs into its configuration for a camera. Each image is sent
and waited for: meanwhile focusd may move the focus drive and snap through the bridge, and at no other time.

    python3 micromanager_useq.py --config MMConfig.cfg --z-um -50 50 --pixel-size-um 0.33
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import useq
from pymmcore_plus import CMMCorePlus

DEPLOY = Path(__file__).resolve().parents[1]
sys.path += [str(DEPLOY / "bridges"), str(DEPLOY / "client")]

from focusd_client import Client, Judgement  # noqa: E402 - found in the folders beside this one
from micromanager import sharing  # noqa: E402 - as above

TAKES_AT_MOST = 3


def take(
    core: CMMCorePlus, focusd: Client, event: useq.MDAEvent, pixel_size_um: float
) -> tuple[Any, Judgement]:
    """Go to a position, snap, and have the image judged; focus is back when this returns."""
    x_um, y_um = event.x_pos or 0.0, event.y_pos or 0.0
    core.setXYPosition(x_um, y_um)
    core.waitForDevice(core.getXYStageDevice())
    image = core.snap()
    return image, focusd.judge(
        image,
        pixel_size_nm=pixel_size_um * 1e3,
        detector=core.getCameraDevice(),
        x_mm=x_um / 1e3,
        y_mm=y_um / 1e3,
    )


def main() -> None:
    """Take all positions, and those again that were lost."""
    options = arguments()
    core = CMMCorePlus()
    core.setDeviceAdapterSearchPaths([*core.getDeviceAdapterSearchPaths(), *options.adapters])
    core.loadSystemConfiguration(options.config)
    grid = useq.GridRowsColumns(rows=options.rows, columns=options.columns, fov_width=100, fov_height=100)
    due = [(index, 1, event) for index, event in enumerate(useq.MDASequence(grid_plan=grid))]
    kept: dict[int, tuple[int, useq.MDAEvent]] = {}
    focusd = Client(options.focusd)
    with sharing(core, tuple(options.z_um), port=options.port, pixel_size_um=options.pixel_size_um):
        focusd.wait_ready()
        while due:
            index, takes, event = due.pop(0)
            _image, judgement = take(core, focusd, event, options.pixel_size_um)
            print(f"position {index} z {core.getPosition():.2f} {judgement.verdict}", flush=True)  # noqa: T201
            kept[index] = (judgement.frame_id, event)
            if judgement.reacquire_from is not None and takes < TAKES_AT_MOST:
                lost = [known for known, (frame, _) in kept.items() if frame >= judgement.reacquire_from]
                due = [(known, takes + 1, kept[known][1]) for known in lost] + due


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="configuration file of Micro-Manager")
    parser.add_argument("--adapters", action="append", default=[], help="one more folder of device adapters")
    parser.add_argument("--z-um", type=float, nargs=2, required=True, help="limits of the focus drive")
    parser.add_argument("--pixel-size-um", type=float, required=True, help="on the specimen")
    parser.add_argument("--port", type=int, default=8460, help="where focusd finds the bridge")
    parser.add_argument("--focusd", default="http://127.0.0.1:8470", help="where this script finds focusd")
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--columns", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
