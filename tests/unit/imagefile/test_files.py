"""Images from files: what is read, and what is said of those that cannot be."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from cv2.typing import MatLike
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from focusd.errors import ImageError
from focusd.imagefile import read_image

GREY8 = np.random.default_rng(7).integers(0, 256, (70, 90), dtype=np.uint8)
GREY16 = np.random.default_rng(8).integers(0, 65_536, (70, 90), dtype=np.uint16)


def saved(path: Path, image: MatLike) -> Path:
    """Write ``image`` as the kind of file its name says."""
    assert cv2.imwrite(str(path), image)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("image", [GREY8, GREY16], ids=["uint8", "uint16"])
def test_grey_levels_are_those_of_the_file(tmp_path: Path, suffix: str, image: MatLike) -> None:
    """A lossless file gives each grey level and the depth unchanged, read-only."""
    pixels = read_image(saved(tmp_path / f"specimen{suffix}", image))

    assert pixels.dtype == image.dtype
    assert not pixels.flags.writeable
    np.testing.assert_array_equal(pixels, image)


def test_a_jpeg_is_read(tmp_path: Path) -> None:
    """A JPEG comes out nearly as it went in."""
    smooth = cv2.GaussianBlur(GREY8, (0, 0), 3)

    pixels = read_image(saved(tmp_path / "specimen.jpg", smooth))

    assert np.abs(pixels.astype(int) - smooth).max() < 10


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("image", [GREY8, GREY16], ids=["uint8", "uint16"])
def test_colour_becomes_grey(tmp_path: Path, channels: int, image: MatLike) -> None:
    """A grey picture saved as colour, with or without transparency, is read as grey of the same depth."""
    colour = np.dstack([image] * channels)

    pixels = read_image(saved(tmp_path / "colour.png", colour))

    assert pixels.dtype == image.dtype
    assert np.abs(pixels.astype(int) - image.astype(int)).max() <= 1


def test_the_byte_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    """A big-endian TIFF, as some microscopes write it, gives native grey levels."""
    path = tmp_path / "big_endian.tif"
    path.write_bytes(big_endian_tiff(GREY16))

    pixels = read_image(path)

    assert pixels.dtype.isnative
    np.testing.assert_array_equal(pixels, GREY16)


def big_endian_tiff(image: NDArray[np.uint16]) -> bytes:
    """Write a minimal TIFF of one strip, most significant byte first."""
    rows, columns = image.shape
    tags = [
        (256, 4, columns),
        (257, 4, rows),
        (258, 3, 16 << 16),
        (259, 3, 1 << 16),
        (262, 3, 1 << 16),
        (273, 4, 8),
        (277, 3, 1 << 16),
        (278, 4, rows),
        (279, 4, image.nbytes),
    ]
    directory = struct.pack(">H", len(tags))
    directory += b"".join(struct.pack(">HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return (
        b"MM\0*" + struct.pack(">I", 8 + image.nbytes) + image.astype(">u2").tobytes() + directory + bytes(4)
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The message holds the path and the reason."""
    with pytest.raises(ImageError, match=r"absent\.png: No such file"):
        read_image(tmp_path / "absent.png")


def test_a_directory_is_no_image(tmp_path: Path) -> None:
    """A directory is refused in words."""
    with pytest.raises(ImageError, match="is a directory"):
        read_image(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe that nobody writes to would hold the reader for ever."""
    os.mkfifo(tmp_path / "pipe.png")

    with pytest.raises(ImageError, match="not a regular file"):
        read_image(tmp_path / "pipe.png")


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """A file over the bound is refused by its size alone."""
    path = tmp_path / "huge.tif"
    with path.open("wb") as file:
        file.truncate(600 * 2**20)

    with pytest.raises(ImageError, match="is 600 MiB, at most 512 MiB"):
        read_image(path)


@pytest.mark.parametrize("data", [b"", b"hello", b"GIF89a" + bytes(100), b"<svg/>"])
def test_something_else_is_no_image(tmp_path: Path, data: bytes) -> None:
    """What is no PNG, TIFF, JPEG or BMP is refused without being decoded."""
    path = tmp_path / "other.png"
    path.write_bytes(data)

    with pytest.raises(ImageError, match=r"other\.png: is not a PNG, TIFF, JPEG or BMP"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_half_a_file_is_no_image(tmp_path: Path, suffix: str, share: float) -> None:
    """A file that is still being written does not come out as a picture with black lines."""
    path = saved(tmp_path / f"partial{suffix}", GREY8)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])

    with pytest.raises(ImageError, match="partial"):
        read_image(path)


def test_a_small_image_is_refused(tmp_path: Path) -> None:
    """Too few pixels to judge focus by."""
    with pytest.raises(ImageError, match=r"small\.png: each side .* 64"):
        read_image(saved(tmp_path / "small.png", GREY8[:40, :40]))


@pytest.mark.parametrize("shape", [(70, 90), (70, 90, 3)])
def test_other_types_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Floating point grey levels have no known range."""
    with pytest.raises(ImageError, match="float32"):
        read_image(saved(tmp_path / "float.tif", np.ones(shape, np.float32)))


def test_a_claimed_size_is_checked_before_memory_is_taken(tmp_path: Path) -> None:
    """A hundred bytes that claim ten billion pixels are refused."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path = tmp_path / "bomb.png"
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b"")
    )

    with pytest.raises(ImageError, match=r"between 64 and 32768 px, got \(100000, 100000\)"):
        read_image(path)


def test_a_decoder_that_gives_up_is_an_image_error(tmp_path: Path) -> None:
    """A TIFF that claims more pixels than the decoder takes is refused by name."""
    data = bytearray(big_endian_tiff(GREY16))
    directory = 8 + GREY16.nbytes + 2
    for entry in (0, 1):
        data[directory + 12 * entry + 8 : directory + 12 * entry + 12] = struct.pack(">I", 100_000)
    path = tmp_path / "bomb.tif"
    path.write_bytes(data)

    with pytest.raises(ImageError, match=r"bomb\.tif: "):
        read_image(path)


@settings(deadline=None, max_examples=150)
@given(
    suffix=st.sampled_from([".png", ".tif", ".jpg"]),
    changes=st.dictionaries(st.floats(0, 1, exclude_max=True), st.integers(0, 255), min_size=1, max_size=20),
)
def test_a_damaged_file_gives_an_image_or_an_image_error(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, changes: dict[float, int]
) -> None:
    """Whatever bytes are changed, nothing but pixels or ``ImageError`` comes out."""
    data = bytearray(cv2.imencode(suffix, GREY8)[1].tobytes())
    for place, value in changes.items():
        data[int(place * min(len(data), 600))] = value
    path = tmp_path_factory.getbasetemp() / f"mutated{suffix}"
    path.write_bytes(data)

    with contextlib.suppress(ImageError):
        assert read_image(path).ndim == 2
