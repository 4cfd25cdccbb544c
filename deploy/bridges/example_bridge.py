"""A bridge for your own instrument: take this file and put your software's calls where ``_Sdk`` is called.

Start it, then let ``focusd bridge check 127.0.0.1`` tell whether it keeps the protocol.
"""

from __future__ import annotations

import sys
import time

import focusd_bridge


class _Sdk:
    """Stands for the vendor's software: metres, and a picture of stripes."""

    working_distance_m = 0.009

    def grab(self, width: int, height: int) -> bytes:
        return bytes(x * 16 % 256 for x in range(width)) * height


class MyInstrument(focusd_bridge.Instrument):
    """The instrument; one thread calls these methods, one at a time."""

    vendor = "My lab"
    model = "example"
    limits_mm = (5.0, 15.0)

    def open(self) -> None:
        self._sdk = _Sdk()

    def get_state(self) -> focusd_bridge.Json:
        return {
            "working_distance_mm": self._sdk.working_distance_m * 1e3,
            "field_of_view_um": 100.0,
            "beam_on": True,
        }

    def set_working_distance(self, working_distance_mm: float) -> float:
        self._sdk.working_distance_m = working_distance_mm * 1e-3
        time.sleep(0.05)  # until the lens has settled; better: ask the SDK
        return self._sdk.working_distance_m * 1e3

    def scan(self, scan: focusd_bridge.Scan) -> focusd_bridge.Image:
        part = scan.region
        pixels = self._sdk.grab(part.width, part.height)
        return focusd_bridge.Image(rows=part.height, columns=part.width, pixels=pixels)


if __name__ == "__main__":
    sys.exit(focusd_bridge.run(MyInstrument(), focusd_bridge.parser(__doc__).parse_args()))
