"""Whole TIFF files as another program writes them: pixels and headers, which its own reader confirms."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from focusd.errors import ImageError
from focusd.frame import StagePosition
from focusd.imagefile.decode import decode_image
from focusd.imagefile.metadata import ImageMetadata
from tests.unit.imagefile.headers import (
    TESCAN,
    TESCAN_METADATA,
    THERMO,
    THERMO_METADATA,
    ZEISS,
    ZEISS_METADATA,
)

tifffile = pytest.importorskip("tifffile", reason="tifffile, the other program, is not installed")

GREY8 = np.random.default_rng(5).integers(0, 256, (96, 128), dtype=np.uint8)
GREY16 = np.random.default_rng(6).integers(0, 65_536, (96, 128), dtype=np.uint16)
ASCII, BYTE = 2, 1


def written(pixels: NDArray[Any], **options: Any) -> bytes:
    """Let tifffile write a file."""
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "options", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"bigtiff": True, "byteorder": ">"}]
)
@pytest.mark.parametrize(
    ("tag", "kind", "header", "expected"),
    [
        (34118, ASCII, ZEISS, ZEISS_METADATA),
        (34680, ASCII, THERMO, THERMO_METADATA),
        (34682, ASCII, THERMO, THERMO_METADATA),
        (50431, BYTE, TESCAN, TESCAN_METADATA),
    ],
    ids=["ZEISS", "FEI SFEG", "FEI Helios", "TESCAN"],
)
def test_the_header_of_a_microscope_is_read(
    tag: int, kind: int, header: bytes, expected: ImageMetadata, options: dict[str, Any]
) -> None:
    """From TIFF and BigTIFF of either byte order."""
    content = header + b"\0" if kind == ASCII else header
    data = written(GREY8, extratags=[(tag, kind, len(content), content, True)], **options)

    decoded = decode_image(data)

    assert decoded.metadata == expected
    np.testing.assert_array_equal(decoded.pixels, GREY8)


def test_an_ome_tiff_is_read() -> None:
    """Pixel size and position of the stage."""
    data = written(
        GREY16,
        ome=True,
        metadata={
            "PhysicalSizeX": 12.5,
            "PhysicalSizeXUnit": "nm",
            "Plane": {"PositionX": [1250.0], "PositionXUnit": ["µm"]},
        },
    )

    decoded = decode_image(data)

    assert decoded.metadata.pixel_size_nm == 12.5
    assert decoded.metadata.stage_position == StagePosition(x_mm=1.25)
    np.testing.assert_array_equal(decoded.pixels, GREY16)


def test_the_resolution_is_no_pixel_size() -> None:
    """Programs write 72 dpi and the like."""
    data = written(GREY8, resolution=(1e6, 1e6), resolutionunit="CENTIMETER", description="Detector=SE")

    assert decode_image(data).metadata == ImageMetadata()


def test_it_agrees_with_tifffile() -> None:
    """An independent reader finds the same numbers in the same headers."""
    zeiss = written(GREY8, extratags=[(34118, ASCII, len(ZEISS) + 1, ZEISS + b"\0", True)])
    thermo = written(GREY8, extratags=[(34682, ASCII, len(THERMO) + 1, THERMO + b"\0", True)])

    with tifffile.TiffFile(io.BytesIO(zeiss)) as file:
        sem = file.sem_metadata
    with tifffile.TiffFile(io.BytesIO(thermo)) as file:
        fei = file.fei_metadata

    assert sem["ap_wd"][1:] == (decode_image(zeiss).metadata.working_distance_mm, "mm")
    assert sem["ap_stage_at_t"][1:] == (
        ZEISS_METADATA.stage_position and ZEISS_METADATA.stage_position.tilt_deg,
        "°",
    )
    assert fei["EBeam"]["WD"] * 1e3 == pytest.approx(decode_image(thermo).metadata.working_distance_mm)
    assert fei["Scan"]["PixelWidth"] * 1e9 == pytest.approx(decode_image(thermo).metadata.pixel_size_nm)


@pytest.mark.parametrize("pixels", [GREY8, GREY16], ids=["uint8", "uint16"])
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"rowsperstrip": 7},
        {"tile": (64, 64)},
        {"compression": "zlib", "rowsperstrip": 7},
        {"compression": "zlib", "predictor": True},
        {"compression": "zlib", "tile": (32, 32), "byteorder": ">", "bigtiff": True},
    ],
    ids=str,
)
def test_every_layout_gives_the_same_pixels(pixels: NDArray[Any], layout: dict[str, Any]) -> None:
    """Strips or tiles, compressed or not, whichever byte order; tifffile itself is the judge."""
    decoded = decode_image(written(pixels, **layout)).pixels

    np.testing.assert_array_equal(decoded, pixels)
    assert decoded.dtype.isnative
    assert decoded.flags.c_contiguous


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("pixels", [GREY8, GREY16], ids=["uint8", "uint16"])
def test_white_is_zero_is_turned_round(pixels: NDArray[Any], compression: str | None) -> None:
    """Once, in 8 bit, which the decoder turns round by itself, and in 16, which it does not."""
    data = written(pixels, photometric="miniswhite", compression=compression)

    np.testing.assert_array_equal(decode_image(data).pixels, np.invert(pixels))


def test_a_grey_palette_gives_grey_levels() -> None:
    """SmartSEM writes 8 bit images so."""
    ramp = np.stack([np.arange(256, dtype=np.uint16) * 257] * 3)

    decoded = decode_image(written(GREY8, photometric="palette", colormap=ramp))

    np.testing.assert_array_equal(decoded.pixels, GREY8)


def test_colour_becomes_luminance() -> None:
    """With the weights of ITU-R BT.601."""
    rgb = np.random.default_rng(7).integers(0, 65_536, (96, 128, 3)).astype(np.uint16)

    decoded = decode_image(written(rgb, photometric="rgb"))

    luminance = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decoded.pixels - luminance).max() < 2.0


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        (np.stack([GREY16] * 3), {"photometric": "rgb", "planarconfig": "separate"}, "side by side"),
        (np.dstack([GREY16] * 2), {"photometric": "minisblack", "planarconfig": "contig"}, "got 2 x 16 bit"),
        (GREY16.view(np.int16), {}, "got 1 x int16"),
        (GREY16.astype(np.uint32), {}, "got 1 x uint32"),
        (GREY8 > 128, {}, "got 1 x uint1"),
    ],
    ids=["planes", "two samples", "int16", "uint32", "1 bit"],
)
def test_what_the_decoder_would_get_wrong_is_refused(
    pixels: NDArray[Any], options: dict[str, Any], message: str
) -> None:
    """Better no image than a wrong one."""
    with pytest.raises(ImageError, match=message):
        decode_image(written(pixels, **options))


def test_of_several_pages_the_first_counts() -> None:
    """And only the first is decoded."""
    data = written(np.stack([GREY8, np.invert(GREY8)]), photometric="minisblack")

    np.testing.assert_array_equal(decode_image(data).pixels, GREY8)
