"""The SmartSEM bridge's contract with ZEISS's COM object, as far as a stand-in for it can tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from focusd_bridge import Bridge
from grey_tiff import read_grey_tiff

from focusd.cli.bridge.bench import CheckOptions
from focusd.protocol.bridge_rpc import ErrorCode
from tests.bridges.fake_smartsem import COLUMNS, FRAME_MS, ROWS, FakeComError, FakeSmartSEM, installed
from tests.bridges.lab import Caller, served
from tests.loopback.bench import DEPTH_OF_FIELD_UM, daemon, make_column
from tests.loopback.bridge_check_rig import failures, run

SCAN = {"width": COLUMNS, "height": ROWS, "dwell_time_us": 1.0}
MOVE = "set_working_distance"


@pytest.fixture
def sem() -> FakeSmartSEM:
    """Give the microscope behind the COM object."""
    return FakeSmartSEM(make_column("gold", working_distance_mm=9.0))


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch, sem: FakeSmartSEM, tmp_path: Path) -> Iterator[Bridge]:
    """Serve it, limited to 4 to 60 mm; SmartSEM itself goes to 50."""
    with installed(monkeypatch, sem) as module:
        instrument = module.SmartSEM((4.0, 60.0), tmp_path)
        instrument.poll_interval_s = 0.01
        with served(instrument) as bridge:
            yield bridge
            sem.hold.set()


async def test_the_rules_are_kept(bridge: Bridge, sem: FakeSmartSEM) -> None:
    """All but those that ask for images of another size than SmartSEM's image store has."""
    findings = await run(bridge.port, CheckOptions(beyond_limits=True, side_px=COLUMNS))

    size = {"scan", "region", "region-outside", "fresh", "averaging"}
    assert set(failures(findings)) == size
    assert all("the image store has 128 x 96" in reason for reason in failures(findings).values())
    assert len(sem.threads) == 1, "a COM object belongs to one thread"


async def test_focus_is_found_through_it(bridge: Bridge, sem: FakeSmartSEM, tmp_path: Path) -> None:
    """The daemon, four depths of field away, with the image store's size in its configuration."""
    sem.column.set_working_distance(9.008)
    scan: dict[str, object] = {"width": COLUMNS, "height": ROWS, "focus_region": "frame"}
    # Half as many pixels over the field: blur of one pixel takes twice the defocus.
    refocus: dict[str, object] = {"depth_of_field_um": 2 * DEPTH_OF_FIELD_UM}
    async with daemon(
        bridge.port, tmp_path, microscope={"driver": "bridge"}, scan=scan, refocus=refocus
    ) as client:
        await client.until(lambda status: status["column"] is not None)
        _, answer = await client.call("POST", "v1/scans")

    assert answer["refocus"]["result"] == "refocused", answer["refocus"]["reason"]
    assert abs(sem.column.true_defocus_um()) < 2 * DEPTH_OF_FIELD_UM


def test_units_are_converted_at_the_border(bridge: Bridge, sem: FakeSmartSEM) -> None:
    """Metres in single precision: a micrometre is a micrometre within some nanometres."""
    with Caller(bridge) as caller:
        limits = caller.ask("hello")["result"]["limits"]["working_distance_mm"]
        moved = caller.ask(MOVE, working_distance_mm=9.001)["result"]
        state = caller.ask("get_state")["result"]

    assert moved["working_distance_mm"] == pytest.approx(9.001, abs=5e-6)
    assert sem.column.working_distance_mm == pytest.approx(9.001, abs=5e-6)
    assert limits == pytest.approx([4.0, 50.0])
    assert state["field_of_view_um"] == pytest.approx(sem.column.field_of_view_mm * 1e3)
    assert state["dwell_time_us"] == pytest.approx(FRAME_MS * 1e3 / (COLUMNS * ROWS))
    assert state["detector"] == "InLens"


@pytest.mark.parametrize(
    ("call", "code", "told"),
    [
        ("Set AP_WD", 1007, ErrorCode.OUT_OF_RANGE),
        ("Set AP_WD", 1008, ErrorCode.OUT_OF_RANGE),
        ("Set AP_WD", 1006, ErrorCode.INSTRUMENT),
        ("Get AP_WD", 1001, ErrorCode.INSTRUMENT),
        ("Set AP_WD", 1032, ErrorCode.INSTRUMENT),
    ],
)
def test_return_codes_become_errors(
    bridge: Bridge, sem: FakeSmartSEM, call: str, code: int, told: ErrorCode
) -> None:
    """With their meaning in words."""
    sem.codes[call] = code
    with Caller(bridge) as caller:
        found, message = caller.error_of(MOVE, working_distance_mm=9.1)

    assert found == told
    assert message.startswith(call)
    assert f"({code})" in message


@pytest.mark.parametrize("failing", ["Execute CMD_FREEZE_ALL", "Grab"])
def test_the_image_is_live_again_whatever_happens(bridge: Bridge, sem: FakeSmartSEM, failing: str) -> None:
    """After a scan and after one that failed; an operator's frozen image stays frozen."""
    with Caller(bridge) as caller:
        caller.ask("scan", **SCAN)
        live = not sem.frozen
        sem.codes[failing] = 1016
        code, _ = caller.error_of("scan", **SCAN)
        live_after_failure = not sem.frozen
        sem.codes.clear()
        sem.frozen = True
        caller.ask("scan", **SCAN)

    assert live
    assert code == -32010
    assert live_after_failure
    assert sem.frozen


