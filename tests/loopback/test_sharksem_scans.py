"""Images of the simulated SharkSEM server over real TCP."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from focusd.frame import ScanRegion, ScanRequest
from focusd.simulator.options import ColumnOptions
from tests.loopback.plain_client import A, PlainClient, is_closed, wait_for
from tests.loopback.sharksem_rig import PROCEDURE, SCAN, play, server

QUIET = ColumnOptions(shot_noise=False, readout_noise_grey=0.0, working_distance_mm=9.002)
"""Without noise an image can be told beforehand."""


@pytest.mark.parametrize(("bits", "dtype"), [(8, "u1"), (16, "<u2")])
async def test_a_scan_sends_what_the_column_sees(bits: int, dtype: str) -> None:
    """The pixels that arrive are those of the column, row by row."""
    rig = server(options=QUIET)
    expected = rig.column.render(ScanRequest(96, 80, 1.0, bits))

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1, bits)
        assert client.scan(7, 96, 80) == 0
        [frame] = client.fetch([0], 96 * 80)
        assert np.array_equal(np.frombuffer(frame, dtype).reshape(80, 96), expected)
        assert {piece[0] for piece in client.pieces} == {7}
        client.send("ScStopScan")

    await play(rig, scene)


async def test_a_region_is_a_part_of_the_window() -> None:
    """Edges are inclusive, and an odd number of pixels comes whole."""
    rig = server(options=QUIET)
    expected = rig.column.render(ScanRequest(200, 100, 1.0, 8, ScanRegion(11, 22, 31, 7)))

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        assert client.whole("ScScanXY", 1, 200, 100, 11, 22, 41, 28, 1, 1000) == 0
        [frame] = client.fetch([0], 31 * 7)
        assert frame == expected.tobytes()
        assert client.whole("ScScanXY", 2, 200, 100, 5, 5, 5, 5, 1, 1000) == 0
        assert len(client.fetch([0], 1)[0]) == 1

    await play(rig, scene)


async def test_several_channels_of_a_frame_come_before_the_next_frame() -> None:
    """Two channels of 8 and 16 bits share every step of the beam, frame after frame."""

    def scene(client: PlainClient) -> None:
        client.send("DtSelect", 0, 1)
        client.send("DtSelect", 2, 4)
        client.send("DtEnable", 0, 1, 8)
        client.send("DtEnable", 2, 1, 16)
        assert client.scan(5, 300, 200, frames=3, dwell_ns=3000) == 0
        for _ in range(3):
            frames = client.fetch([0, 2], 60_000)
            assert [len(frame) for frame in frames] == [60_000, 120_000]
        client.wait_conditions = A
        assert client.whole("IsBusy", SCAN) == 0

    await play(server(), scene)


async def test_pieces_cover_at_most_fifty_milliseconds_of_beam_time() -> None:
    """Pieces follow one another without a gap, in multiples of 4 bytes except for the last."""

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        assert client.scan(5, 111, 77, dwell_ns=33_000) == 0
        client.fetch([0], 111 * 77)
        sizes = [len(pixels) for *_, pixels in client.pieces]
        assert len(sizes) > 4
        assert max(sizes) * 33e-6 <= 0.05
        assert all(size % 4 == 0 for size in sizes[:-1])
        assert [piece[2] for piece in client.pieces] == [sum(sizes[:i]) for i in range(len(sizes))]

    await play(server(), scene)


async def test_a_scan_takes_as_long_as_the_beam() -> None:
    """In real time a frame is complete when its dwell times are over, and not much later."""

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        begin = time.monotonic()
        assert client.scan(5, 128, 128, dwell_ns=20_000) == 0
        client.fetch([0], 128 * 128)
        assert 0.3 < time.monotonic() - begin < 1.5

    await play(server(time_scale=1.0), scene)


async def test_a_continual_scan_starts_again_at_index_zero_until_it_is_stopped() -> None:
    """Frames follow one another with one id; after the stop condition A is down and a new scan starts."""

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        assert client.scan(11, 64, 64, frames=0) == 0
        frames = [client.fetch([0], 64 * 64)[0] for _ in range(5)]
        assert len(set(frames)) == 5
        assert {piece[0] for piece in client.pieces} == {11}
        assert client.whole("IsBusy", SCAN) == 1
        client.send("ScStopScan")
        assert client.whole("IsBusy", SCAN) == 0
        assert client.scan(12, 64, 64) == 0
        while client.piece()[0] != 12:
            pass

    await play(server(), scene)


async def test_a_stop_lets_at_most_the_piece_under_way_arrive() -> None:
    """Between the answer after ScStopScan and the next scan's first piece comes no more than one piece."""

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        assert client.scan(21, 512, 512, dwell_ns=10_000) == 0
        client.piece()
        client.send("ScStopScan")
        client.number("GetWD")
        assert client.scan(22, 64, 64) == 0
        while client.piece()[0] == 21:
            pass
        old = [piece for piece in client.pieces if piece[0] == 21]
        assert sum(len(piece[4]) for piece in old) < 512 * 512 / 10

    await play(server(time_scale=1.0), scene)


