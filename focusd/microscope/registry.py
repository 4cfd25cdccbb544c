"""Drivers by name: those of focusd, and those that other packages bring.

A package adds a driver with an entry point of the group ``focusd.microscopes``: a function that takes
``MicroscopeSettings`` and gives an async context manager of a ``Microscope``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import EntryPoint, entry_points
from typing import Final, TypeAlias

from focusd.config import MicroscopeSettings
from focusd.errors import ConfigError
from focusd.microscope.bridge import connect_bridge
from focusd.microscope.interface import Microscope
from focusd.microscope.sharksem import connect_sharksem

Connect: TypeAlias = Callable[[MicroscopeSettings], AbstractAsyncContextManager[Microscope]]

ENTRY_POINT_GROUP: Final = "focusd.microscopes"

_BUILT_IN: Final[dict[str, Connect]] = {"bridge": connect_bridge, "sharksem": connect_sharksem}


def driver_names() -> tuple[str, ...]:
    """Give the names of all drivers there are, sorted."""
    return tuple(sorted({*_BUILT_IN, *_entry_points()}))


def connect(settings: MicroscopeSettings) -> AbstractAsyncContextManager[Microscope]:
    """Give a connection to the microscope; entering it connects.

    Raises:
        ConfigError: there is no such driver, or it cannot be loaded.
    """
    return _driver(settings.driver)(settings)


def _driver(name: str) -> Connect:
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    entry_point = _entry_points().get(name)
    if entry_point is None:
        known = ", ".join(driver_names())
        raise ConfigError([f"microscope.driver must be one of {known}, got {name!r}"])
    try:
        driver: Connect = entry_point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            [f"microscope.driver {name!r} cannot be loaded from {entry_point.value}: {error}"]
        ) from error
    return driver


def _entry_points() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINT_GROUP)}
