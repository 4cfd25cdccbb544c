"""A stand-in for SmartSEM's COM object as its manual and published programs describe it, over a column."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from focusd.frame import Pixels, ScanRequest
from focusd.simulator.column import SimulatedColumn

LIMITS_M = (0.0005, 0.05)
COLUMNS, ROWS = 128, 96
FRAME_MS = 5.0


class FakeComError(Exception):
    """What the COM layer raises."""


class FakeSmartSEM:
    """The object and the microscope behind it.

    Attributes:
        column: The microscope.
        calls: Names of calls that do something, in order.
        threads: The threads that called at all.
        codes: Return codes to give, by call.
        frozen: Whether the image stands still.
        shown: The image that is displayed.
        endless: Whether frames never come to their end.
        hold: Cleared to make grabs hang.
    """

    def __init__(self, column: SimulatedColumn) -> None:
        self.column = column
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.codes: dict[str, int] = {}
        self.errors: dict[str, Exception] = {}
        self.frozen = False
        self.shown: Pixels = np.zeros((ROWS, COLUMNS), np.uint8)
        self.endless = False
        self.hold = threading.Event()
        self.hold.set()

    def InitialiseRemoting(self) -> int:  # noqa: N802 - ZEISS's name, as all below
        return self._note("InitialiseRemoting")

    def ClosingControl(self) -> int:  # noqa: N802
        return self._note("ClosingControl")

    def GetLimits(self, name: str, _low: float, _high: float) -> tuple[int, float, float]:  # noqa: N802
        return self._note(f"GetLimits {name}"), *LIMITS_M

    def Get(self, name: str, _value: object = 0) -> tuple[int, Any]:  # noqa: N802
        self.threads.add(threading.get_ident())
        if f"Get {name}" in self.errors:
            raise self.errors[f"Get {name}"]
        values = {
            "AP_WD": self.column.working_distance_mm * 1e-3,
            "AP_WIDTH": self.column.field_of_view_mm * 1e-3,
            "AP_FRAME_TIME": FRAME_MS,
            "AP_STIG_X": self.column.stigmator_percent[0],
            "AP_STIG_Y": self.column.stigmator_percent[1],
            "DP_DETECTOR_CHANNEL": "InLens",
            "DP_FROZEN": "Frozen" if self.frozen and not self.endless else "Live",
            "DP_IMAGE_STORE": f"{COLUMNS} * {ROWS}",
        }
        return self.codes.get(f"Get {name}", 0), values[name]

    def Set(self, name: str, value: Any) -> tuple[int, Any]:  # noqa: N802
        code = self._note(f"Set {name}")
        wanted = float(np.float32(value.value))
        if code or name != "AP_WD":
            if name.startswith("AP_STIG") and not code:
                x, y = self.column.stigmator_percent
                self.column.stigmator_percent = (wanted, y) if name.endswith("X") else (x, wanted)
            return code, value
        if not LIMITS_M[0] <= wanted <= LIMITS_M[1]:
            return (1007 if wanted < LIMITS_M[0] else 1008), value
        self.column.set_working_distance(wanted * 1e3)
        return 0, value

    def Execute(self, name: str) -> int:  # noqa: N802
        code = self._note(f"Execute {name}")
        if name == "CMD_UNFREEZE_ALL":
            self.frozen = False
        elif name == "CMD_FREEZE_ALL":
            self.shown = self.column.render(ScanRequest(COLUMNS, ROWS, 1.0))
            self.frozen = True
        return code

    def Grab(self, *area_and_path: Any) -> int:  # noqa: N802
        code = self._note("Grab")
        assert area_and_path[:5] == (0, 0, 1024, 768, 0)
        assert self.hold.wait(10.0)
        if code == 0:
            tifffile.imwrite(Path(area_and_path[5]), self.shown, rowsperstrip=32)
        return code

    def _note(self, name: str) -> int:
        self.calls.append(name)
        self.threads.add(threading.get_ident())
        if name in self.errors:
            raise self.errors[name]
        return self.codes.get(name, 0)


@contextmanager
def installed(monkeypatch: pytest.MonkeyPatch, sem: FakeSmartSEM) -> Iterator[Any]:
    """Put the stand-in where pywin32 would be, and give ``deploy/bridges/smartsem.py`` on it."""
    apartment = threading.local()

    def dispatch(name: str) -> FakeSmartSEM:
        assert apartment.entered, "CoInitialize comes first, on the same thread"
        assert name == "CZ.EMApiCtrl.1"
        return sem

    pythoncom: Any = ModuleType("pythoncom")
    pythoncom.VT_R4 = 4
    pythoncom.com_error = FakeComError
    pythoncom.CoInitialize = lambda: setattr(apartment, "entered", True)
    pythoncom.CoUninitialize = lambda: setattr(apartment, "entered", False)
    client: Any = ModuleType("win32com.client")
    client.Dispatch = dispatch
    client.VARIANT = lambda kind, value: SimpleNamespace(kind=kind, value=value)
    package: Any = ModuleType("win32com")
    package.client = client
    for module in (pythoncom, package, client):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "smartsem", raising=False)
    bridge = importlib.import_module("smartsem")
    monkeypatch.delitem(sys.modules, "smartsem")
    yield bridge
    sem.hold.set()
