"""The published score is exact, whatever the image's type, shape and layout."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from focusd.errors import ImageError
from focusd.focus import laplacian
from focusd.focus.laplacian import laplacian_variance
from tests.unit.focus.memory import peak_bytes


def exact_variance(pixels: NDArray[Any]) -> float:
    """Variance of the Laplacian under a mirrored border, in whole numbers, from its definition."""
    padded = np.pad(pixels.astype(np.int64), 1, mode="reflect")
    second = (
        padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * padded[1:-1, 1:-1]
    )
    # Below 2**63 for any image of up to 10**8 pixels.
    total, squares = int(second.sum()), int(np.square(second).sum())
    return float(Fraction(pixels.size * squares - total * total, pixels.size**2))


@st.composite
def images(draw: st.DrawFn) -> NDArray[Any]:
    """Draw an image of any small shape, type, byte order and memory layout."""
    dtype = np.dtype(draw(st.sampled_from(["u1", "<u2", ">u2"])))
    rows, columns = draw(st.integers(2, 40)), draw(st.integers(2, 40))
    highest = draw(st.sampled_from([1, 3, 256**dtype.itemsize - 1]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values: NDArray[Any] = rng.integers(0, highest, (rows, columns), endpoint=True).astype(dtype)
    layout = draw(st.sampled_from(["plain", "fortran", "strided", "flipped", "read-only"]))
    if layout == "fortran":
        return np.asfortranarray(values)
    if layout == "strided":
        return np.repeat(np.repeat(values, 2, axis=0), 3, axis=1)[::2, ::3]
    if layout == "flipped":
        return values[::-1, ::-1]
    values.flags.writeable = layout != "read-only"
    return values


@given(images())
@settings(max_examples=150, deadline=None)
def test_it_equals_the_definition_in_whole_numbers(pixels: NDArray[Any]) -> None:
    """Every shape, type and layout gives the exact value and leaves the image as it was."""
    before = pixels.copy()

    assert laplacian_variance(pixels) == exact_variance(pixels)

    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("highest", [255, 4095, 65_535])
@pytest.mark.parametrize(
    "shape", [(1031, 517), (2, 10_000), (9000, 64), (700, 1300), (130, 8193), (300, 4096)]
)
def test_blocks_join_without_a_seam(highest: int, shape: tuple[int, int]) -> None:
    """An image of several blocks, one below the other and side by side, gives the exact value."""
    rng = np.random.default_rng(3)
    dtype = np.uint8 if highest == 255 else np.uint16
    pixels: NDArray[Any] = rng.integers(0, highest, shape, endpoint=True).astype(dtype)

    found = laplacian_variance(pixels)

    assert found == exact_variance(pixels)
    assert found == pytest.approx(cv2.Laplacian(pixels, cv2.CV_64F).var(), rel=1e-9)


@given(
    st.integers(0, 139), st.one_of(st.integers(0, 8999), st.integers(4490, 4510)), st.integers(8191, 65_535)
)
@settings(max_examples=25, deadline=None)
def test_one_bright_pixel_anywhere_is_counted(row: int, column: int, level: int) -> None:
    """A frame of few grey levels is exact also where one pixel, in or beside a block, has far more."""
    pixels = np.random.default_rng(5).integers(0, 8192, (140, 9000)).astype(np.uint16)
    pixels[row, column] = level

    assert laplacian_variance(pixels) == exact_variance(pixels)


def checkerboard(level: int) -> NDArray[np.uint16]:
    """Give the image with the largest Laplacian that a grey level can have."""
    pixels = np.zeros((70, 4100), np.uint16)
    pixels[::2, ::2] = pixels[1::2, 1::2] = level
    return pixels


@pytest.mark.parametrize("level", [8191, 8192, 16_383, 32_768])
def test_the_steepest_image_stays_exact(level: int) -> None:
    """Where the arithmetic goes from 16 bits to more, nothing wraps round."""
    pixels = checkerboard(level)

    assert laplacian_variance(pixels) == exact_variance(pixels)


@pytest.mark.parametrize(("dtype", "across"), [("u1", True), ("u1", False), ("<u2", True)])
def test_the_largest_frame_is_exact(dtype: str, across: bool) -> None:
    """A frame of 32,768 x 32,768, whose lines are all one line in memory, scores as that line does."""
    side = 32_768
    line = np.random.default_rng(7).integers(0, np.iinfo(dtype).max, side).astype(dtype)
    frame = (
        np.broadcast_to(line, (side, side)) if across else np.broadcast_to(line[:, np.newaxis], (side,) * 2)
    )

    assert laplacian_variance(frame) == exact_variance(np.stack([line, line]))


def test_a_file_mapped_into_memory_is_read_in_place(tmp_path: Path) -> None:
    """A read-only map of a big-endian file gives what the same pixels in memory do."""
    pixels = np.random.default_rng(8).integers(0, 65_535, (600, 1000)).astype(">u2")
    pixels.tofile(tmp_path / "frame.raw")
    mapped = np.memmap(tmp_path / "frame.raw", ">u2", "r", shape=pixels.shape)

    assert laplacian_variance(mapped) == exact_variance(pixels)


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2"])
@pytest.mark.parametrize(
    "shape", [(3000, 3000), (8, 2_000_000), (2_000_000, 8), (2, 2_000_000), (32_768, 600)]
)
def test_the_scratch_does_not_grow_with_the_frame(dtype: str, shape: tuple[int, int]) -> None:
    """Whatever the frame's size and shape, no more than 1.3 MiB are taken beside it."""
    line = np.random.default_rng(9).integers(0, 65_535, max(shape)).astype(dtype)
    frame = np.broadcast_to(line if shape[1] >= shape[0] else line[:, np.newaxis], shape)

    laplacian._SPARE.clear()

    assert peak_bytes(lambda: laplacian_variance(frame)) < 1.3 * 2**20


def test_threads_do_not_disturb_each_other() -> None:
    """Frames scored at the same time, and buffers that go from one to the next, give the exact values."""
    rng = np.random.default_rng(10)
    frames = [rng.integers(0, highest, (200 + highest // 99, 300)) for highest in (255, 4095, 65_535) * 8]
    frames = [frame.astype(np.uint8 if frame.max() < 256 else np.uint16) for frame in frames]

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(laplacian_variance, frames))

    assert found == [exact_variance(frame) for frame in frames]


def test_the_largest_sums_stay_exact() -> None:
    """A 16-bit checkerboard of full contrast, whose squares pass 2**53 in one strip, is counted exactly."""
    pixels = np.zeros((600, 600), np.uint16)
    pixels[::2, ::2] = pixels[1::2, 1::2] = 65_535
    pixels[7, 11] = 12_345

    assert laplacian_variance(pixels) == exact_variance(pixels)


def test_a_flat_image_scores_zero() -> None:
    """Without any detail there is nothing to score."""
    assert laplacian_variance(np.full((64, 64), 200, np.uint8)) == 0.0


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, np.bool_, np.int16, np.uint32, np.complex64]
)
def test_other_types_are_refused(dtype: type) -> None:
    """A type that OpenCV would abort on, or round, is an error and not a score."""
    with pytest.raises(ImageError, match="uint8 or uint16"):
        laplacian_variance(np.zeros((8, 8), dtype))


@pytest.mark.parametrize("shape", [(8,), (1, 8), (8, 1), (4, 4, 3), (0, 0)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """Something that is no image of at least 2 x 2 pixels is an error."""
    with pytest.raises(ImageError, match="rows and columns"):
        laplacian_variance(np.zeros(shape, np.uint8))
