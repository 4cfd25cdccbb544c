"""Drivers by name."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from focusd.config import Limits, MicroscopeSettings
from focusd.errors import ConfigError
from focusd.microscope import registry
from focusd.microscope.interface import Microscope
from tests.fake_microscope import FakeMicroscope

LIMITS = Limits(working_distance_mm=(4.0, 30.0))


def connect_fake(settings: MicroscopeSettings) -> AbstractAsyncContextManager[Microscope]:
    """Stand in for another package's driver."""
    return nullcontext(FakeMicroscope(limits_mm=settings.limits.working_distance_mm))


@pytest.fixture
def other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install two packages with drivers, one of them broken."""
    points = EntryPoints(
        [
            EntryPoint("fake", f"{__name__}:connect_fake", registry.ENTRY_POINT_GROUP),
            EntryPoint("broken", "no_such_module_here:connect", registry.ENTRY_POINT_GROUP),
            EntryPoint("sharksem", "no_such_module_here:connect", registry.ENTRY_POINT_GROUP),
        ]
    )
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))


@pytest.mark.parametrize("name", ["bridge", "sharksem"])
def test_focusd_brings_its_own_drivers(name: str) -> None:
    """Neither needs another package."""
    assert name in registry.driver_names()
    registry.connect(MicroscopeSettings(driver=name, limits=LIMITS))


@pytest.mark.usefixtures("other_packages")
async def test_another_package_adds_a_driver() -> None:
    """An entry point's driver is listed and connects."""
    assert registry.driver_names() == ("bridge", "broken", "fake", "sharksem")
    async with registry.connect(MicroscopeSettings(driver="fake", limits=LIMITS)) as microscope:
        assert microscope.limits_mm == (4.0, 30.0)


@pytest.mark.usefixtures("other_packages")
def test_a_built_in_driver_cannot_be_replaced() -> None:
    """A package that takes the name of a built-in driver is not loaded."""
    registry.connect(MicroscopeSettings(driver="sharksem", limits=LIMITS))


@pytest.mark.usefixtures("other_packages")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch", "microscope.driver must be one of bridge, broken, fake, sharksem, got 'nosuch'"),
        ("broken", "microscope.driver 'broken' cannot be loaded from no_such_module_here:connect"),
    ],
)
def test_a_driver_that_is_not_to_be_had_is_a_wrong_setting(name: str, message: str) -> None:
    """The error names the setting and what it may hold."""
    with pytest.raises(ConfigError, match=message):
        registry.connect(MicroscopeSettings(driver=name, limits=LIMITS))
