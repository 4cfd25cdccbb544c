"""Images from bytes: hostile and broken files get a named error, and take neither memory nor time."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from focusd.errors import ImageError
from focusd.imagefile.decode import decode_image
from focusd.imagefile.files import read_image_file
from focusd.imagefile.metadata import ImageMetadata
from tests.real_images import needs_real_images, real_image_files
from tests.unit.imagefile.headers import TESCAN, TESCAN_METADATA, ZEISS, ZEISS_METADATA
from tests.unit.imagefile.tiff_bytes import ASCII, BYTE, LONG, LONG8, SHORT, Order, Values, tiff

GREY8 = np.random.default_rng(7).integers(0, 256, (70, 90), dtype=np.uint8)
GREY16 = np.random.default_rng(8).integers(0, 65_536, (70, 90), dtype=np.uint16)


def encoded(suffix: str, image: object = GREY8, *options: int) -> bytes:
    """Let OpenCV write a file."""
    return cv2.imencode(suffix, np.asarray(image), list(options))[1].tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Write one chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows: int, columns: int, *chunks: bytes) -> bytes:
    """Write a grey PNG of 8 bit that claims a size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize(
    ("data", "name"),
    [
        (encoded(".png"), "PNG"),
        (encoded(".bmp"), "BMP"),
        (tiff(GREY8), "TIFF"),
        (tiff(GREY8, order=">", big=True), "TIFF"),
    ],
    ids=["PNG", "BMP", "TIFF", "BigTIFF"],
)
def test_content_tells_the_format(kind: Callable[[bytes], bytes], data: bytes, name: str) -> None:
    """From any buffer; nothing else is needed."""
    decoded = decode_image(kind(data))

    assert decoded.format == name
    assert decoded.metadata == ImageMetadata()
    np.testing.assert_array_equal(decoded.pixels, GREY8)


def test_the_oldest_bmp_header_is_read() -> None:
    """Twelve bytes, of OS/2."""
    rows, columns = 64, 80
    header = struct.pack("<IHHHH", 12, columns, rows, 1, 8) + bytes(
        byte for grey in range(256) for byte in [grey] * 3
    )
    pixels = GREY8[:rows, :columns]
    body = np.flipud(pixels).tobytes()
    data = struct.pack("<2sIHHI", b"BM", 14 + len(header) + len(body), 0, 0, 14 + len(header)) + header + body

    np.testing.assert_array_equal(decode_image(data).pixels, pixels)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("rows_per_strip", [None, 1, 9])
def test_sixteen_bits_keep_their_value(order: Order, big: bool, rows_per_strip: int | None) -> None:
    """Whichever byte order; scored in the wrong one, noise would pass for structure."""
    pixels = decode_image(tiff(GREY16, order=order, big=big, rows_per_strip=rows_per_strip)).pixels

    np.testing.assert_array_equal(pixels, GREY16)
    assert pixels.dtype.isnative
    assert pixels.flags.c_contiguous
    assert not pixels.flags.writeable


@pytest.mark.parametrize("rows_per_strip", [None, 9])
def test_what_needs_no_decoding_is_not_copied(rows_per_strip: int | None) -> None:
    """The usual file of a microscope: uncompressed grey."""
    data = tiff(GREY8, rows_per_strip=rows_per_strip)

    assert np.shares_memory(decode_image(data).pixels, np.frombuffer(data, np.uint8))


def test_strips_may_stand_in_any_order() -> None:
    """Then the decoder puts them together."""
    halves = [GREY16[:35], GREY16[35:]]
    swapped = tiff(
        np.vstack(halves[::-1]),
        rows_per_strip=35,
        changes={273: (LONG, [8 + halves[0].nbytes, 8])},
    )

    np.testing.assert_array_equal(decode_image(swapped).pixels, GREY16)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(1, GREY16), (3, np.rot90(GREY16, 2)), (4, np.flipud(GREY16)), (6, np.rot90(GREY16, -1))],
)
def test_an_image_that_lies_is_stood_up(orientation: int, turned: NDArray[np.uint16]) -> None:
    """As its orientation tag says."""
    decoded = decode_image(tiff(GREY16, changes={274: (SHORT, [orientation])}))

    np.testing.assert_array_equal(decoded.pixels, turned)


