"""Parts of the simulated SharkSEM server that need no network."""

from __future__ import annotations

import asyncio
import math

import pytest

from focusd.protocol.sharksem_functions import FUNCTIONS
from focusd.simulator.pace import Pace
from focusd.simulator.sharksem_busy import OPTICS, SCAN, STAGE, BusyConditions
from focusd.simulator.sharksem_commands import COMMANDS
from focusd.simulator.sharksem_scan import PIECE_S, ScanOrder


def order(dwell_s: float) -> ScanOrder:
    """Give a scan of which only the dwell time matters."""

    async def nowhere(_message: bytes) -> None:
        return

    return ScanOrder(None, 1, 1_000_000, dwell_s, 1, (), nowhere)


def test_every_function_of_the_wire_has_a_handler() -> None:
    """The table of commands and the table of the wire name the same functions."""
    assert set(COMMANDS) == set(FUNCTIONS)


@pytest.mark.parametrize("dwell_s", [1e-8, 1e-7, 1e-6, 3.3e-5, 1e-3])
def test_a_piece_is_a_multiple_of_four_pixels_and_at_most_fifty_milliseconds(dwell_s: float) -> None:
    """So it is a multiple of 4 bytes at either depth."""
    piece_px = order(dwell_s).piece_px

    assert piece_px % 4 == 0
    assert 0 < piece_px * dwell_s <= PIECE_S


def test_a_piece_of_a_very_slow_scan_is_four_pixels() -> None:
    """The multiple of 4 bytes counts for more than the 50 ms."""
    assert order(1.0).piece_px == 4


@pytest.mark.parametrize(
    ("scale", "real_s"), [(1.0, 3.0), (10.0, 0.3), (0.5, 6.0), (0.0, 0.0), (math.inf, 0.0)]
)
def test_time_runs_faster_by_the_scale(scale: float, real_s: float) -> None:
    """0 and infinity both mean that nothing takes any time."""
    assert Pace(scale).real_s(3.0) == pytest.approx(real_s)


@pytest.mark.parametrize("scale", [-1.0, math.nan])
def test_a_time_scale_is_not_negative(scale: float) -> None:
    """Neither is it anything but a number."""
    with pytest.raises(ValueError, match="time_scale"):
        Pace(scale)


async def test_a_held_condition_stays_until_every_hold_is_let_go() -> None:
    """Two reasons for one condition are counted."""
    busy = BusyConditions()
    busy.hold(SCAN)
    busy.hold(SCAN)

    busy.release(SCAN)
    assert busy.raised(SCAN | STAGE)
    assert not busy.raised(STAGE)

    busy.release(SCAN)
    assert not busy.raised(SCAN)


async def test_listeners_are_woken_when_a_condition_ends() -> None:
    """The longest of several times counts, and the listener is set once it is over."""
    busy = BusyConditions()
    wake = asyncio.Event()
    busy.listen(wake)
    begin = asyncio.get_running_loop().time()

    busy.raise_for(OPTICS, 0.05)
    busy.raise_for(OPTICS, 0.01)
    while busy.raised(OPTICS):
        wake.clear()
        await wake.wait()

    assert asyncio.get_running_loop().time() - begin >= 0.05
    busy.close()


async def test_raising_for_no_time_raises_nothing() -> None:
    """A server whose time does not pass has nothing to settle."""
    busy = BusyConditions()

    busy.raise_for(OPTICS, 0.0)

    assert not busy.raised(OPTICS)
