"""The published score is exact, whatever the image's type, shape and layout."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from focusd.errors import ImageError
from focusd.focus.laplacian import laplacian_variance


def exact_variance(pixels: NDArray[Any]) -> float:
    """Variance of the Laplacian under a mirrored border, in whole numbers, from its definition."""
    padded = np.pad(pixels.astype(np.int64), 1, mode="reflect")
    laplacian = (
        padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * padded[1:-1, 1:-1]
    )
    total, squares = (
        sum(laplacian.ravel().tolist()),
        sum(value * value for value in laplacian.ravel().tolist()),
    )
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


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1031, 517), (64, 32_768), (9000, 64), (700, 1300)])
def test_strips_join_without_a_seam(dtype: type[np.unsignedinteger[Any]], shape: tuple[int, int]) -> None:
    """An image of several strips, also ragged ones, gives the same as the formula on the whole."""
    rng = np.random.default_rng(3)
    pixels: NDArray[Any] = rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)

    assert laplacian_variance(pixels) == pytest.approx(cv2.Laplacian(pixels, cv2.CV_64F).var(), rel=1e-9)


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