@pytest.mark.parametrize("compression", [1, 5, 32946, 32773], ids=["none", "LZW", "deflate", "PackBits"])
def test_lossless_compressions_are_read(compression: int) -> None:
    """As programs on microscopes' computers write them."""
    data = encoded(".tif", GREY16, cv2.IMWRITE_TIFF_COMPRESSION, compression)

    np.testing.assert_array_equal(decode_image(data).pixels, GREY16)


BROKEN_TIFFS: list[tuple[dict[int, tuple[int, Values] | None], str]] = [
    ({256: (LONG, [2_000_000_000])}, "between 64 and 32768 px, got .70, 2000000000."),
    ({257: (LONG, [0])}, "between 64 and 32768 px"),
    ({256: (LONG, [30_000]), 257: (LONG, [30_000])}, "no image of use is so small"),
    ({256: None}, r"tag 256 \(columns\) is missing"),
    ({257: (ASCII, b"seventy\0")}, r"tag 257 \(rows\) holds no whole numbers"),
    ({258: (SHORT, [12])}, "8 or 16 bit, got 1 x uint12"),
    ({258: None}, "got 1 x uint1"),
    ({339: (SHORT, [2])}, "got 1 x int8"),
    ({258: (SHORT, [32]), 339: (SHORT, [3])}, "got 1 x float32"),
    ({277: (SHORT, [2]), 258: (SHORT, [8, 8])}, "must be grey"),
    ({277: (SHORT, [65_535])}, "must be grey"),
    ({262: (SHORT, [5])}, "photometric interpretation 5"),
    ({259: (SHORT, [7])}, "must be compressed by none, LZW, deflate, PackBits, got compression 7"),
    ({273: None}, "has 1 strips, got 0"),
    ({278: (LONG, [1])}, "has 70 strips, got 1"),
    ({278: (LONG, [0])}, "have no rows"),
    ({279: (LONG, [10])}, "hold fewer bytes than their pixels take"),
    ({257: (LONG, [71]), 278: (LONG, [71])}, "hold fewer bytes"),
    ({273: (LONG, [1000]), 279: (LONG, [2**32 - 1])}, "incomplete TIFF: strips lie beyond"),
    ({273: (LONG8, [2**64 - 1])}, "incomplete TIFF: strips lie beyond"),
    ({259: (SHORT, [8]), 279: (LONG8, [2**63])}, "incomplete TIFF: strips lie beyond"),
    ({278: (LONG, [1]), 273: (LONG, [8] * 70), 279: (LONG, [6300] * 70), 259: (SHORT, [8])}, "share bytes"),
    ({322: (LONG, [2**20]), 323: (LONG, [2**20])}, "multiple of 16 px, at most 4096"),
    ({322: (LONG, [0]), 323: (LONG, [16])}, "multiple of 16 px"),
    ({322: (LONG, [1]), 323: (LONG, [1])}, r"multiple of 16 px, at most 4096, got \(1, 1\)"),
    ({322: (LONG, [64]), 323: (LONG, [64])}, "has 4 tiles, got 0"),
]


