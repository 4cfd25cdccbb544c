"""Most of what scripts do with TESCAN's client, for a process of its own: ``sem`` is whichever it finds.

It takes the control port and prints what it was told and shown.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import sem  # type: ignore[import-not-found] # on the path of the process

SIDE_PX = 128
PIXELS = SIDE_PX * SIDE_PX
SCAN_OVER, OPTICS_STABLE = 1, 4


def tour(port: int) -> list[object]:
    """Ask, move, wait, and take images of one and two channels, of 8 and 16 bit; give all answers."""
    microscope = sem.Sem()
    assert microscope.Connect("127.0.0.1", port) == 0
    told: list[object] = [microscope.GetWD(), list(microscope.StgGetPosition()), microscope.DtEnumDetectors()]
    told.append(microscope.GUIGetScanning())
    microscope.GUISetScanning(0)
    microscope.ScStopScan()
    microscope.SetWD(9.002)
    microscope.SetWaitFlags(OPTICS_STABLE)
    told.append(microscope.GetWD())
    microscope.SetWaitFlags(0)
    microscope.DtSelect(0, 0)
    microscope.DtEnable(0, 1, 8)
    scan(microscope, 1)
    told.append(digest(microscope.FetchImage(0, PIXELS)))
    microscope.ScStopScan()
    microscope.DtSelect(2, 1)
    microscope.DtEnable(2, 1, 16)
    scan(microscope, 2)
    told += [digest(image) for image in microscope.FetchImageEx([0, 2], PIXELS)]
    # Without a stop: the next command waits for the end of the scan.
    microscope.SetWaitFlags(SCAN_OVER)
    microscope.SetWD(9.0)
    told.append(microscope.GetWD())
    microscope.SetWaitFlags(0)
    microscope.ScStopScan()
    microscope.Disconnect()
    return told


def scan(microscope: Any, frame_id: int) -> None:
    """Begin a scan of one frame."""
    last = SIDE_PX - 1
    assert microscope.ScScanXY(frame_id, SIDE_PX, SIDE_PX, 0, 0, last, last, 1, 500) == 0


def digest(image: bytes) -> tuple[int, str]:
    """Give an image's size and its fingerprint."""
    return len(image), hashlib.sha256(image).hexdigest()


if __name__ == "__main__":
    print(*tour(int(sys.argv[1])), sep="\n")  # noqa: T201 - this is the result
