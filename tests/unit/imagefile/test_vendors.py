"""Makers' headers: what is read, what is rather left out, and that no bytes break the reader."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.frame import StagePosition
from focusd.imagefile.metadata import ImageMetadata
from focusd.imagefile.vendors import read_tescan, read_thermo, read_zeiss
from tests.unit.imagefile.headers import (
    TESCAN,
    TESCAN_METADATA,
    THERMO,
    THERMO_METADATA,
    ZEISS,
    ZEISS_METADATA,
)

HEADERS = [
    pytest.param(read_zeiss, ZEISS, ZEISS_METADATA, id="ZEISS"),
    pytest.param(read_thermo, THERMO, THERMO_METADATA, id="Thermo"),
    pytest.param(read_tescan, TESCAN, TESCAN_METADATA, id="TESCAN"),
]
Reader = Callable[[bytes], ImageMetadata]


@pytest.mark.parametrize(("read", "header", "expected"), HEADERS)
def test_a_header_is_read_in_focusds_units(read: Reader, header: bytes, expected: ImageMetadata) -> None:
    """Every value, whichever unit the maker writes."""
    assert read(header) == expected


@pytest.mark.parametrize(("read", "header", "expected"), HEADERS)
def test_an_empty_header_tells_nothing(read: Reader, header: bytes, expected: ImageMetadata) -> None:
    """But whose it is."""
    assert read(b"") == ImageMetadata(source=expected.source)


@pytest.mark.parametrize(
    ("line", "nm"),
    [("10 nm", 10.0), ("10.00 nm", 10.0), ("0.0123 µm", 12.3), ("12.3 px", None), ("0 nm", None)],
)
def test_zeiss_units_are_read_with_the_value(line: str, nm: float | None) -> None:
    """They differ from file to file."""
    header = f"AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = {line}\r\n"

    assert read_zeiss(header.encode("utf-8")).pixel_size_nm == nm
    assert read_zeiss(header.encode("cp1252")).pixel_size_nm == nm


def test_thermo_reads_the_beam_that_took_the_image() -> None:
    """An image of the ion beam has another working distance and voltage."""
    metadata = read_thermo(THERMO.replace(b"Beam=EBeam", b"Beam=IBeam"))

    assert (metadata.working_distance_mm, metadata.accelerating_voltage_kv) == (16.5, 30.0)


def test_thermo_falls_back_to_what_older_files_have() -> None:
    """Working distance with the stage, angles with the beam."""
    metadata = read_thermo(
        b"[Stage]\nWorkingDistance=0.004\n[EBeam]\nStageTa=0\n[Beam]\nHV=2000\n[EScan]\nDwell=1e-6\n"
    )

    assert metadata.working_distance_mm == 4.0
    assert metadata.stage_position == StagePosition(tilt_deg=0.0)
    assert (metadata.accelerating_voltage_kv, metadata.dwell_time_us) == (2.0, 1.0)


def test_a_detectors_name_is_one_short_printable_line() -> None:
    """It ends up in logs, in addresses and on the dashboard."""
    detector = read_tescan(b"Detector=S\x1b[31mE\x07 " + 200 * b"x").detector

    assert detector is not None
    assert detector.startswith("S[31mE xxx")
    assert len(detector) == 64


@settings(deadline=None, max_examples=150)
@given(
    header=st.sampled_from([ZEISS, THERMO, TESCAN]),
    changes=st.dictionaries(st.integers(0, 900), st.binary(min_size=1, max_size=4), max_size=12),
    rest=st.binary(max_size=50),
)
def test_any_bytes_give_metadata(header: bytes, changes: dict[int, bytes], rest: bytes) -> None:
    """An image is judged by its pixels, whatever stands in its header."""
    data = bytearray(header)
    for place, new in changes.items():
        data[place : place + len(new)] = new

    for read in (read_zeiss, read_thermo, read_tescan):
        metadata = read(bytes(data) + rest)

        assert metadata.working_distance_mm is None or 0 < metadata.working_distance_mm < float("inf")
        assert metadata.detector is None or metadata.detector.isprintable()
