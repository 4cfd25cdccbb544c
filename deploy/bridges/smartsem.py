"""A bridge for ZEISS microscopes with SmartSEM and its remote interface (COM).

It has not met a real instrument: the names are those of ZEISS's remoting manual and of published programs,
and the tests run against a stand-in for the COM object. See README.md for what to look at first.

Run it on the microscope's computer, with the licence for remoting and the package ``pywin32``:
``python smartsem.py --limits-mm 3 20``.

SmartSEM works in metres. Its image store has the size that the operator chose, and its scan rate decides how
long a frame takes: this bridge changes neither. So ``scan.width`` and ``scan.height`` of focusd's
configuration have to be those of the image store, and ``scan.dwell_time_us`` about that of the scan rate. A
region is cut out of a whole frame. Watching reads a frame that is displayed and frozen, never scans and never
freezes.
"""

from __future__ import annotations

import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import focusd_bridge
import pythoncom
from focusd_bridge import BusyError, Image, InstrumentError, Json, OutOfRangeError, Scan
from grey_tiff import read_grey_tiff
from win32com.client import VARIANT, Dispatch

GRAB_AREA = (0, 0, 1024, 768)
"""All of the image, in units that do not depend on the image store."""
LIVE = "Live"
POLL_S = 0.05

_MEANINGS = {
    1001: "get failed",
    1002: "get failed",
    1006: "set failed",
    1007: "too low",
    1008: "too high",
    1012: "execute failed",
    1016: "grab failed",
    1019: "remoting is not initialised",
    1025: "no licence for remoting",
    1032: "disabled",
}
_OUT_OF_RANGE = (1007, 1008)


class RemotingLostError(InstrumentError):
    """SmartSEM has gone: remoting has to be initialised again."""


