"""Bare pixels: told shape and type are checked, nothing is copied, and each refusal names the field."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.errors import ImageError
from focusd.imagefile.raw import RAW_DTYPES, raw_format, raw_image

GREY = np.random.default_rng(3).integers(0, 65_536, (70, 90)).astype(np.uint16)


@pytest.mark.parametrize("dtype", RAW_DTYPES)
def test_pixels_come_out_as_they_were(dtype: str) -> None:
    """In native byte order, read-only and row by row, whichever order they came in."""
    sent = GREY.astype(RAW_DTYPES[dtype])

    pixels = raw_image(sent.tobytes(), (70, 90), dtype)

    np.testing.assert_array_equal(pixels, sent)
    assert pixels.dtype.isnative
    assert pixels.flags.c_contiguous
    assert not pixels.flags.writeable


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_nothing_is_copied(dtype: str) -> None:
    """The image is a view of the buffer that the body was received in."""
    body = bytearray(raw_format("70,90", dtype).nbytes)

    pixels = raw_image(memoryview(body), (70, 90), dtype)

    body[-1] = 7
    assert pixels[-1, -1] in {7, 7 << 8}


def test_the_length_is_known_beforehand() -> None:
    """From shape and type alone, so that a body can be refused before it is read."""
    described = raw_format(" 1024, 1536 ", "uint16")

    assert (described.rows, described.columns, described.nbytes) == (1024, 1536, 2 * 1024 * 1536)


@pytest.mark.parametrize(
    "shape",
    [
        "",
        "1024",
        "1024x1536",
        "1024,1536,3",
        "-64,64",
        "1e3,1000",
        "\u0667\u0660,\u0669\u0660",
        "64,",
        "9" * 5000 + ",64",
    ],
)
def test_a_shape_in_another_form_is_refused(shape: str) -> None:
    """The message says which form is wanted, and does not grow with what was sent."""
    with pytest.raises(ImageError, match=r'^shape: must be two whole numbers "rows,columns"') as refused:
        raw_format(shape, "uint8")

    assert len(str(refused.value)) < 150


@pytest.mark.parametrize("shape", ["63,64", "64,63", "32769,64", "64,999999999", "0,0"])
def test_a_shape_that_no_frame_has_is_refused(shape: str) -> None:
    """With the limits."""
    with pytest.raises(ImageError, match=f"^shape: .* between 64 and 32768 px, got {shape}"):
        raw_format(shape, "uint8")


@pytest.mark.parametrize("dtype", ["", "float32", "int16", "uint32", "UINT8", "u1", "object"])
def test_another_type_is_refused(dtype: str) -> None:
    """With the types there are."""
    with pytest.raises(ImageError, match=r"^dtype: must be one of uint8, uint16, .*>u2"):
        raw_format("70,90", dtype)


@pytest.mark.parametrize("nbytes", [0, 70 * 90 - 1, 70 * 90 + 1, 2 * 70 * 90])
def test_another_number_of_bytes_is_refused(nbytes: int) -> None:
    """With both numbers."""
    with pytest.raises(ImageError, match=f"^body: 70 x 90 pixels of uint8 are 6300 bytes, got {nbytes}$"):
        raw_image(bytes(nbytes), (70, 90), "uint8")


@settings(deadline=None, max_examples=100)
@given(shape=st.text(max_size=20), dtype=st.text(max_size=10) | st.sampled_from(list(RAW_DTYPES)))
def test_any_words_give_a_format_or_a_named_error(shape: str, dtype: str) -> None:
    """Headers come from outside."""
    problem = ""
    try:
        raw_format(shape, dtype)
    except ImageError as error:
        problem = str(error)

    assert problem.startswith(("shape: ", "dtype: ")) or not problem


def test_which_pixels_are_used_as_they_come() -> None:
    """Only those of the other byte order are copied."""
    as_they_come = {name for name in RAW_DTYPES if raw_format("70,90", name).is_native}

    assert as_they_come == {name for name, dtype in RAW_DTYPES.items() if np.dtype(dtype).isnative}
    assert not {"<u2", ">u2"} <= as_they_come