@pytest.mark.parametrize("big", [False, True], ids=["TIFF", "BigTIFF"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize(("changes", "message"), BROKEN_TIFFS)
def test_a_broken_tiff_is_refused_before_it_is_decoded(
    changes: dict[int, tuple[int, Values] | None], message: str, order: Order, big: bool
) -> None:
    """The message names what is wrong."""
    with pytest.raises(ImageError, match=message):
        decode_image(tiff(GREY8, order=order, big=big, changes=changes))


@pytest.mark.parametrize("big", [False, True], ids=["TIFF", "BigTIFF"])
@pytest.mark.parametrize("rows_per_strip", [None, 9])
def test_no_part_of_a_tiff_is_taken_for_the_whole(big: bool, rows_per_strip: int | None) -> None:
    """Wherever it is cut, whether directory or pixels come first."""
    data = tiff(GREY8, big=big, rows_per_strip=rows_per_strip)

    for length in [*range(4, 64), *range(64, len(data) - 8, 97)]:
        with pytest.raises(ImageError, match="TIFF"):
            decode_image(data[:length])


def test_a_directory_of_thousands_is_not_walked() -> None:
    """An eight-byte count may claim 2**64 entries."""
    data = bytearray(tiff(GREY8, big=True))
    directory = struct.unpack_from("<Q", data, 8)[0]
    struct.pack_into("<Q", data, directory, 2**64 - 1)

    with pytest.raises(ImageError, match="has 18446744073709551615 entries, at most 1000 are read"):
        decode_image(data)


def test_a_header_beyond_the_end_of_the_file_is_told_of() -> None:
    """The pixels are there, so the image is judged all the same."""
    data = bytearray(tiff(GREY8, changes={34118: (ASCII, ZEISS)}))
    where = data.index(struct.pack("<HHI", 34118, ASCII, len(ZEISS)))
    struct.pack_into("<I", data, where + 4, 3_000_000)

    decoded = decode_image(data)

    np.testing.assert_array_equal(decoded.pixels, GREY8)
    assert decoded.metadata.problems == ("TIFF tag 34118 (text) lies beyond the end of the file",)


def test_an_endless_header_is_told_of() -> None:
    """It is not read; what another header says still is."""
    data = tiff(GREY8, changes={34118: (ASCII, bytes(5_000_000)), 50431: (BYTE, TESCAN)})

    assert decode_image(data).metadata == replace(
        TESCAN_METADATA, problems=("TIFF tag 34118 has 5000000 bytes, at most 4194304 are read",)
    )


def test_a_header_is_read_without_another_program() -> None:
    """Beside the pixels of an image of either depth."""
    assert decode_image(tiff(GREY16, order=">", changes={34118: (ASCII, ZEISS)})).metadata == ZEISS_METADATA


def test_the_caller_sets_the_memory() -> None:
    """Colour counts with all its samples."""
    colour = encoded(".png", np.dstack([GREY8] * 3))

    assert decode_image(colour, max_decoded_bytes=4 * GREY8.size).pixels.shape == GREY8.shape
    with pytest.raises(ImageError, match="holds 0 MiB of pixels, at most 0 MiB are decoded"):
        decode_image(colour, max_decoded_bytes=3 * GREY8.size - 1)


def jpeg_of(rows: int, columns: int, precision: int = 8) -> bytes:
    """Give a JPEG another size in its header."""
    data = bytearray(encoded(".jpg"))
    frame = data.index(b"\xff\xc0")
    struct.pack_into(">BHH", data, frame + 4, precision, rows, columns)
    return bytes(data)


def bmp_of(rows: int, columns: int) -> bytes:
    """Give a BMP another size in its header."""
    data = bytearray(encoded(".bmp"))
    struct.pack_into("<ii", data, 18, columns, rows)
    return bytes(data)


LIES = {
    "PNG, huge": (png(100_000, 100_000), r"between 64 and 32768 px, got \(100000, 100000\)"),
    "PNG, bomb": (png(32_768, 32_768, chunk(b"IDAT", zlib.compress(bytes(1000)))), "no image of use"),
    "PNG, 2 GiB": (encoded(".png")[:33] + b"\x7f\xff\xff\xffIDAT" + bytes(100), "damaged or incomplete PNG"),
    "PNG, 2 GiB behind the end": (png(70, 90) + b"\x7f\xff\xff\xffIDAT" + bytes(100), "damaged"),
    "PNG, wrong checksum": (encoded(".png")[:-20] + bytes(20), "damaged or incomplete PNG"),
    "PNG, no header": (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "damaged or incomplete PNG"),
    "PNG, animated": (png(70, 90, chunk(b"acTL", bytes(8))), "animated PNG"),
    "JPEG, huge": (jpeg_of(65_535, 65_535), r"got \(65535, 65535\)"),
    "JPEG, bomb": (jpeg_of(32_000, 32_000), "no image of use"),
    "JPEG, no rows": (jpeg_of(0, 90), r"got \(0, 90\)"),
    "JPEG, 12 bit": (jpeg_of(70, 90, precision=12), "JPEG of 12 bit"),
    "JPEG, scans": (encoded(".jpg")[:-2] + 100_000 * b"\xff\xda\0\x08\1\1\0\0\x3f\0", "more than 32 scans"),
    "JPEG, no end of markers": (b"\xff\xd8\xff" + 1_000_000 * b"\xff", "damaged or incomplete JPEG"),
    "BMP, huge": (bmp_of(2**31 - 1, 2**31 - 1), r"got \(2147483647, 2147483647\)"),
    "BMP, bomb": (bmp_of(-20_000, 20_000), "no image of use"),
    "BMP, short": (b"BM" + bytes(20), "damaged or incomplete BMP"),
    "TIFF, bomb": (tiff(GREY8, changes={256: (LONG, [32_768]), 257: (LONG, [32_768])}), "no image of use"),
    "TIFF, ten million samples": (
        tiff(GREY8, changes={277: (SHORT, 10_000_000 * b"\1\0")}),
        r"tag 277 \(samples per pixel\) has more than one value",
    ),
    "TIFF, millions of tiles": (
        tiff(
            np.zeros((2048, 2048), np.uint8),
            changes={256: (LONG, [32_000]), 257: (LONG, [32_000]), 322: (LONG, [16]), 323: (LONG, [16])},
        ),
        "has 4000000 tiles, got 0",
    ),
}


@pytest.mark.parametrize(("lie", "message"), LIES.values(), ids=LIES)
def test_a_lie_is_refused_by_name(lie: bytes, message: str) -> None:
    """Whatever a header claims."""
    with pytest.raises(ImageError, match=message):
        decode_image(lie)


_MEASURE = """
import resource, sys, time
from tests.unit.imagefile.test_decode import LIES, GREY8, encoded
from focusd.errors import ImageError
from focusd.imagefile.decode import decode_image

decode_image(encoded(".png"))
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
for lie, _ in LIES.values():
    try:
        decode_image(lie)
    except ImageError:
        pass
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown / 1024, time.perf_counter() - started)
"""


def test_lies_take_neither_memory_nor_time() -> None:
    """All of them together, in a process of their own: under 30 MiB and two seconds."""
    done = subprocess.run([sys.executable, "-c", _MEASURE], capture_output=True, text=True, check=True)

    grown_mib, seconds = map(float, done.stdout.split())
    assert grown_mib < 30.0
    assert seconds < 2.0


@needs_real_images
@pytest.mark.parametrize("path", real_image_files(), ids=lambda path: path.name)
def test_real_images_pass_every_check(path: Path) -> None:
    """And are what OpenCV alone makes of them."""
    decoded = read_image_file(path)

    np.testing.assert_array_equal(decoded.pixels, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    assert decoded.metadata.problems == ()


SEEDS = [
    encoded(".png"),
    encoded(".png", GREY16),
    encoded(".jpg"),
    encoded(".jpg", GREY8, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    encoded(".bmp"),
    encoded(".tif", GREY16),
    tiff(GREY8, rows_per_strip=9, changes={34118: (ASCII, ZEISS)}),
    tiff(GREY16, order=">"),
    tiff(GREY16, big=True, rows_per_strip=20),
    tiff(np.dstack([GREY8] * 3), order=">", big=True),
]
PLACES = st.floats(0, 1, exclude_max=True)


@settings(deadline=None, max_examples=500)
@given(
    seed=st.sampled_from(SEEDS),
    at_the_end=st.booleans(),
    changes=st.dictionaries(
        PLACES,
        st.sampled_from([b"\0", b"\1", b"\xff", b"\xff" * 4, b"\x7f\xff\xff\xff"])
        | st.binary(min_size=1, max_size=8),
        min_size=1,
        max_size=8,
    ),
    length=st.none() | PLACES,
)
def test_a_mutated_file_gives_an_image_or_an_image_error(
    seed: bytes, at_the_end: bool, changes: dict[float, bytes], length: float | None
) -> None:
    """Nothing else, whatever is changed where headers and directories stand, and wherever it is cut."""
    data = bytearray(seed)
    reach = min(len(data), 500)
    for place, new in changes.items():
        start = int(place * reach) + (len(data) - reach if at_the_end else 0)
        data[start : start + len(new)] = new
    if length is not None:
        del data[int(length * len(data)) :]

    with contextlib.suppress(ImageError):
        assert decode_image(data, max_decoded_bytes=2**24).pixels.ndim == 2
