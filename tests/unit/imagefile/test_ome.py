"""OME-XML: what is read of it, and that hostile XML costs nothing."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.frame import StagePosition
from focusd.imagefile.metadata import ImageMetadata
from focusd.imagefile.ome import read_description, read_ome

HEAD = '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'


def ome(pixels: str = "", inside: str = "", date: str = "") -> str:
    """Write a document with one image."""
    return f"{HEAD}<Image>{date}<Pixels {pixels}>{inside}</Pixels></Image></OME>"


def test_pixel_size_position_and_time_are_read() -> None:
    """Each in focusd's own unit; of two planes and two images the first counts."""
    text = ome(
        'PhysicalSizeX="12.5" PhysicalSizeXUnit="nm"',
        '<TiffData/><Plane PositionX="1250" PositionXUnit="µm" PositionY="-2" PositionYUnit="mm"/>'
        '<Plane PositionX="9" PositionXUnit="mm"/>',
        "<AcquisitionDate>2026-01-22T21:48:36Z</AcquisitionDate>",
    ).replace("</OME>", '<Image><Pixels PhysicalSizeX="99"/></Image></OME>')

    assert read_ome(text) == ImageMetadata(
        source="OME",
        pixel_size_nm=12.5,
        stage_position=StagePosition(x_mm=1.25, y_mm=-2.0),
        acquired_at=datetime(2026, 1, 22, 21, 48, 36, tzinfo=UTC),
    )


def test_the_schemas_default_unit_is_used() -> None:
    """A size without a unit is in micrometres."""
    assert read_ome(ome('PhysicalSizeX="0.0125"')).pixel_size_nm == 12.5


def test_a_position_without_a_unit_is_none() -> None:
    """It is in the schema's "reference frame", which has no length."""
    assert read_ome(ome("", '<Plane PositionX="3"/>')).stage_position is None


@pytest.mark.parametrize("size", ["0", "-1", "NaN", "", "1e999", "x"])
def test_a_size_that_is_none_is_left_out(size: str) -> None:
    """Programs write 0 where they know nothing."""
    assert read_ome(ome(f'PhysicalSizeX="{size}"')).pixel_size_nm is None


BILLION_LAUGHS = (
    '<!DOCTYPE OME [<!ENTITY a "lol">'
    + "".join(f'<!ENTITY {b} "{10 * f"&{a};"}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True))
    + "]><OME><Image>&j;</Image></OME>"
)
BLOW_UP = f'<!DOCTYPE OME [<!ENTITY a "{100_000 * "x"}">]><OME>{10_000 * "&a;"}</OME>'
OUTSIDE = '<!DOCTYPE OME [<!ENTITY a SYSTEM "file:///etc/passwd">]><OME Pixels="&a;"/>'
PARAMETER = '<!DOCTYPE OME SYSTEM "http://localhost:9/x.dtd"><OME/>'


@pytest.mark.parametrize("text", [BILLION_LAUGHS, BLOW_UP, OUTSIDE, PARAMETER])
def test_entities_are_refused_before_they_are_expanded(text: str) -> None:
    """Whether they multiply or name a file; and it is told."""
    started = time.perf_counter()

    metadata = read_ome(text)

    assert metadata == ImageMetadata(
        source="OME", problems=("OME-XML with a document type declaration is not read",)
    )
    assert time.perf_counter() - started < 1.0


def test_depth_costs_nothing() -> None:
    """No tree is built, so no stack is used up by a million open elements."""
    metadata = read_ome("<OME>" + 500_000 * "<a>")

    assert "not well-formed" in metadata.problems[0]


def test_what_was_read_before_a_fault_is_kept() -> None:
    """A header cut short still tells the pixel size."""
    metadata = read_ome(f'{HEAD}<Image><Pixels PhysicalSizeX="1" PhysicalSizeXUnit="nm"><Channel')

    assert metadata.pixel_size_nm == 1.0
    assert "not well-formed" in metadata.problems[0]


def test_a_date_that_never_ends_is_cut() -> None:
    """Only as much is kept as a date has."""
    assert read_ome(ome(date=f"<AcquisitionDate>{1_000_000 * '2'}</AcquisitionDate>")).acquired_at is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD, True),
        ("\ufeff <OME>", True),
        ('{"shape": [4, 4]}', False),
        ("ImageJ=1.54f\n<OME>", False),
        ("", False),
    ],
)
def test_other_descriptions_are_not_taken_for_it(text: str, expected: bool) -> None:
    """Many programs write a description."""
    assert (read_description(text.encode()) is not None) is expected


@settings(deadline=None, max_examples=200)
@given(text=st.text(alphabet='<>/="&;!? OMEPixelsPlaneDOCTYPE[]µ\0', max_size=200))
def test_any_text_gives_metadata(text: str) -> None:
    """An image is judged by its pixels, whatever its description."""
    assert read_ome("<OME>" + text).source == "OME"