async def test_a_line_is_sampled_from_end_to_end() -> None:
    """The diagonal of the window, as many pixels as asked for."""
    rig = server(options=QUIET)
    expected = rig.column.render(ScanRequest(64, 64, 1.0)).diagonal()

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        assert client.whole("ScScanLine", 0, 64, 64, 0, 0, 63, 63, 1000, 64, 1) == 0
        assert client.fetch([0], 64) == [expected.tobytes()]
        assert client.whole("ScScanLine", 0, 64, 64, 63, 10, 0, 10, 1000, 500, 1) == 0
        assert len(client.fetch([0], 500)[0]) == 500

    await play(rig, scene)


async def test_impossible_scans_are_refused() -> None:
    """Edges outside the window, edges crossed, and windows without end give a negative number."""

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        for window in (
            (100, 100, 0, 0, 100, 99),
            (100, 100, 50, 0, 40, 99),
            (0, 0, 0, 0, 0, 0),
            (2**32 - 1, 2**32 - 1, 0, 0, 2**32 - 2, 2**32 - 2),
        ):
            assert client.whole("ScScanXY", 1, *window, 1, 1000) == -1
        assert client.whole("ScScanXY", 1, 64, 64, 0, 0, 63, 63, -1, 1000) == -1
        assert client.whole("ScScanLine", 0, 64, 64, 0, 0, 64, 0, 1000, 64, 1) == -1
        assert client.whole("ScScanLine", 0, 64, 64, 0, 0, 63, 0, 1000, 0, 1) == -1
        assert client.whole("IsBusy", SCAN) == 0

    await play(server(), scene)


async def test_only_the_session_that_scans_gets_the_pixels() -> None:
    """A second scan is refused meanwhile, and a bystander's data connection stays silent."""

    def scene(client: PlainClient) -> None:
        with PlainClient(client.port) as other:
            client.send("DtEnable", 0, 1)
            other.send("DtEnable", 0, 1)
            assert client.scan(1, 256, 256, dwell_ns=2000) == 0
            assert other.scan(2, 64, 64) == -1
            other.wait_conditions = A
            assert other.scan(3, 64, 64) == 0
            other.fetch([0], 64 * 64)
            assert {piece[0] for piece in other.pieces} == {3}
            client.fetch([0], 256 * 256)
            assert {piece[0] for piece in client.pieces} == {1}

    await play(server(time_scale=1.0), scene)


async def test_another_session_can_stop_a_scan() -> None:
    """There is one scan generator, and ScStopScan stops it."""

    def scene(client: PlainClient) -> None:
        with PlainClient(client.port) as other:
            client.send("DtEnable", 0, 1)
            assert client.scan(1, 64, 64, frames=0) == 0
            other.send("ScStopScan")
            assert other.whole("IsBusy", SCAN) == 0

    await play(server(time_scale=1.0), scene)


async def test_a_scan_ends_with_the_control_connection() -> None:
    """The scan generator is free as soon as its client is gone."""

    def scene(client: PlainClient) -> None:
        with PlainClient(client.port) as other:
            other.send("DtEnable", 0, 1)
            assert other.scan(1, 64, 64, frames=0) == 0
            other.control.close()
            client.wait_conditions = A
            assert client.whole("IsBusy", SCAN) == 0

    await play(server(time_scale=1.0), scene)


async def test_the_live_window_keeps_clients_from_scanning() -> None:
    """While the GUI scans a client is refused; once it is told to stop, the next scan waits for its end."""

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        client.send("GUISetScanning", 1)
        assert client.whole("GUIGetScanning") == 1
        assert client.whole("IsBusy", SCAN) == 1
        assert client.scan(1, 64, 64) == -1
        client.send("GUISetScanning", 0)
        assert client.whole("GUIGetScanning") == 0
        assert client.scan(2, 64, 64) == 0
        client.fetch([0], 64 * 64)
        client.send("GUISetScanning", 2)
        assert client.whole("GUIGetScanning") == 1
        wait_for(lambda: client.whole("GUIGetScanning") == 0)

    await play(server(time_scale=4.0), scene)


async def test_the_live_window_does_not_start_during_a_scan() -> None:
    """A running scan of a client is not disturbed."""

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        assert client.scan(1, 64, 64, frames=0) == 0
        client.send("GUISetScanning", 1)
        assert client.whole("GUIGetScanning") == 0
        client.send("ScStopScan")
        client.send("GUISetScanning", 1)
        assert client.whole("GUIGetScanning") == 1

    await play(server(), scene)


async def test_nothing_scans_during_an_automatic_procedure() -> None:
    """A scan is refused while the microscope focuses, and the other way round."""

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        client.send("AutoWD", 0)
        assert client.scan(1, 64, 64) == -1
        client.wait_conditions = 8
        assert client.scan(2, 64, 64, frames=0) == 0
        client.wait_conditions = 0
        client.send("AutoWD", 0)
        assert client.whole("IsBusy", PROCEDURE) == 0

    await play(server(time_scale=60.0), scene)


