"""Arguments inside a body: both string conventions, numbers as text, and nothing but the named error."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.errors import LocalProtocolError, RemoteProtocolError
from focusd.protocol.sharksem_body import (
    BodyReader,
    StringSize,
    Value,
    encode_body,
    format_float,
    format_map,
    parse_float,
    parse_map,
)

values = st.one_of(
    st.integers(0, 2**31 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=20),
)


def read(reader: BodyReader, like: Value) -> Value:
    """Take the next argument as the type of ``like``."""
    match like:
        case int():
            return reader.uint32()
        case float():
            return reader.float_()
        case str():
            return reader.string()
        case bytes():
            return reader.bytes_()


@settings(max_examples=100, deadline=None)
@given(st.lists(values, max_size=6), st.sampled_from(StringSize))
def test_arguments_come_back_as_they_went(sent: list[Value], string_size: StringSize) -> None:
    """Every list of arguments survives the wire in both conventions, aligned to 4 bytes."""
    body = encode_body(sent, string_size=string_size)
    reader = BodyReader(body)

    assert len(body) % 4 == 0
    assert [read(reader, value) for value in sent] == sent
    assert reader.at_end


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=60),
    st.lists(st.sampled_from(["int32", "uint32", "float_", "string", "bytes_", "map_"])),
)
def test_garbage_gives_values_or_the_named_error(body: bytes, methods: list[str]) -> None:
    """Whatever the body holds, only ``RemoteProtocolError`` escapes."""
    reader = BodyReader(body)
    try:
        for method in methods:
            take: Callable[[], object] = getattr(reader, method)
            value = take()
            assert not isinstance(value, float) or math.isfinite(value)
    except RemoteProtocolError:
        pass


@settings(max_examples=60, deadline=None)
@given(st.lists(values, min_size=1, max_size=4), st.data())
def test_a_cut_body_is_an_error(sent: list[Value], data: st.DataObject) -> None:
    """A body that ends inside an argument's data raises; it never gives a shorter value."""
    body = encode_body([*sent, 1])
    reader = BodyReader(body[: data.draw(st.integers(0, len(body) - 4))])

    with pytest.raises(RemoteProtocolError, match="ends too early"):
        assert [read(reader, value) for value in [*sent, 1]] != [*sent, 1]


@pytest.mark.parametrize(
    ("value", "string_size", "golden"),
    [
        (3.14, StringSize.EXACT, "05 00 00 00 33 2e 31 34 00 00 00 00"),
        (14.25, StringSize.PADDED, "08 00 00 00 31 34 2e 32 35 00 00 00"),
        (9.0, StringSize.PADDED, "04 00 00 00 39 2e 30 00"),
        ("", StringSize.EXACT, "01 00 00 00 00 00 00 00"),
        (b"", StringSize.EXACT, "00 00 00 00"),
        (-1, StringSize.EXACT, "ff ff ff ff"),
    ],
)
def test_arguments_are_the_recorded_bytes(value: Value, string_size: StringSize, golden: str) -> None:
    """Both conventions of a string's size are the ones seen on the wire."""
    assert encode_body([value], string_size=string_size) == bytes.fromhex(golden)


def test_a_string_ends_at_its_first_nul() -> None:
    """A fixed-size buffer with unrelated bytes after the NUL reads as its text."""
    body = encode_body([b"3.2.20\0" + b"\xff" * 57, 7])
    reader = BodyReader(body)

    assert reader.string() == "3.2.20"
    assert reader.int32() == 7


def test_a_string_that_is_not_utf8_keeps_its_readable_part() -> None:
    """A detector named in another code page does not cost the link."""
    assert BodyReader(encode_body([b"5 \xb5m\0"])).string() == "5 �m"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "1e999",
        "1_0",
        "0x10",
        "1,5",
        "9.0mm",
        "--1",
        "1e",
        ".",
        "٣",
        "1" * 65,
    ],
)
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    """A working distance can never be read as not-a-number, infinite, or half a text."""
    with pytest.raises(RemoteProtocolError):
        BodyReader(encode_body([text])).float_()


@pytest.mark.parametrize(
    ("text", "number"),
    [("14.25", 14.25), ("3.1e-05", 3.1e-5), (" -7", -7.0), ("+.5", 0.5), ("2.", 2.0), ("1E3\n", 1e3)],
)
def test_numbers_are_read_as_strtod_reads_them(text: str, number: float) -> None:
    """Every decimal form of the C locale is understood."""
    assert parse_float(text) == number


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_not_sent(value: float) -> None:
    """Focusd cannot command a working distance that is no number."""
    with pytest.raises(LocalProtocolError):
        encode_body([value])


def test_a_numpy_float_is_sent_as_a_number() -> None:
    """NumPy's own repr never reaches the wire."""
    assert format_float(np.float64(9.25)) == "9.25"


@pytest.mark.parametrize("value", [2**32, -(2**31) - 1, "a\0b"])
def test_what_does_not_fit_is_not_sent(value: Value) -> None:
    """Whole numbers have 32 bits, and a string cannot hold its own end."""
    with pytest.raises(LocalProtocolError):
        encode_body([value])


def test_signed_and_unsigned_share_their_bytes() -> None:
    """The same four bytes read as either."""
    reader = BodyReader(encode_body([-5, 2**32 - 5]))

    assert (reader.int32(), reader.uint32()) == (-5, 2**32 - 5)


def test_a_map_ends_every_line_and_is_read_leniently() -> None:
    """Maps are written with a final newline; lines without ``=`` and other line ends are put up with."""
    assert format_map({"det.0.name": "SE", "det.0.detector": 1}) == "det.0.name=SE\ndet.0.detector=1\n"
    assert parse_map("a=1\r\n\nnonsense\n=2\nb = x=y") == {"a": "1", "b": "x=y"}
    assert BodyReader(encode_body(["a=1\n"])).map_() == {"a": "1"}


def test_padding_may_be_missing_at_the_very_end() -> None:
    """The last argument's padding is not needed to read it."""
    reader = BodyReader(encode_body([b"abc"])[:-1])

    assert reader.bytes_() == b"abc"
    assert reader.at_end