class SmartSEM(focusd_bridge.Instrument):
    """One microscope.

    Args:
        limits_mm: Working distances that may be set; SmartSEM's own limits narrow them.
        folder: Where images are put for a moment; a RAM disk is quickest.
    """

    vendor = "ZEISS"
    lost_errors = (RemotingLostError, pythoncom.com_error)
    poll_interval_s = 1.0

    def __init__(self, limits_mm: tuple[float, float], folder: Path) -> None:
        self._wanted_limits_mm = self.limits_mm = limits_mm
        self._path = folder / "focusd-bridge.tif"
        self._sem: Any = None
        self._seen: int | None = None

    def open(self) -> None:
        # A COM object belongs to the thread that made it: that is the owner's, which calls this.
        pythoncom.CoInitialize()
        self._sem = Dispatch("CZ.EMApiCtrl.1")
        _check(self._sem.InitialiseRemoting(), "InitialiseRemoting")
        code, low_m, high_m = self._sem.GetLimits("AP_WD", 0.0, 0.0)
        _check(code, "GetLimits AP_WD")
        low, high = self._wanted_limits_mm
        self.limits_mm = (max(low, low_m * 1e3), min(high, high_m * 1e3))
        if self.limits_mm[0] >= self.limits_mm[1]:
            raise InstrumentError(
                f"SmartSEM allows {low_m * 1e3:g} to {high_m * 1e3:g} mm, not {low} to {high}"
            )

    def close(self) -> None:
        sem, self._sem = self._sem, None
        if sem is not None:
            sem.ClosingControl()
            pythoncom.CoUninitialize()
        self._path.unlink(missing_ok=True)

    def get_state(self) -> Json:
        columns, rows = self._store()
        frame_s = self._frame_time_s()
        return {
            "working_distance_mm": self._get("AP_WD") * 1e3,
            "field_of_view_um": self._get("AP_WIDTH") * 1e6,
            "dwell_time_us": frame_s / (rows * columns) * 1e6 or None,
            "detector": str(self._get("DP_DETECTOR_CHANNEL")),
        }

    def set_working_distance(self, working_distance_mm: float) -> float:
        self._set("AP_WD", working_distance_mm * 1e-3)
        return float(self._get("AP_WD")) * 1e3

    def scan(self, scan: Scan) -> Image:
        if (scan.width, scan.height) != self._store():
            columns, rows = self._store()
            raise OutOfRangeError(
                f"{scan.width} x {scan.height} pixels were asked for, the image store has {columns} x {rows}"
            )
        frame_s = self._frame_time_s()
        most_s = scan.beam_time_s + self.scan_margin_s / 2
        if frame_s > most_s:
            raise OutOfRangeError(
                f"a frame takes {frame_s:.1f} s at this scan rate, at most {most_s:.1f} s are waited for: "
                "raise scan.dwell_time_us of focusd"
            )
        was_live = self._get("DP_FROZEN") == LIVE
        try:
            image = self._new_frame(frame_s)
        finally:
            if was_live:
                self._execute("CMD_UNFREEZE_ALL")
        # What focusd has scanned is not the owner's.
        self._seen = _identity(image)
        return _cut(image, scan)

    def poll(self) -> Image | None:
        if self._get("DP_FROZEN") == LIVE:
            return None
        image = self._grab()
        if _identity(image) == self._seen:
            return None
        self._seen = _identity(image)
        return image

    def get_stigmator(self) -> tuple[float, float]:
        return float(self._get("AP_STIG_X")), float(self._get("AP_STIG_Y"))

    def set_stigmator(self, x_percent: float, y_percent: float) -> tuple[float, float]:
        self._set("AP_STIG_X", x_percent)
        self._set("AP_STIG_Y", y_percent)
        return self.get_stigmator()

    # --- SmartSEM's calls, each with its code checked ---

    def _get(self, name: str) -> Any:
        code, value = self._sem.Get(name, 0)
        _check(code, f"Get {name}")
        return value

    def _set(self, name: str, value: float) -> None:
        _check(self._sem.Set(name, VARIANT(pythoncom.VT_R4, value))[0], f"Set {name}")

    def _execute(self, name: str) -> None:
        _check(self._sem.Execute(name), f"Execute {name}")

    def _grab(self) -> Image:
        _check(self._sem.Grab(*GRAB_AREA, 0, str(self._path)), "Grab")
        return read_grey_tiff(self._path)

    def _new_frame(self, frame_s: float) -> Image:
        self._execute("CMD_UNFREEZE_ALL")
        # Frozen at the end of the frame that has just begun.
        self._execute("CMD_FREEZE_ALL")
        time.sleep(frame_s)
        self._until_frozen(frame_s)
        return self._grab()

    def _store(self) -> tuple[int, int]:
        columns, rows = str(self._get("DP_IMAGE_STORE")).split("*")
        return int(columns), int(rows)

    def _frame_time_s(self) -> float:
        return float(self._get("AP_FRAME_TIME")) * 1e-3

    def _until_frozen(self, frame_s: float) -> None:
        give_up_at = time.monotonic() + frame_s + self.scan_margin_s / 2
        while self._get("DP_FROZEN") == LIVE:
            if time.monotonic() > give_up_at:
                raise BusyError("SmartSEM does not come to the end of a frame")
            time.sleep(POLL_S)


def _check(code: int, call: str) -> None:
    """Raise what a return code means."""
    if code == 0:
        return
    text = f"{call}: {_MEANINGS.get(code, 'failed')} ({code})"
    if code in _OUT_OF_RANGE:
        raise OutOfRangeError(text)
    if code == 1019 or 2027 <= code <= 2031:
        raise RemotingLostError(text)
    raise InstrumentError(text)


def _identity(image: Image) -> int:
    """Tell an image from the next one."""
    return zlib.crc32(image.pixels)


def _cut(image: Image, scan: Scan) -> Image:
    """Give the region of a whole frame."""
    image.checked(scan.height, scan.width)
    part, size = scan.region, image.bits_per_pixel // 8
    data = memoryview(image.pixels)
    starts = (((part.y + row) * image.columns + part.x) * size for row in range(part.height))
    pixels = b"".join(data[start : start + part.width * size] for start in starts)
    return Image(part.height, part.width, pixels, image.bits_per_pixel)


def main() -> int:
    """Serve the microscope of this computer."""
    parser = focusd_bridge.parser("A bridge from SmartSEM to focusd.")
    parser.add_argument("--limits-mm", type=float, nargs=2, required=True, metavar=("LOW", "HIGH"),
                        help="working distances that may ever be set")  # fmt: skip
    parser.add_argument("--folder", type=Path, help="for images in passing; a RAM disk is quickest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        instrument = SmartSEM(tuple(options.limits_mm), options.folder or Path(temporary))
        return focusd_bridge.run(instrument, options)


if __name__ == "__main__":
    sys.exit(main())