@pytest.mark.parametrize("command", [("HVBeamOff",), ("ScSetBlanker", 0, 1)])
async def test_without_a_beam_frames_are_black(command: tuple[str, int]) -> None:
    """The beam off or blanked leaves the detector's noise."""

    def scene(client: PlainClient) -> None:
        name, *arguments = command
        client.send("DtEnable", 0, 1)
        client.send(name, *arguments)
        assert client.scan(1, 64, 64) == 0
        [frame] = client.fetch([0], 64 * 64)
        assert sum(frame) / len(frame) < 2

    await play(server(), scene)


async def test_the_lens_moves_the_focus_of_the_frames_to_come() -> None:
    """A continual scan shows a working distance set while it runs."""

    def sharpness(frame: bytes) -> float:
        pixels = np.frombuffer(frame, np.uint8).reshape(64, 64).astype(float)
        return float(np.var(np.diff(pixels, axis=1)))

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        assert client.scan(1, 64, 64, frames=0) == 0
        sharp = sharpness(client.fetch([0], 64 * 64)[0])
        client.send("SetWD", 9.5)
        client.number("GetWD")
        wait_for(lambda: sharpness(client.fetch([0], 64 * 64)[0]) < sharp / 4)

    await play(server(options=ColumnOptions(shot_noise=False, readout_noise_grey=0.0)), scene)


async def test_the_sessions_look_up_table_is_applied() -> None:
    """Source 2 spreads the grey levels; source 0 leaves them alone."""
    rig = server(options=QUIET)
    expected = rig.column.render(ScanRequest(64, 64, 1.0)).astype(float)

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        client.send("ScLUTParSet", 0, 0.25, 0.75, 1.0)
        for source, picture in ((2, np.clip(expected * 2 - 127.5, 0, 255)), (0, expected)):
            client.send("ScLUTSrcSet", source)
            assert client.scan(1, 64, 64) == 0
            [frame] = client.fetch([0], 64 * 64)
            assert np.abs(np.frombuffer(frame, np.uint8).reshape(64, 64) - picture).max() <= 1
            client.send("ScStopScan")

    await play(rig, scene)


async def test_a_scan_with_nothing_to_send_still_runs_and_ends() -> None:
    """No enabled channel, or no data connection: condition A rises and falls all the same."""
    rig = server(time_scale=10.0)

    def scene(client: PlainClient) -> None:
        with PlainClient(client.port, data=False) as blind:
            blind.send("DtEnable", 0, 1)
            for one in (client, blind):
                assert one.scan(1, 256, 256, dwell_ns=30_000) == 0
                assert one.whole("IsBusy", SCAN) == 1
                one.wait_conditions = A
                assert one.whole("IsBusy", SCAN) == 0
                one.wait_conditions = 0

    await play(rig, scene)


async def test_a_client_that_does_not_read_its_images_is_cut_off() -> None:
    """Its connections go, its scan ends, and others are served on."""
    rig = server(read_timeout_s=0.2)

    def scene(client: PlainClient) -> None:
        with PlainClient(client.port, receive_buffer=4096) as sleeper:
            sleeper.send("DtEnable", 0, 1, 16)
            assert sleeper.scan(1, 1024, 1024, frames=0) == 0
            assert is_closed(sleeper.control)
        client.wait_conditions = A
        assert client.whole("IsBusy", SCAN) == 0

    await play(rig, scene)


async def test_a_client_that_reads_slowly_is_kept() -> None:
    """However long the buffer stays full, some reading now and then is enough."""
    rig = server(read_timeout_s=0.5)

    def scene(client: PlainClient) -> None:
        with PlainClient(client.port, receive_buffer=65_536) as slow:
            assert slow.data is not None
            slow.send("DtEnable", 0, 1, 16)
            assert slow.scan(1, 1024, 1024, frames=0) == 0
            end = time.monotonic() + 2.0
            while time.monotonic() < end:
                assert slow.data.recv(20_000)
                time.sleep(0.02)
            assert slow.whole("IsBusy", SCAN) == 1

    await play(rig, scene)


async def test_scanning_does_not_stall_the_server() -> None:
    """While large frames are rendered another client gets its answers quickly."""
    rig = server()

    def scene(client: PlainClient) -> None:
        with PlainClient(client.port) as busy:
            busy.send("DtEnable", 0, 1)
            assert busy.scan(1, 1500, 1500) == 0
            longest = 0.0
            while client.whole("IsBusy", SCAN):
                begin = time.monotonic()
                client.number("GetWD")
                longest = max(longest, time.monotonic() - begin)
                if busy.data is not None and len(busy.pieces) < 40:
                    busy.piece()
            assert longest < 0.5

    await asyncio.wait_for(play(rig, scene), 20)
