"""Messages: golden bytes, and streams cut anywhere or full of garbage."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.errors import LocalProtocolError, RemoteProtocolError
from focusd.protocol.sharksem import (
    HEADER_BYTES,
    NEED_DATA,
    Flag,
    Message,
    MessageStream,
    decode_header,
    encode_message,
)
from focusd.protocol.sharksem_body import StringSize, encode_body
from focusd.protocol.sharksem_functions import FUNCTIONS

MAX_BODY_BYTES = 4096

names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=15)
messages = st.builds(
    Message,
    name=names,
    body=st.binary(max_size=100),
    identification=st.integers(0, 2**32 - 1),
    flags=st.integers(0, 2**16 - 1),
    queue=st.integers(0, 2**16 - 1),
)

# Captured from TESCAN's Python client 2.0.16 (requests) and sized as a real server does (answers).
GOLDEN = [
    pytest.param(
        Message("GetWD"),
        "47 65 74 57 44 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
        id="GetWD request",
    ),
    pytest.param(
        Message("GetWD", encode_body([14.5218])),
        "47 65 74 57 44 00 00 00 00 00 00 00 00 00 00 00 0c 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
        "08 00 00 00 31 34 2e 35 32 31 38 00",
        id="GetWD answer",
    ),
    pytest.param(
        Message("SetWD", encode_body([14.25], string_size=StringSize.PADDED)),
        "53 65 74 57 44 00 00 00 00 00 00 00 00 00 00 00 0c 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
        "08 00 00 00 31 34 2e 32 35 00 00 00",
        id="SetWD, the padding counted",
    ),
    pytest.param(
        Message("SetWD", encode_body([9.0], string_size=StringSize.PADDED), flags=Flag.WAIT_A | Flag.WAIT_D),
        "53 65 74 57 44 00 00 00 00 00 00 00 00 00 00 00 08 00 00 00 00 00 00 00 00 09 00 00 00 00 00 00"
        "04 00 00 00 39 2e 30 00",
        id="SetWD, waiting for A and D",
    ),
    pytest.param(
        Message("ScScanXY", FUNCTIONS["ScScanXY"].request.encode([13500, 4, 4, 0, 0, 3, 3, 1, 1500])),
        "53 63 53 63 61 6e 58 59 00 00 00 00 00 00 00 00 24 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
        "bc 34 00 00 04 00 00 00 04 00 00 00 00 00 00 00 00 00 00 00 03 00 00 00 03 00 00 00"
        "01 00 00 00 dc 05 00 00",
        id="ScScanXY",
    ),
]


def events(stream: MessageStream) -> Iterable[Message]:
    """Give what is whole."""
    while (message := stream.next_message()) is not NEED_DATA:
        yield message


@pytest.mark.parametrize(("message", "golden"), GOLDEN)
def test_messages_are_the_recorded_bytes(message: Message, golden: str) -> None:
    """A message encodes to the bytes a real client or server sends, and decodes from them."""
    data = bytes.fromhex(golden)
    stream = MessageStream(max_body_bytes=MAX_BODY_BYTES)
    stream.receive_data(data)

    assert encode_message(message) == data
    assert list(events(stream)) == [message]


@settings(max_examples=100, deadline=None)
@given(st.lists(messages, max_size=5), st.data())
def test_a_stream_may_be_cut_anywhere(sent: list[Message], data: st.DataObject) -> None:
    """The same messages come out whatever pieces the bytes arrive in."""
    wire = b"".join(map(encode_message, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    stream = MessageStream(max_body_bytes=MAX_BODY_BYTES)

    received: list[Message] = []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        stream.receive_data(wire[start:end])
        received += events(stream)

    assert received == sent
    assert stream.buffered_bytes == 0


@settings(max_examples=25, deadline=None)
@given(messages)
def test_a_message_arrives_with_its_last_byte(message: Message) -> None:
    """Fed byte by byte, a message is out after its last byte and not before."""
    wire = encode_message(message)
    stream = MessageStream(max_body_bytes=MAX_BODY_BYTES)

    for byte in wire[:-1]:
        stream.receive_data(bytes([byte]))
        assert stream.next_message() is NEED_DATA
    stream.receive_data(wire[-1:])

    assert stream.next_message() == message


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=8))
def test_garbage_gives_messages_or_one_error(pieces: list[bytes]) -> None:
    """Whatever bytes come in, only ``RemoteProtocolError`` comes out, and it comes again."""
    stream = MessageStream(max_body_bytes=MAX_BODY_BYTES)
    failed = False
    for piece in pieces:
        stream.receive_data(piece)
        try:
            for message in events(stream):
                assert not failed
                assert len(message.body) <= MAX_BODY_BYTES
        except RemoteProtocolError:
            failed = True
    assert stream.buffered_bytes <= HEADER_BYTES + MAX_BODY_BYTES


def test_a_body_over_the_bound_is_refused_at_its_header() -> None:
    """A length field is only a claim: 4 GiB are refused before a byte of them has come."""
    header = bytearray(encode_message(Message("GetWD")))
    header[16:20] = b"\xff\xff\xff\xff"
    stream = MessageStream(max_body_bytes=MAX_BODY_BYTES)
    stream.receive_data(header)

    with pytest.raises(RemoteProtocolError, match="GetWD claims a body of 4294967295 bytes, at most 4096"):
        stream.next_message()

    stream.receive_data(bytes(1000))
    assert stream.buffered_bytes == 0
    with pytest.raises(RemoteProtocolError, match="4294967295"):
        stream.next_message()


@pytest.mark.parametrize(
    "raw", [bytes(16), b" GetWD".ljust(16, b"\0"), b"GetWD\xff".ljust(16, b"\0"), b"A" * 16]
)
def test_a_header_without_a_name_is_refused(raw: bytes) -> None:
    """Names are 1 to 15 printable ASCII characters ended by NUL."""
    with pytest.raises(RemoteProtocolError, match="no command name"):
        decode_header(raw + bytes(16))


def test_bytes_after_a_names_nul_are_ignored() -> None:
    """A server's uninitialised padding does not change a name."""
    header = decode_header(b"GetWD\0junk\xff\xfe".ljust(16, b"\0") + bytes(16))

    assert header.name == "GetWD"


@pytest.mark.parametrize(
    "message",
    [
        Message(""),
        Message("SixteenLettersXX"),
        Message("Get WD"),
        Message("GetWD\n"),
        Message("Gêt"),
        Message("GetWD", identification=2**32),
        Message("GetWD", identification=-1),
        Message("GetWD", flags=2**16),
        Message("GetWD", queue=-1),
    ],
)
def test_what_does_not_fit_the_wire_is_not_sent(message: Message) -> None:
    """A field that does not fit is our own fault and named so."""
    with pytest.raises(LocalProtocolError):
        encode_message(message)


def test_an_answer_carries_what_identifies_its_request() -> None:
    """Name, identification and queue are copied; flags are not."""
    request = Message("GetWD", b"", 77, Flag.SEND_RESPONSE, 3)

    assert request.answer(b"body") == Message("GetWD", b"body", 77, 0, 3)
