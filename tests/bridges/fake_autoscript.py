"""A stand-in for Thermo's SDK as its manual and published scripts describe it, over a simulated column."""

from __future__ import annotations

import importlib
import math
import sys
import threading
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from focusd.frame import ScanRegion, ScanRequest
from focusd.simulator.column import SimulatedColumn

LIMITS_M = (0.002, 0.0201)


class ApplicationServerError(Exception):
    """What the SDK raises when the microscope refuses."""


class Value:
    """A quantity that can be read and, with a setter, set; ``limits`` as the SDK has them."""

    def __init__(self, get: Any, set_: Any = None, limits: tuple[float, float] | None = None) -> None:
        self._get, self._set = get, set_
        self.limits = limits and SimpleNamespace(min=limits[0], max=limits[1])

    @property
    def value(self) -> Any:
        return self._get()

    @value.setter
    def value(self, wanted: Any) -> None:
        self._set(wanted)


class GrabFrameSettings:
    """Settings of a grab."""

    def __init__(self, resolution: str, dwell_time: float, bit_depth: int, reduced_area: Any) -> None:
        self.resolution, self.dwell_time = resolution, dwell_time
        self.bit_depth, self.reduced_area = bit_depth, reduced_area


class FakeMicroscope:
    """What every client that connects shares with the operator.

    Attributes:
        column: The microscope.
        active_view: The operator's.
        views: Images by view.
        acquiring: Whether the operator scans.
        calls: Names of SDK calls that do something, in order.
        threads: The threads they came from.
        failure: Raised by the next calls of the name it begins with.
        hold: Cleared to make grabs hang.
        areas: Reduced areas of the grabs, as (left, top, width, height).
    """

    def __init__(self, column: SimulatedColumn) -> None:
        self.column = column
        self.active_view = 2
        self.views: dict[int, Any] = {}
        self.acquiring = False
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.failure: tuple[str, Exception] | None = None
        self.hold = threading.Event()
        self.hold.set()
        self.hung = threading.Event()
        self.areas: list[tuple[float, ...]] = []
        self.beam_on = True

    def note(self, name: str) -> None:
        """Take note of a call, and fail where told to."""
        self.calls.append(name)
        self.threads.add(threading.get_ident())
        if self.failure is not None and name.startswith(self.failure[0]):
            raise self.failure[1]

    def set_working_distance_m(self, wanted_m: float) -> None:
        """Set focus; the SDK raises beyond its limits."""
        self.note(f"working_distance {wanted_m:.6f}")
        if not LIMITS_M[0] <= wanted_m <= LIMITS_M[1]:
            raise ApplicationServerError(f"value {wanted_m} is out of range")
        self.column.set_working_distance(wanted_m * 1e3)

    def adorned(self, pixels: Any) -> Any:
        """Give pixels as the SDK does."""
        optics = SimpleNamespace(working_distance=self.column.working_distance_mm * 1e-3)
        return SimpleNamespace(data=pixels, metadata=SimpleNamespace(optics=optics))

    def grab(self, settings: GrabFrameSettings) -> Any:
        """Scan into the active view; sides of a reduced area are rounded in the SDK's own way."""
        self.note(f"grab_frame in view {self.active_view}")
        if not self.hold.is_set():
            self.hung.set()
        assert self.hold.wait(10.0)
        width, height = map(int, settings.resolution.split("x"))
        area = settings.reduced_area
        self.areas.append((area.left, area.top, area.width, area.height))
        left, top = math.floor(area.left * width), math.floor(area.top * height)
        columns = min(math.floor(area.width * width / 2) * 2, width - left)
        rows = min(math.floor(area.height * height / 2) * 2, height - top)
        request = ScanRequest(
            width,
            height,
            settings.dwell_time * 1e6,
            16 if settings.bit_depth == 16 else 8,
            ScanRegion(left, top, columns, rows),
        )
        self.views[self.active_view] = self.adorned(self.column.render(request))
        return self.views[self.active_view]


