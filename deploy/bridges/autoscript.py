"""A bridge for Thermo Fisher (FEI) microscopes with AutoScript 4.

It has not met a real instrument: the names are those of Thermo's manual and of published scripts, and the
tests run against a stand-in for the SDK. See README.md for what to look at first.

Run it where the AutoScript client is installed: ``python autoscript.py --limits-mm 4 15 --view 1``. It needs
numpy, which AutoScript brings.

The SDK works in metres, volts, amperes and radians. Image calls act on the *active view*, which is shared
with the operator: it is set, used and put back within one call. Watching never scans and never changes the
view: the view's image is read while it is active and at rest, and told when it has changed.
"""

from __future__ import annotations

import math
import sys
import zlib
from typing import Any

import focusd_bridge
import numpy as np
from autoscript_sdb_microscope_client import SdbMicroscopeClient
from autoscript_sdb_microscope_client.enumerations import ImagingDevice, ImagingState
from autoscript_sdb_microscope_client.structures import GrabFrameSettings, Point, Rectangle
from focusd_bridge import BeamOffError, Image, InstrumentError, Json, OutOfRangeError, Scan

PORT = 7520
PERCENT = 100.0
MARGIN_PX = 4
"""A reduced area is asked for so much larger: the SDK rounds its sides by up to 3 pixels."""


class AutoScript(focusd_bridge.Instrument):
    """The electron beam of one microscope.

    Args:
        host: Of the AutoScript server.
        port: Of the AutoScript server.
        view: Number of the view that is used, 1 to 4.
        limits_mm: Working distances that may be set; the SDK's own limits narrow them.
    """

    vendor = "Thermo Fisher"
    lost_errors = (OSError, EOFError)

    def __init__(self, host: str, port: int, view: int, limits_mm: tuple[float, float]) -> None:
        self._host = host
        self._port = port
        self._view = view
        self._wanted_limits_mm = self.limits_mm = limits_mm
        self._client: Any = None
        self._seen: int | None = None

    def open(self) -> None:
        self._client = SdbMicroscopeClient()
        self._client.connect(self._host, self._port)
        self._beam = self._client.beams.electron_beam
        system = self._client.service.system
        self.model, self.serial = str(system.name), str(system.serial_number)
        self.software_version = str(system.version)
        low, high = self._wanted_limits_mm
        found = self._beam.working_distance.limits
        self.limits_mm = (max(low, found.min * 1e3), min(high, found.max * 1e3))
        if self.limits_mm[0] >= self.limits_mm[1]:
            raise InstrumentError(
                f"the SDK allows {found.min * 1e3:g} to {found.max * 1e3:g} mm, not {low} to {high}"
            )

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()

    def get_state(self) -> Json:
        beam, position = self._beam, self._client.specimen.stage.current_position
        return {
            "working_distance_mm": beam.working_distance.value * 1e3,
            "field_of_view_um": beam.horizontal_field_width.value * 1e6,
            "accelerating_voltage_kv": beam.high_voltage.value * 1e-3,
            "probe_current_pa": beam.beam_current.value * 1e12,
            "beam_on": bool(beam.is_on),
            "stage_position": {
                "x_mm": position.x * 1e3,
                "y_mm": position.y * 1e3,
                "z_mm": position.z * 1e3,
                "rotation_deg": math.degrees(position.r),
                "tilt_deg": math.degrees(position.t),
            },
        }

    def set_working_distance(self, working_distance_mm: float) -> float:
        self._beam.working_distance.value = working_distance_mm * 1e-3
        return float(self._beam.working_distance.value) * 1e3

    def scan(self, scan: Scan) -> Image:
        if not self._beam.is_on:
            raise BeamOffError("the electron beam is off")
        left, top = max(scan.region.x - MARGIN_PX, 0), max(scan.region.y - MARGIN_PX, 0)
        right = min(scan.region.x + scan.region.width + MARGIN_PX, scan.width)
        bottom = min(scan.region.y + scan.region.height + MARGIN_PX, scan.height)
        settings = GrabFrameSettings(
            resolution=f"{scan.width}x{scan.height}",
            dwell_time=scan.dwell_time_us * 1e-6,
            bit_depth=scan.bits_per_pixel,
            reduced_area=Rectangle(
                left / scan.width,
                top / scan.height,
                (right - left) / scan.width,
                (bottom - top) / scan.height,
            ),
        )
        taken = self._in_view(lambda imaging: imaging.grab_frame(settings))
        # What focusd has scanned lies in the view now, and is not the owner's.
        self._seen = _identity(taken)
        return _cut(np.asarray(taken.data), scan.region.x - left, scan.region.y - top, scan)

    def poll(self) -> Image | None:
        imaging = self._client.imaging
        if imaging.get_active_view() != self._view or imaging.state == ImagingState.ACQUIRING:
            return None
        found = imaging.get_image()
        if found is None or _identity(found) == self._seen:
            return None
        self._seen = _identity(found)
        optics = getattr(found.metadata, "optics", None)
        state = {} if optics is None else {"working_distance_mm": optics.working_distance * 1e3}
        return _image(np.asarray(found.data), state)

    def get_stigmator(self) -> tuple[float, float]:
        value = self._beam.stigmator.value
        return value.x * PERCENT, value.y * PERCENT

    def set_stigmator(self, x_percent: float, y_percent: float) -> tuple[float, float]:
        self._beam.stigmator.value = Point(x_percent / PERCENT, y_percent / PERCENT)
        return self.get_stigmator()

    def blank_beam(self, *, blanked: bool) -> None:
        if blanked:
            self._beam.blank()
        else:
            self._beam.unblank()

    def _in_view(self, act: Any) -> Any:
        """Act on the own view, and give the operator's back."""
        imaging = self._client.imaging
        before = imaging.get_active_view()
        imaging.set_active_view(self._view)
        try:
            imaging.set_active_device(ImagingDevice.ELECTRON_BEAM)
            return act(imaging)
        finally:
            imaging.set_active_view(before)


