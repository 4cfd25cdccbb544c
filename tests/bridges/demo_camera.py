"""Micro-Manager's own core with its demo camera over fluorescent beads: sharp at Z = 0, blurred beside it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.bridges.process import BRIDGES, bridge_process

_CONFIG = """
Property,Core,Initialize,0
Device,Camera,DemoCamera,DCam
Device,Z,DemoCamera,DStage
Device,XY,DemoCamera,DXYStage
Property,Core,Initialize,1
Property,Core,Camera,Camera
Property,Core,Focus,Z
Property,Core,XYStage,XY
ConfigGroup,System,Startup,Camera,Mode,Fluorescent Beads
"""
Z_LIMITS_UM = (-50.0, 50.0)
OFFSET_MM = 10.0


def adapters() -> str:
    """Give the folder of device adapters; without them the test is skipped."""
    packages = [
        pytest.importorskip(name, reason="needs the packages pymmcore-plus and mm-test-adapters")
        for name in ("pymmcore", "pymmcore_plus", "mm_test_adapters")
    ]
    return str(packages[-1].device_adapter_path())


def bridge_module() -> ModuleType:
    """Give ``deploy/bridges/micromanager.py``, which cannot be imported without Micro-Manager."""
    adapters()
    return importlib.import_module("micromanager")


def write_config(folder: Path, *, z_um: float = 0.0, **camera: object) -> Path:
    """Write a configuration file that starts at a position, with properties of the camera."""
    path = folder / "beads.cfg"
    startup = [f"Z,Position,{z_um}", *(f"Camera,{name},{value}" for name, value in camera.items())]
    lines = [f"ConfigGroup,System,Startup,{each}" for each in startup]
    path.write_text(_CONFIG + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def load(core: Any, config: Path) -> Any:
    """Load a configuration file into a core."""
    core.setDeviceAdapterSearchPaths([adapters()])
    core.loadSystemConfiguration(str(config))
    return core


def z_um(working_distance_mm: float) -> float:
    """Give the position of the focus drive."""
    return (working_distance_mm - OFFSET_MM) * 1e3


@contextmanager
def bridge(config: Path, *more: str) -> Iterator[int]:
    """Run the bridge as a process, as a lab does; give its port."""
    low, high = map(str, Z_LIMITS_UM)
    command = [str(BRIDGES / "micromanager.py"), "--config", str(config), "--adapters", adapters()]
    with bridge_process(*command, "--z-um", low, high, "--pixel-size-um", "1", *more) as port:
        yield port
