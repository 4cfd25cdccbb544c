"""A bridge for Micro-Manager: any focus drive and camera that its core knows.

It needs ``pymmcore`` (or ``pymmcore-plus``, which brings it) and numpy. Two ways:

* ``python micromanager.py --config MMConfig.cfg --z-um -50 50`` loads the devices itself.
* In a program that has a ``CMMCorePlus`` of its own::

      with micromanager.sharing(core, z_limits_um=(-50, 50)):
          ...  # images that the program snaps or its acquisition engine takes are pushed to focusd

  focusd and the program then call one core. While a sequence or the engine runs and is not paused, moves and
  scans of focusd are refused as busy; at other times let the program wait for focusd between its images.

What a scanning microscope has and a camera has not is mapped so:

* The working distance is ``offset_mm`` plus the drive's position (minus it, with ``--reversed``), so that it
  is positive: -50 to 50 um with the usual offset of 10 mm is a working distance of 9.950 to 10.050 mm.
* An image as wide as the camera's is taken as it is. A narrower one is binned by the largest whole number
  that fits and cut from the middle: ``field_of_view_um`` of the image says how much of the field that is.
* The exposure is the owner's and is not touched. ``dwell_time_us`` means how much light: twice, four times
  ``--dwell-us`` takes the mean of two, four exposures.
* Images of 9 to 16 bits are shifted up, so that full scale is full scale.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterator

import focusd_bridge
import numpy as np
import pymmcore
from focusd_bridge import Bridge, BusyError, Image, InstrumentError, Json, OutOfRangeError, Scan
from numpy.typing import NDArray

UM_PER_MM = 1e3
MS_PER_S = 1e3
MOST_EXPOSURES = 16

log = logging.getLogger("focusd_bridge")


Core = pymmcore.CMMCore
"""``CMMCorePlus`` is one too."""


class MicroManager(focusd_bridge.Instrument):
    """Focus drive and camera of a core.

    Args:
        give_core: Gives the core with its devices loaded; called by the owner thread.
        z_limits_um: Lowest and highest position of the focus drive that may ever be set.
        offset_mm: Working distance at position 0.
        is_reversed: Whether the working distance falls when the position rises.
        dwell_us: The ``dwell_time_us`` that means one exposure.
        pixel_size_um: Of the camera on the specimen; without it, what the core knows.
        settle_s: Waited for after the drive says that it has arrived.

    Raises:
        ValueError: limits that are none, or give working distances that are not positive.
    """

    vendor = "Micro-Manager"

    def __init__(
        self,
        give_core: Callable[[], Core],
        z_limits_um: tuple[float, float],
        *,
        offset_mm: float = 10.0,
        is_reversed: bool = False,
        dwell_us: float = 1.0,
        pixel_size_um: float | None = None,
        settle_s: float = 0.0,
    ) -> None:
        self._give_core = give_core
        self._offset_mm = offset_mm
        self._mm_per_um = (-1.0 if is_reversed else 1.0) / UM_PER_MM
        self._dwell_us = dwell_us
        self._pixel_size_um = pixel_size_um
        self._settle_s = settle_s
        low_mm, high_mm = sorted(offset_mm + self._mm_per_um * z_um for z_um in z_limits_um)
        if not 0 < low_mm < high_mm:
            raise ValueError(f"z limits {z_limits_um} um give working distances {low_mm:g} to {high_mm:g} mm")
        self.limits_mm = (low_mm, high_mm)

    def open(self) -> None:
        core = self._core = self._give_core()
        self._drive, self._camera = core.getFocusDevice(), core.getCameraDevice()
        if not self._drive or not self._camera:
            raise InstrumentError("the core has no focus drive or no camera")
        self.model = f"{self._drive} and {self._camera}"
        self.software_version = core.getVersionInfo()

    def get_state(self) -> Json:
        core = self._core
        stage = core.getXYStageDevice()
        return {
            "working_distance_mm": self._offset_mm + self._mm_per_um * core.getPosition(self._drive),
            "field_of_view_um": self._field_um(core.getImageWidth()),
            "detector": self._camera,
            "stage_position": {
                "x_mm": core.getXPosition(stage) / UM_PER_MM,
                "y_mm": core.getYPosition(stage) / UM_PER_MM,
            }
            if stage
            else None,
        }

    def set_working_distance(self, working_distance_mm: float) -> float:
        self._demand_idle()
        core = self._core
        core.setPosition(self._drive, (working_distance_mm - self._offset_mm) / self._mm_per_um)
        core.waitForDevice(self._drive)
        time.sleep(self._settle_s)
        return self._offset_mm + self._mm_per_um * float(core.getPosition(self._drive))

    def scan(self, scan: Scan) -> Image:
        self._demand_idle()
        core = self._core
        rows, columns = core.getImageHeight(), core.getImageWidth()
        binning = columns // scan.width
        if binning < 1 or scan.height * binning > rows:
            raise OutOfRangeError(
                f"the camera has {columns} x {rows} pixels, {scan.width} x {scan.height} were asked for"
            )
        exposures = min(max(round(scan.dwell_time_us / self._dwell_us), 1), MOST_EXPOSURES)
        images = [self._snap() for _ in range(exposures)]
        total = _part(np.asarray(np.sum(images, axis=0, dtype=np.uint32)), scan, binning)
        pixels = np.rint(total / (exposures * binning**2)).astype(images[0].dtype)
        return _image(pixels, {"field_of_view_um": self._field_um(scan.width * binning)})

    def _snap(self) -> NDArray[Any]:
        self._core.snapImage()
        return self._full_scale(self._core.getImage())

    def image_of(self, taken: NDArray[Any]) -> Image:
        """Give an image that the core's owner has just taken; it began an exposure ago."""
        pixels = self._full_scale(taken)
        image = _image(pixels, {"field_of_view_um": self._field_um(pixels.shape[1])})
        finished_at = time.monotonic()
        started_at = finished_at - self._core.getExposure() / MS_PER_S
        return replace(image, started_at=started_at, finished_at=finished_at)

    def _field_um(self, columns: int) -> float | None:
        # The core knows 0 when nobody has told it.
        return columns * (self._pixel_size_um or self._core.getPixelSizeUm()) or None

    def _demand_idle(self) -> None:
        engine = getattr(self._core, "mda", None)
        if self._core.isSequenceRunning() or (engine and engine.is_running() and not engine.is_paused()):
            raise BusyError("an acquisition is running in Micro-Manager")

    def _full_scale(self, taken: NDArray[Any]) -> NDArray[Any]:
        if taken.ndim != 2 or taken.dtype.itemsize > 2:
            raise InstrumentError("the camera must give grey images of 8 or 16 bits (property PixelType)")
        if taken.dtype.itemsize == 1:
            return taken.astype(np.uint8)
        return taken.astype(np.uint16) << (16 - min(max(self._core.getImageBitDepth(), 8), 16))


