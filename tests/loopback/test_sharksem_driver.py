"""The SharkSEM driver and the simulated server, over real TCP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from focusd.config import MicroscopeSettings
from focusd.errors import (
    LinkError,
    LinkTimeoutError,
    RemoteProtocolError,
    ScanIncompleteError,
    ScanRefusedError,
    WorkingDistanceNotSetError,
)
from focusd.frame import ScanRegion, ScanRequest
from focusd.microscope.interface import Microscope
from focusd.microscope.registry import connect
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.faults import Faults
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.sharksem_server import SharkSEMServer
from focusd.simulator.specimen import Specimen
from tests.loopback.plain_client import PlainClient

REQUEST = ScanRequest(64, 64, dwell_time_us=1.0)
SPECIMEN = Specimen(SpecimenOptions(texture_side_px=256))
SE, BSE = 1, 4


def column() -> SimulatedColumn:
    """Make a column whose images depend on nothing but how many were taken."""
    return SimulatedColumn(ColumnOptions(), SPECIMEN)


def settings(server: SharkSEMServer, **changes: Any) -> MicroscopeSettings:
    """Lead to the server, with short deadlines."""
    return MicroscopeSettings.model_validate(
        {
            "port": server.port,
            "detector": SE,
            "limits": {"working_distance_mm": (4.0, 30.0)},
            "timeouts": {"connect_s": 2.0, "request_s": 1.0, "settle_s": 3.0},
            **changes,
        }
    )


@asynccontextmanager
async def simulated(
    faults: Faults | None = None, *, time_scale: float = 0.0, **changes: Any
) -> AsyncIterator[tuple[SharkSEMServer, Microscope]]:
    """Serve a column and connect to it."""
    async with (
        SharkSEMServer(column(), time_scale=time_scale, faults=faults) as server,
        connect(settings(server, **changes)) as microscope,
    ):
        yield server, microscope


def twin_image(request: ScanRequest, *, scan: int = 1, detector: int = SE) -> np.ndarray:
    """Give what the n-th scan of such a column is, without a wire."""
    twin = column()
    for _ in range(scan - 1):
        twin.expose(request, detector)
    return twin.render(request, detector)


# --- in good health ---


@pytest.mark.parametrize(
    ("request_", "dribble"),
    [
        (REQUEST, False),
        (ScanRequest(64, 64, 1.0, 16), False),
        (ScanRequest(99, 65, 0.5), False),
        (ScanRequest(99, 65, 30.0, 16), False),
        (ScanRequest(256, 256, 1.0, region=ScanRegion(13, 57, 101, 75)), False),
        (ScanRequest(99, 65, 30.0, 16), True),
    ],
)
async def test_the_image_arrives_as_the_column_made_it(request_: ScanRequest, *, dribble: bool) -> None:
    """Every pixel is in its place, for each depth, odd sizes, a region, several pieces, and a slow wire."""
    async with simulated(Faults(dribble=dribble)) as (_, microscope):
        frame = await microscope.scan(request_)

    np.testing.assert_array_equal(frame.pixels, twin_image(request_))
    assert frame.conditions.detector == "SE"
    assert frame.conditions.pixel_size_nm == pytest.approx(10_240 / request_.width)
    assert frame.conditions.accelerating_voltage_kv == 5.0
    assert frame.working_distance_mm == 9.0


async def test_scans_in_a_hold_follow_one_another() -> None:
    """Several scans in one hold, of changing depth, are each their own image."""
    async with simulated(Faults(gui_scanning_at_start=True)) as (server, microscope):
        async with microscope.acquisition():
            first = await microscope.scan(REQUEST)
            second = await microscope.scan(REQUEST)
            assert not server.instrument.live.scanning
        assert server.instrument.live.scanning

    assert first.pixels.shape == second.pixels.shape
    assert not np.array_equal(first.pixels, second.pixels)


async def test_moves_arrive_exactly_and_are_waited_for() -> None:
    """The column gets the very numbers that were commanded, and the readback is the column's."""
    wanted_mm = [9.1, 8.999_999_9, 4.0, 30.0, 9.000_000_1]
    async with simulated(time_scale=50.0) as (server, microscope):
        readbacks_mm = [await microscope.set_working_distance(each) for each in wanted_mm]

    assert [move.requested_mm for move in server.column.moves] == wanted_mm
    assert readbacks_mm == wanted_mm


async def test_the_state_and_the_identity_are_the_simulators() -> None:
    """Everything the server tells is understood."""
    async with simulated(detector=BSE) as (_, microscope):
        await microscope.scan(REQUEST)
        state = await microscope.get_state()
        identity = microscope.identity

    assert (identity.vendor, identity.model, identity.protocol_version) == ("TESCAN", "SIMULATED", "3.2.20")
    assert state.working_distance_mm == 9.0
    assert state.field_of_view_um == pytest.approx(10.24)
    assert (state.detector, state.accelerating_voltage_kv, state.beam_on) == ("BSE", 5.0, True)
    assert state.stage_position is not None


# --- faults ---