def test_a_frame_that_never_ends_is_not_waited_for_for_ever(bridge: Bridge, sem: FakeSmartSEM) -> None:
    """It is told busy, and the image is live again."""
    sem.endless = True
    bridge._instrument.scan_margin_s = 1.0
    with Caller(bridge) as caller:
        code, message = caller.error_of("scan", **SCAN)

    assert code == -32001
    assert "end of a frame" in message
    assert "Grab" not in sem.calls


def test_a_scan_rate_far_slower_than_focusd_waits_for_is_told(
    bridge: Bridge, sem: FakeSmartSEM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than a deadline that passes, with what has to be changed."""
    monkeypatch.setattr("tests.bridges.fake_smartsem.FRAME_MS", 60_000.0)
    with Caller(bridge) as caller:
        code, message = caller.error_of("scan", **SCAN)

    assert code == -32002
    assert "scan.dwell_time_us" in message
    assert not any(call.startswith("Execute") for call in sem.calls)


def test_a_region_is_cut_out_of_the_frame(bridge: Bridge, sem: FakeSmartSEM) -> None:
    """Pixel by pixel."""
    region = {"x": 33, "y": 21, "width": 41, "height": 31}
    with Caller(bridge) as caller:
        caller.send({"jsonrpc": "2.0", "id": 1, "method": "scan", "params": SCAN | {"region": region}})
        answer, pixels = caller.receive()

    assert answer["result"]["shape"] == [31, 41]
    assert pixels == sem.shown[21:52, 33:74].tobytes()


def test_software_that_hangs_never_gets_a_second_call(bridge: Bridge, sem: FakeSmartSEM) -> None:
    """The scan is an error, and so is all else until SmartSEM has come back."""
    sem.hold.clear()
    bridge._instrument.scan_margin_s = 0.3
    with Caller(bridge) as caller:
        hung, _ = caller.error_of("scan", **SCAN)
        calls = list(sem.calls)
        refused = caller.error_of(MOVE, working_distance_mm=9.1)

    assert hung == -32010
    assert "hangs in scan" in refused[1]
    assert sem.calls == calls


@pytest.mark.parametrize("lost", ["code", "com"])
def test_remoting_that_is_lost_is_initialised_again(bridge: Bridge, sem: FakeSmartSEM, lost: str) -> None:
    """By the return code of a SmartSEM that restarted, or by COM's own error."""
    with Caller(bridge) as caller:
        if lost == "code":
            sem.codes["Get AP_WD"] = 2028
        else:
            sem.errors["Get AP_WD"] = FakeComError("the RPC server is unavailable")
        caller.error_of("get_state")
        sem.codes.clear()
        sem.errors.clear()
        answer = caller.ask("get_state")

    assert "result" in answer
    assert sem.calls.count("InitialiseRemoting") == 2
    assert sem.calls.count("ClosingControl") == 1


def test_a_licence_that_is_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, sem: FakeSmartSEM, tmp_path: Path
) -> None:
    """No bridge comes of it."""
    sem.codes["InitialiseRemoting"] = 1025
    with installed(monkeypatch, sem) as module, pytest.raises(Exception, match="no licence"):
        Bridge(module.SmartSEM((4.0, 60.0), tmp_path), port=0).__enter__()


def test_the_owners_frames_are_watched_and_nothing_is_done_for_it(bridge: Bridge, sem: FakeSmartSEM) -> None:
    """A frozen frame is told once; a live image is left alone, and nothing is frozen or scanned for it."""
    with Caller(bridge) as caller:
        caller.ask("scan", **SCAN)
        caller.ask("subscribe")
        before = list(sem.calls)
        sem.shown = np.full((ROWS, COLUMNS), 77, np.uint8)
        sem.frozen = True
        frame, data = caller.receive()
        sem.shown = np.full((ROWS, COLUMNS), 78, np.uint8)
        second, _ = caller.receive()

    assert data == bytes([77]) * ROWS * COLUMNS
    assert frame["params"]["state"]["working_distance_mm"] == pytest.approx(9.0)
    assert second["params"]["frame_id"] == "2"
    assert set(sem.calls[len(before) :]) == {"Grab"}


# --- the file that Grab writes ---


@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2"])
@pytest.mark.parametrize("rows_a_strip", [7, 1000])
def test_grey_files_are_read_to_the_pixel(tmp_path: Path, kind: str, rows_a_strip: int) -> None:
    """In strips or in one piece, of either byte order."""
    pixels = np.arange(40 * 30).reshape(30, 40).astype(kind)
    path = tmp_path / "grab.tif"
    tifffile.imwrite(path, pixels, byteorder=">" if kind == ">u2" else "<", rowsperstrip=rows_a_strip)

    image = read_grey_tiff(path)

    assert (image.rows, image.columns, image.bits_per_pixel) == (30, 40, 8 * pixels.dtype.itemsize)
    assert image.pixels == pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()


def test_files_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    """Colour, cut off anywhere, something else: never an image that is not there."""
    path = tmp_path / "grab.tif"
    tifffile.imwrite(path, np.zeros((8, 8, 3), np.uint8))
    colour = path.read_bytes()
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8))
    whole = path.read_bytes()
    for data in (b"", b"BM", colour, *(whole[:length] for length in range(4, len(whole), 3))):
        path.write_bytes(data)
        with pytest.raises(Exception, match=r"grab\.tif"):
            read_grey_tiff(path)