class Imaging:
    """The part of the SDK that deals with views and images."""

    def __init__(self, microscope: FakeMicroscope) -> None:
        self._microscope = microscope

    @property
    def state(self) -> str:
        return "Acquiring" if self._microscope.acquiring else "Idle"

    def get_active_view(self) -> int:
        return self._microscope.active_view

    def set_active_view(self, view: int) -> None:
        self._microscope.note(f"set_active_view {view}")
        self._microscope.active_view = view

    def set_active_device(self, device: str) -> None:
        self._microscope.note(f"set_active_device {device}")

    def grab_frame(self, settings: GrabFrameSettings) -> Any:
        return self._microscope.grab(settings)

    def get_image(self) -> Any:
        self._microscope.note("get_image")
        return self._microscope.views.get(self._microscope.active_view)


class Beam:
    """The electron beam."""

    def __init__(self, microscope: FakeMicroscope) -> None:
        self._microscope = microscope
        column = self._column = microscope.column
        self.working_distance = Value(
            lambda: column.working_distance_mm * 1e-3, self._microscope.set_working_distance_m, LIMITS_M
        )
        self.horizontal_field_width = Value(lambda: np.float64(column.field_of_view_mm * 1e-3))
        self.high_voltage = Value(lambda: column.accelerating_voltage_kv * 1e3)
        self.beam_current = Value(lambda: 5e-11)
        self.stigmator = Value(self._stigmator, self._set_stigmator)

    @property
    def is_on(self) -> bool:
        self._microscope.note("is_on")
        return self._microscope.beam_on

    def blank(self) -> None:
        self._column.blanked = True

    def unblank(self) -> None:
        self._column.blanked = False

    def _stigmator(self) -> Any:
        x_percent, y_percent = self._column.stigmator_percent
        return SimpleNamespace(x=x_percent / 100, y=y_percent / 100)

    def _set_stigmator(self, point: Any) -> None:
        self._column.stigmator_percent = (point.x * 100, point.y * 100)


class SdbMicroscopeClient:
    """A client; several may connect to one microscope."""

    def __init__(self, microscope: FakeMicroscope) -> None:
        self._microscope = microscope

    def connect(self, host: str, port: int) -> None:
        self._microscope.note(f"connect {host}:{port}")
        self.imaging = Imaging(self._microscope)
        self.beams = SimpleNamespace(electron_beam=Beam(self._microscope))
        position = SimpleNamespace(x=0.001, y=-0.002, z=0.004, r=math.pi / 2, t=math.pi / 6)
        self.specimen = SimpleNamespace(stage=SimpleNamespace(current_position=position))
        system = SimpleNamespace(name="Stand-in", serial_number=7, version="4.8")
        self.service = SimpleNamespace(system=system)

    def disconnect(self) -> None:
        self._microscope.note("disconnect")


def install(monkeypatch: pytest.MonkeyPatch, microscope: FakeMicroscope) -> Any:
    """Put the stand-in where the SDK would be, and give ``deploy/bridges/autoscript.py`` on it."""
    name = "autoscript_sdb_microscope_client"
    package: Any = ModuleType(name)
    structures: Any = ModuleType(f"{name}.structures")
    enumerations: Any = ModuleType(f"{name}.enumerations")
    package.SdbMicroscopeClient = partial(SdbMicroscopeClient, microscope)
    structures.GrabFrameSettings = GrabFrameSettings
    structures.Point = lambda x, y: SimpleNamespace(x=x, y=y)
    structures.Rectangle = lambda left, top, width, height: SimpleNamespace(
        left=left, top=top, width=width, height=height
    )
    enumerations.ImagingDevice = SimpleNamespace(ELECTRON_BEAM="Electron beam")
    enumerations.ImagingState = SimpleNamespace(ACQUIRING="Acquiring")
    for module in (package, structures, enumerations):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "autoscript", raising=False)
    bridge = importlib.import_module("autoscript")
    monkeypatch.delitem(sys.modules, "autoscript")
    return bridge