@pytest.mark.parametrize("version", ["2.0.5", "2.0.8", "2.0.25", "3.1.0"])
@pytest.mark.parametrize("version_buffer", [False, True])
async def test_older_generations_work_the_same(version: str, *, version_buffer: bool) -> None:
    """Calls a server does not know are not needed to move and to scan."""
    faults = Faults(protocol_version=version, version_buffer=version_buffer)
    async with simulated(faults) as (server, microscope):
        assert microscope.identity.protocol_version == version
        assert await microscope.set_working_distance(9.05) == 9.05
        assert (await microscope.scan(REQUEST)).pixels.shape == (64, 64)

    assert [move.requested_mm for move in server.column.moves] == [9.05]


async def test_a_single_client_server_pairs_without_ports() -> None:
    """The firewall-friendly mode needs nothing of its own."""
    async with simulated(Faults(single_client=True)) as (_, microscope):
        assert (await microscope.scan(REQUEST)).pixels.shape == (64, 64)


@pytest.mark.parametrize(
    ("fault", "value", "error"),
    [
        ("silence", True, LinkTimeoutError),
        ("corrupt_answer_id", True, RemoteProtocolError),
        ("answer_delay_s", 1.5, LinkTimeoutError),
        ("working_distance_readback", float("nan"), RemoteProtocolError),
        ("stuck_working_distance", True, WorkingDistanceNotSetError),
        ("working_distance_offset_mm", 0.01, WorkingDistanceNotSetError),
    ],
)
async def test_a_faulty_server_is_one_named_error(fault: str, value: object, error: type[Exception]) -> None:
    """Nothing hangs, and at most the one commanded move has been made."""
    async with simulated() as (server, microscope):
        setattr(server.faults, fault, value)
        with pytest.raises(error):
            await asyncio.wait_for(microscope.set_working_distance(9.05), 5.0)
        assert [move.requested_mm for move in server.column.moves] in ([], [9.05])


async def test_a_lost_piece_costs_the_frame_and_not_the_link() -> None:
    """The scan ends at once as incomplete; the next one is whole."""
    async with simulated(Faults(lost_pieces=1)) as (_, microscope):
        request = ScanRequest(64, 64, 50.0)
        with pytest.raises(ScanIncompleteError, match="pixels did not come"):
            await asyncio.wait_for(microscope.scan(request), 5.0)
        frame = await microscope.scan(request)

    np.testing.assert_array_equal(frame.pixels, twin_image(request, scan=2))


async def test_a_cut_connection_is_one_error_and_the_next_one_works() -> None:
    """After a crash of the microscope's computer the driver connects anew."""
    async with simulated() as (server, microscope):
        server.close_connections()
        with pytest.raises(LinkError):
            await microscope.get_working_distance()
        async with connect(settings(server)) as again:
            assert await again.get_working_distance() == 9.0


async def test_another_clients_scan_is_waited_out_by_refusal() -> None:
    """A second client is refused while the first one scans, and the first one's frame is whole."""
    slow = ScanRequest(64, 64, 100.0)
    async with simulated(time_scale=1.0) as (server, first), connect(settings(server)) as second:
        running = asyncio.ensure_future(first.scan(slow))
        while not server.instrument.scan.active:
            await asyncio.sleep(0.01)
        with pytest.raises(ScanRefusedError, match="another program"):
            await second.scan(REQUEST)
        frame = await running
        assert (await second.scan(REQUEST)).pixels.shape == (64, 64)

    np.testing.assert_array_equal(frame.pixels, twin_image(slow))


async def test_a_stage_that_another_client_moves_is_waited_for() -> None:
    """A picture of a moving specimen would tell nothing of focus."""
    async with simulated(time_scale=1.0) as (server, microscope):
        with PlainClient(server.port, data=False) as other:
            await asyncio.to_thread(other.send, "StgMoveTo", 0.4)
            assert await asyncio.to_thread(other.whole, "StgIsBusy")
            frame = await microscope.scan(REQUEST)
            assert not await asyncio.to_thread(other.whole, "StgIsBusy")

    assert frame.stage_position is not None
    assert frame.stage_position.x_mm == pytest.approx(0.4)


@pytest.mark.parametrize("bits_per_pixel", [8, 16])
async def test_a_cancelled_scan_stops_the_beam_within_a_piece(bits_per_pixel: int) -> None:
    """The scan generator is free and the live picture runs when the cancelled call has ended."""
    slow = ScanRequest(256, 256, 1000.0, bits_per_pixel)
    async with simulated(Faults(gui_scanning_at_start=True), time_scale=1.0) as (server, microscope):
        scan = asyncio.ensure_future(microscope.scan(slow))
        while not server.instrument.scan.active:
            await asyncio.sleep(0.01)
        scan.cancel()
        _, pending = await asyncio.wait([scan], timeout=1.0)

        assert not pending
        assert scan.cancelled()
        assert not server.instrument.scan.active
        assert server.instrument.live.scanning
        assert (await microscope.scan(REQUEST)).pixels.shape == (64, 64)


async def test_cancelled_at_any_moment_the_microscope_is_left_as_found() -> None:
    """A scan cancelled after any number of turns of the loop leaves no scan, no hold, and a working link."""
    async with simulated(Faults(gui_scanning_at_start=True)) as (server, microscope):
        for turns in range(60):
            scan = asyncio.ensure_future(microscope.scan(REQUEST))
            for _ in range(turns):
                await asyncio.sleep(0)
            scan.cancel()
            await asyncio.wait([scan])

            assert not server.instrument.scan.active
            assert server.instrument.live.scanning
            assert await microscope.get_working_distance() == 9.0