def _identity(taken: Any) -> int:
    """Tell an image from the next one."""
    return zlib.crc32(np.ascontiguousarray(taken.data).tobytes())


def _cut(pixels: Any, left: int, top: int, scan: Scan) -> Image:
    """Give just the region; where the SDK gave a pixel less than the margin, a pixel beside it."""
    rows, columns = scan.region.height, scan.region.width
    if pixels.ndim != 2 or pixels.shape[0] < rows or pixels.shape[1] < columns:
        raise OutOfRangeError(f"{rows} x {columns} pixels were asked for, the microscope gave {pixels.shape}")
    top, left = min(top, pixels.shape[0] - rows), min(left, pixels.shape[1] - columns)
    return _image(pixels[top : top + rows, left : left + columns], {})


def _image(pixels: Any, state: Json) -> Image:
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    return Image(pixels.shape[0], pixels.shape[1], data, 8 * pixels.dtype.itemsize, state)


def main() -> int:
    """Serve one microscope."""
    parser = focusd_bridge.parser("A bridge from AutoScript to focusd.")
    parser.add_argument("--sdk-host", default="localhost", help="AutoScript server (default: %(default)s)")
    parser.add_argument("--sdk-port", type=int, default=PORT, help="default: %(default)s")
    parser.add_argument("--view", type=int, choices=(1, 2, 3, 4), default=1, help="view to scan and watch in")
    parser.add_argument("--limits-mm", type=float, nargs=2, required=True, metavar=("LOW", "HIGH"),
                        help="working distances that may ever be set")  # fmt: skip
    options = parser.parse_args()
    instrument = AutoScript(options.sdk_host, options.sdk_port, options.view, tuple(options.limits_mm))
    return focusd_bridge.run(instrument, options)


if __name__ == "__main__":
    sys.exit(main())
