"""A lab's own instrument on ``focusd_bridge``, over a simulated column, and a plain client for its wire."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from focusd_bridge import Bridge, Image, Instrument, Region, Scan

from focusd.frame import ScanRegion, ScanRequest
from focusd.simulator.column import SimulatedColumn
from tests.loopback.sharksem_rig import specimen

Json: TypeAlias = dict[str, Any]
PATIENCE_S = 10.0
"""How long a test waits for what must come."""


class Lab(Instrument):
    """Every method there is; hangs and fails when told to.

    Attributes:
        calls: Names of the calls, in order.
        threads: The threads they came from.
        most_at_once: Most calls that were under way at one time.
        hanging: What hangs, until ``released`` is set.
        failing: What fails, and with which error.
        frozen: Whether automatic contrast is held.
    """

    vendor, model, serial = "focusd", "lab", "7"
    limits_mm = (8.0, 10.0)
    answer_s = settle_s = scan_margin_s = PATIENCE_S
    poll_interval_s = 0.01

    def __init__(self, column: SimulatedColumn | None = None) -> None:
        self.column = column or SimulatedColumn(None, specimen())
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.most_at_once = 0
        self.hanging = ""
        self.hung = threading.Event()
        self.released = threading.Event()
        self.failing: tuple[str, Exception] | None = None
        self.frozen = False
        self.acquired: list[Image] = []
        self._under_way = 0

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        self.threads.add(threading.get_ident())
        try:
            self.calls.append(name)
            if name == self.hanging:
                self.hung.set()
                assert self.released.wait(PATIENCE_S)
            if self.failing is not None and self.failing[0] == name:
                raise self.failing[1]
            yield
        finally:
            self._under_way -= 1

    def open(self) -> None:
        with self._call("open"):
            pass

    def close(self) -> None:
        with self._call("close"):
            pass

    def get_state(self) -> Json:
        with self._call("get_state"):
            return {
                "working_distance_mm": np.float64(self.column.working_distance_mm),
                "field_of_view_um": self.column.field_of_view_mm * 1e3,
                "probe_current_pa": float("nan"),
                "beam_on": True,
            }

    def set_working_distance(self, working_distance_mm: float) -> float:
        with self._call("set_working_distance"):
            self.column.set_working_distance(working_distance_mm)
            return self.column.working_distance_mm

    def scan(self, scan: Scan) -> Image:
        with self._call("scan"):
            part = scan.region
            request = ScanRequest(
                scan.width,
                scan.height,
                scan.dwell_time_us,
                scan.bits_per_pixel,
                ScanRegion(part.x, part.y, part.width, part.height),
            )
            pixels = self.column.render(request)
            bits = 8 * pixels.dtype.itemsize
            data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
            return Image(pixels.shape[0], pixels.shape[1], data, bits)

    def poll(self) -> Image | None:
        with self._call("poll"):
            return self.acquired.pop(0) if self.acquired else None

    def get_stigmator(self) -> tuple[float, float]:
        with self._call("get_stigmator"):
            return self.column.stigmator_percent

    def set_stigmator(self, x_percent: float, y_percent: float) -> tuple[float, float]:
        with self._call("set_stigmator"):
            self.column.stigmator_percent = (x_percent, y_percent)
            return self.column.stigmator_percent

    def freeze_auto_contrast(self, *, frozen: bool) -> None:
        with self._call("freeze_auto_contrast"):
            self.frozen = frozen

    def blank_beam(self, *, blanked: bool) -> None:
        with self._call("blank_beam"):
            self.column.blanked = blanked


def scan_of(side: int, **more: int) -> Scan:
    """Give a scan of a whole square field."""
    return Scan(side, side, 1.0, Region(0, 0, side, side), **more)


@contextmanager
def served(lab: Instrument, **options: Any) -> Iterator[Bridge]:
    """Serve an instrument; one that hangs is let go at the end."""
    with Bridge(lab, port=0, **options) as bridge:
        try:
            yield bridge
        finally:
            if isinstance(lab, Lab):
                lab.released.set()


class Caller:
    """A client of a bridge that may also send what no client should; a context manager."""

    def __init__(self, bridge: Bridge) -> None:
        self.socket = socket.create_connection(("127.0.0.1", bridge.port), PATIENCE_S)
        self._number = 0

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, header: object) -> None:
        """Send a header; not-a-number is allowed."""
        self.send_raw(json.dumps(header).encode())

    def send_raw(self, data: bytes) -> None:
        """Send bytes as a header."""
        self.socket.sendall(struct.pack(">I", len(data)) + data)

    def receive(self) -> tuple[Json, bytes]:
        """Give the next message; ``EOFError`` when there is none."""
        (length,) = struct.unpack(">I", self._exactly(4))
        header: Json = json.loads(self._exactly(length))
        size = (header.get("result") or header.get("params") or {}).get("payload_bytes", 0)
        return header, self._exactly(size)

    def ask(self, method: str, **params: object) -> Json:
        """Send a request and give its answer; images that are pushed in between are read over."""
        self._number += 1
        self.send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        while True:
            header, _ = self.receive()
            if "method" not in header:
                assert header["id"] == self._number
                return header

    def error_of(self, method: str, **params: object) -> tuple[int, str]:
        """Give code and message of a request that must be refused."""
        error = self.ask(method, **params)["error"]
        return error["code"], error["message"]

    def ended(self) -> bool:
        """Whether the bridge closes the connection, whatever it sends before."""
        try:
            while self.socket.recv(65_536):
                pass
        except ConnectionError:
            pass
        return True

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data
