"""What bridge messages say: read strictly, written in one way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.errors import RemoteProtocolError
from focusd.frame import ScanRegion, ScanRequest, StagePosition
from focusd.protocol.bridge_values import (
    ColumnState,
    Hello,
    ImageInfo,
    parse_hello,
    parse_image,
    parse_scan,
    parse_state,
    scan_params,
    working_distance,
)

STATE = ColumnState(
    working_distance_mm=9.001,
    field_of_view_um=64.0,
    dwell_time_us=1.5,
    detector="SE",
    accelerating_voltage_kv=5.0,
    probe_current_pa=120.0,
    beam_on=True,
    stage_position=StagePosition(1.0, 2.0, 3.0, 4.0, None),
)
IMAGE = ImageInfo((64, 128), "uint16", 100.0, 100.5, STATE, "17")
HELLO = Hello((4.0, 30.0), "ACME", "Eye 1", "007", "3.1", frozenset({"ping", "subscribe"}))


def over_the_wire(value: Any) -> Any:
    """Give a value as the other side reads it."""
    return json.loads(json.dumps(value))


def test_what_is_written_reads_back() -> None:
    """Hello, state, image and scans survive the wire."""
    request = ScanRequest(128, 64, 1.5, 16, ScanRegion(1, 2, 100, 50))

    assert parse_hello(over_the_wire(HELLO.as_json())) == HELLO
    assert parse_state(over_the_wire(STATE.as_json())) == STATE
    assert parse_image(over_the_wire(IMAGE.as_json()), IMAGE.payload_bytes) == IMAGE
    assert parse_scan(over_the_wire(scan_params(request))) == (request, 1)
    assert IMAGE.payload_bytes == 64 * 128 * 2


def test_the_keys_are_the_documented_ones() -> None:
    """Bridges in other languages are written against these names."""
    assert scan_params(ScanRequest(128, 64, 1.5, region=ScanRegion(1, 2, 3, 4))) == {
        "width": 128,
        "height": 64,
        "dwell_time_us": 1.5,
        "bits_per_pixel": 8,
        "region": {"x": 1, "y": 2, "width": 3, "height": 4},
    }
    assert STATE.as_json() == {
        "working_distance_mm": 9.001,
        "field_of_view_um": 64.0,
        "dwell_time_us": 1.5,
        "detector": "SE",
        "accelerating_voltage_kv": 5.0,
        "probe_current_pa": 120.0,
        "beam_on": True,
        "stage_position": {"x_mm": 1.0, "y_mm": 2.0, "z_mm": 3.0, "rotation_deg": 4.0, "tilt_deg": None},
    }
    assert list(IMAGE.as_json()) == [
        "frame_id", "shape", "dtype", "started_at", "finished_at", "state", "payload_bytes",
    ]  # fmt: skip


def test_what_the_instrument_does_not_tell_is_none() -> None:
    """Missing and null are the same; whole numbers are numbers; unknown keys are ignored."""
    told = {"working_distance_mm": 9, "beam_on": None, "stage_position": {"x_mm": 1}, "vacuum": "good"}

    assert parse_state(told) == ColumnState(9.0, stage_position=StagePosition(1.0))
    assert parse_hello({"protocol": 1, "limits": {"working_distance_mm": [4, 30]}}) == Hello((4.0, 30.0))


def test_foreign_text_is_made_fit_for_a_log_line() -> None:
    """Control characters, lone surrogates and endless names go no further."""
    hello = parse_hello({**HELLO.as_json(), "model": " a\x1b[2J\n\ud800" + "x" * 1000})

    assert hello.model.startswith("a[2Jxxx")
    assert len(hello.model) <= 256


def test_frames_to_average_are_read() -> None:
    """One unless told otherwise."""
    params = scan_params(ScanRequest(64, 64, 1.0))

    assert parse_scan({**params, "frames": 4})[1] == 4
    assert parse_scan({**params, "frames": None})[1] == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"working_distance_mm": None}, "get_state: working_distance_mm must be a finite number, got None"),
        ({"working_distance_mm": "9.0"}, "working_distance_mm must be a finite number, got '9.0'"),
        ({"working_distance_mm": True}, "working_distance_mm must be a finite number, got True"),
        ({"working_distance_mm": float("inf")}, "working_distance_mm must be a finite number, got inf"),
        ({"working_distance_mm": 10**400}, "working_distance_mm must be a finite number, got 1000"),
        ({"field_of_view_um": 0}, "field_of_view_um must be above 0"),
        ({"field_of_view_um": -1}, "field_of_view_um must be above 0"),
        ({"dwell_time_us": [1]}, "dwell_time_us must be a finite number"),
        ({"detector": 3}, "detector must be text, got 3"),
        ({"beam_on": 1}, "beam_on must be true, false or null, got 1"),
        ({"stage_position": [1, 2]}, "get_state: stage_position: it must be an object"),
        ({"stage_position": {"x_mm": "1"}}, "stage_position: x_mm must be a finite number"),
    ],
)
def test_a_state_that_cannot_be_is_one_named_error(change: dict[str, Any], sentence: str) -> None:
    """Each names the key, what it must be, and what it was."""
    with pytest.raises(RemoteProtocolError, match=sentence):
        parse_state({**STATE.as_json(), **change})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"shape": [64]}, "scan: shape must be"),
        ({"shape": [64, 128, 1]}, "shape must be"),
        ({"shape": [64.0, 128]}, "shape must be"),
        ({"shape": [0, 128]}, "shape must be"),
        ({"shape": [True, 128]}, "shape must be"),
        ({"shape": "64x128"}, "shape must be"),
        ({"shape": [128, 128]}, "128 x 128 pixels of uint16 are 32768 bytes, 16384 are announced"),
        ({"dtype": "uint8"}, "64 x 128 pixels of uint8 are 8192 bytes, 16384 are announced"),
        ({"dtype": "float32"}, "dtype must be uint8 or uint16, got 'float32'"),
        ({"dtype": ["uint8"]}, "dtype must be uint8 or uint16"),
        ({"started_at": None}, "started_at must be a finite number"),
        ({"finished_at": "now"}, "finished_at must be a finite number"),
        ({"finished_at": 99.0}, "finished_at 99.000000 lies before started_at 100.000000"),
        ({"state": None}, "scan: state: it must be an object, got None"),
        ({"state": {}}, "scan: state: working_distance_mm must be a finite number"),
    ],
)
def test_an_image_that_cannot_be_is_one_named_error(change: dict[str, Any], sentence: str) -> None:
    """Shape, dtype and size must agree before a pixel is looked at."""
    with pytest.raises(RemoteProtocolError, match=sentence):
        parse_image({**IMAGE.as_json(), **change}, IMAGE.payload_bytes)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"protocol": None}, "hello: protocol must be a whole number"),
        ({"limits": None}, "hello: limits: it must be an object"),
        ({"limits": {}}, r"limits: working_distance_mm must be \[low, high\]"),
        ({"limits": {"working_distance_mm": [30, 4]}}, "with low below high"),
        ({"limits": {"working_distance_mm": [4, float("nan")]}}, "with low below high"),
        ({"limits": {"working_distance_mm": [4, 30, 50]}}, "with low below high"),
        ({"capabilities": "ping"}, "capabilities must be a list"),
        ({"capabilities": ["x"] * 65}, "capabilities must be a list of at most 64 names"),
        ({"capabilities": [1]}, "capabilities must be a list"),
        ({"vendor": 1}, "vendor must be text"),
    ],
)
def test_a_hello_that_cannot_be_is_one_named_error(change: dict[str, Any], sentence: str) -> None:
    """Without limits nothing may be moved."""
    with pytest.raises(RemoteProtocolError, match=sentence):
        parse_hello({**HELLO.as_json(), **change})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"width": 0}, "scan: width must be a whole number from 1, got 0"),
        ({"height": 64.5}, "height must be a whole number"),
        ({"dwell_time_us": 0}, "dwell_time_us must be above 0"),
        ({"dwell_time_us": None}, "dwell_time_us must be a finite number"),
        ({"frames": 0}, "frames must be a whole number from 1"),
        ({"region": {"x": 0, "y": 0, "width": 129, "height": 4}}, "region must lie inside the scan"),
        ({"region": {"x": -1, "y": 0, "width": 4, "height": 4}}, "region: x must be a whole number from 0"),
        ({"region": {"x": 0, "y": 0, "width": 4}}, "region: height must be a whole number from 1, got None"),
    ],
)
def test_a_scan_that_cannot_be_is_one_named_error(change: dict[str, Any], sentence: str) -> None:
    """A bridge refuses it by name."""
    with pytest.raises(RemoteProtocolError, match=sentence):
        parse_scan({**scan_params(ScanRequest(128, 64, 1.5)), **change})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["working_distance_mm", "limits", "shape", "dtype", "state", "x_mm", "stage_position"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(anything)
def test_any_value_is_read_or_refused(value: object) -> None:
    """Nothing but the named error comes out of a value that another program made up."""
    for read in (
        parse_hello,
        parse_state,
        parse_scan,
        lambda value: parse_image(value, 100),
        lambda value: working_distance(value, "set_working_distance"),
    ):
        complaint = ""
        try:
            read(value)
        except RemoteProtocolError as error:
            complaint = str(error)
        assert complaint.isprintable()
