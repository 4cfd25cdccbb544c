"""The table of remote functions."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.errors import LocalProtocolError, RemoteProtocolError
from focusd.protocol.sharksem import Message, encode_message
from focusd.protocol.sharksem_body import Value, encode_body
from focusd.protocol.sharksem_functions import FUNCTIONS, Signature, parse_version


def test_every_function_fits_the_wire() -> None:
    """Every name of the table can stand in a header."""
    for name in FUNCTIONS:
        encode_message(Message(name))


@pytest.mark.parametrize(
    ("name", "is_void", "since"),
    [
        ("SetWD", True, ()),
        ("GetWD", False, ()),
        ("IsBusy", False, (2, 0, 9)),
        ("TcpGetModel", False, (3, 2, 20)),
        ("ScStopScan", True, ()),
    ],
)
def test_the_table_knows_void_functions_and_versions(
    name: str, is_void: bool, since: tuple[int, ...]
) -> None:
    """Which calls need an acknowledgement and which a newer server is data."""
    assert FUNCTIONS[name].is_void is is_void
    assert FUNCTIONS[name].since == since


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("SetWD", []),
        ("SetWD", ["9"]),
        ("SetWD", [9.0, 1.0]),
        ("DtEnable", [0]),
        ("DtEnable", [0, 2**31]),
        ("ScScanXY", [-1, 4, 4, 0, 0, 3, 3, 1]),
        ("ScScanXY", [1, 4, 4, 0, 0, 3, 3]),
        ("IsLicenseValid", [3]),
    ],
)
def test_wrong_arguments_are_not_sent(name: str, values: list[Value]) -> None:
    """A server drops such a call without a word, so it must not leave."""
    with pytest.raises(LocalProtocolError):
        FUNCTIONS[name].request.encode(values)


@pytest.mark.parametrize("axes", [5, 6, 7])
def test_answers_may_be_longer_than_known(axes: int) -> None:
    """A stage answers five values, six, or one day more."""
    values = FUNCTIONS["StgGetPosition"].answer.decode(encode_body([1.5] * axes))

    assert values == [1.5] * min(axes, 6)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(FUNCTIONS)), st.binary(max_size=80))
def test_a_garbage_body_is_one_error(name: str, body: bytes) -> None:
    """Decoding an answer gives at least the required values, or ``RemoteProtocolError``."""
    answer = FUNCTIONS[name].answer
    with contextlib.suppress(RemoteProtocolError):
        assert len(answer.decode(body)) >= answer.required


def test_a_signature_prints_as_it_is_written() -> None:
    """Messages about arguments show the signature."""
    assert str(Signature.parse("ii[i]")) == "ii[i]"
    assert str(Signature.parse("f")) == "f"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("3.2.20", (3, 2, 20)),
        (" 2.0.9 demo", (2, 0, 9)),
        ("3.2.x", (3, 2)),
        ("", ()),
        ("v1", ()),
        ("1." * 99, (1,) * 32),
    ],
)
def test_a_version_is_its_leading_digits_and_dots(text: str, version: tuple[int, ...]) -> None:
    """Words after a version do not hide it."""
    assert parse_version(text) == version
