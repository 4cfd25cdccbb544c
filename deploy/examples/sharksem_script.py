"""A tile loop written for TESCAN's Python client alone: it has never heard of focusd.

With ``--port 8300``, the microscope, focus gets lost; with ``--port 8310``, focusd's relay, it is kept. Host
and port are all that differs. TESCAN's ``sem.py`` and ``sem_conn.py``, which come with the microscope, have
to be where Python finds them (``PYTHONPATH``).

focusd: ``frames.source = "relay"``, ``refocus.mode = "immediate"``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import sem  # type: ignore[import-not-found] # TESCAN's own, and theirs to give

SIDE_PX = 256
DWELL_NS = 500
FIELD_MM = 0.00256


def main() -> None:
    """Take the tiles one after the other, row by row."""
    options = arguments()
    microscope = sem.Sem()
    if microscope.Connect(options.host, options.port) < 0:
        sys.exit("the microscope does not answer")
    microscope.GUISetScanning(0)
    microscope.ScStopScan()
    microscope.SetViewField(FIELD_MM)
    microscope.DtSelect(0, 0)
    microscope.DtEnable(0, 1, 8)
    for tile in range(options.columns * options.rows):
        row, column = divmod(tile, options.columns)
        microscope.StgMoveTo(column * options.pitch_mm, row * options.pitch_mm)
        while microscope.StgIsBusy():
            time.sleep(0.01)
        pixels = take(microscope, tile)
        if options.output is not None:
            (options.output / f"tile_{tile:04d}.raw").write_bytes(pixels)
        print(f"tile {tile}", flush=True)  # noqa: T201 - a script tells how far it is
    microscope.Disconnect()


def take(microscope: sem.Sem, tile: int) -> bytes:
    """Take one frame of 8 bit."""
    last = SIDE_PX - 1
    code = microscope.ScScanXY(tile + 1, SIDE_PX, SIDE_PX, 0, 0, last, last, 1, DWELL_NS)
    if code < 0:
        sys.exit(f"the microscope would not scan (code {code})")
    pixels: bytes = microscope.FetchImage(0, SIDE_PX * SIDE_PX)
    microscope.ScStopScan()
    return pixels


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Take tiles with TESCAN's own client.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8300, help="control port; images come over the next one")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--pitch-mm", type=float, default=0.0104)
    parser.add_argument("--output", type=Path, help="folder for the tiles; they are not kept otherwise")
    return parser.parse_args()


if __name__ == "__main__":
    main()