def _part(full: NDArray[Any], scan: Scan, binning: int) -> NDArray[Any]:
    """Cut what is wanted from the middle of the field, and add up the pixels that are binned."""
    top = (full.shape[0] - scan.height * binning) // 2 + scan.region.y * binning
    left = (full.shape[1] - scan.width * binning) // 2 + scan.region.x * binning
    rows, columns = scan.region.height, scan.region.width
    part = full[top : top + rows * binning, left : left + columns * binning]
    binned: NDArray[Any] = part.reshape(rows, binning, columns, binning).sum(axis=(1, 3))
    return binned


def _image(pixels: NDArray[Any], state: Json) -> Image:
    bits_per_pixel = 8 * pixels.dtype.itemsize
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    return Image(pixels.shape[0], pixels.shape[1], data, bits_per_pixel, state)


@contextlib.contextmanager
def sharing(
    core: Any,
    z_limits_um: tuple[float, float],
    host: str = "127.0.0.1",
    port: int = focusd_bridge.DEFAULT_PORT,
    allowed: tuple[str, ...] = (),
    **mapping: Any,
) -> Iterator[Bridge]:
    """Serve a program's own ``CMMCorePlus`` for the length of a ``with`` block, and push its images.

    Args:
        core: The core.
        z_limits_um: As ``MicroManager``.
        host: As ``Bridge``.
        port: As ``Bridge``.
        allowed: As ``Bridge``.
        mapping: What else ``MicroManager`` takes.
    """
    instrument = MicroManager(lambda: core, z_limits_um, **mapping)
    instrument.pushes = True
    with Bridge(instrument, host, port, allowed) as bridge:
        works = True

        def tell(taken: NDArray[Any]) -> None:
            nonlocal works
            if not bridge.subscribed:
                return
            try:
                bridge.push(instrument.image_of(taken), instrument.get_state())
                works = True
            except Exception:
                # Raised in the program's own acquisition it would end that.
                if works:
                    log.exception("an image of the program's cannot be pushed; the next ones are tried")
                works = False

        def on_snap(*_: object) -> None:
            # The engine tells of its images by itself.
            if not bridge.working_for_focusd and not core.mda.is_running():
                tell(core.getImage())

        def on_frame(taken: NDArray[Any], *_: object) -> None:
            tell(taken)

        core.events.imageSnapped.connect(on_snap)
        core.mda.events.frameReady.connect(on_frame)
        try:
            yield bridge
        finally:
            core.events.imageSnapped.disconnect(on_snap)
            core.mda.events.frameReady.disconnect(on_frame)


def main() -> int:
    """Load a configuration file and serve it."""
    parser = focusd_bridge.parser("A bridge from Micro-Manager to focusd.")
    parser.add_argument("--config", type=Path, required=True, help="configuration file of Micro-Manager")
    parser.add_argument("--adapters", action="append", default=[], help="folder of device adapters")
    parser.add_argument("--z-um", type=float, nargs=2, required=True, metavar=("LOW", "HIGH"),
                        help="positions of the focus drive that focusd may go to")  # fmt: skip
    parser.add_argument("--offset-mm", type=float, default=10.0, help="working distance at position 0")
    parser.add_argument("--reversed", action="store_true", help="the working distance falls as z rises")
    parser.add_argument("--dwell-us", type=float, default=1.0, help="dwell time that means one exposure")
    parser.add_argument("--pixel-size-um", type=float, help="on the specimen, if the core does not know")
    parser.add_argument("--settle-s", type=float, default=0.0, help="wait after each move")
    options = parser.parse_args()

    def load() -> Core:
        core = Core()
        core.setDeviceAdapterSearchPaths(options.adapters)
        core.loadSystemConfiguration(str(options.config))
        return core

    instrument = MicroManager(
        load,
        tuple(options.z_um),
        offset_mm=options.offset_mm,
        is_reversed=options.reversed,
        dwell_us=options.dwell_us,
        pixel_size_um=options.pixel_size_um,
        settle_s=options.settle_s,
    )
    return focusd_bridge.run(instrument, options)


if __name__ == "__main__":
    sys.exit(main())
