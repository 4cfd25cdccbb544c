"""Bridge messages: golden bytes, and streams cut anywhere or full of garbage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.errors import LocalProtocolError, RemoteProtocolError
from focusd.protocol.bridge import (
    MAX_HEADER_BYTES,
    NEED_DATA,
    Header,
    Message,
    MessageStream,
    decode_header,
    encode_header,
)

MAX_PAYLOAD_BYTES = 4096

# Written out by hand from the rules, not made by the encoder.
GOLDEN = [
    pytest.param(
        {"jsonrpc": "2.0", "id": 1, "method": "get_state", "params": {}},
        b"",
        b'\x00\x00\x00\x39{"jsonrpc":"2.0","id":1,"method":"get_state","params":{}}',
        id="request",
    ),
    pytest.param(
        {"jsonrpc": "2.0", "id": 2, "result": {"shape": [2, 2], "payload_bytes": 4}},
        b"\x01\x02\x03\xff",
        b'\x00\x00\x00\x43{"jsonrpc":"2.0","id":2,"result":{"shape":[2,2],"payload_bytes":4}}\x01\x02\x03\xff',
        id="answer with an image",
    ),
    pytest.param(
        {"payload_bytes": 3},
        b"abc",
        b'\x00\x00\x00\x13{"payload_bytes":3}abc',
        id="the size at the top of the header",
    ),
    pytest.param(
        {"detector": "Ä µ"},
        b"",
        b'\x00\x00\x00\x1c{"detector":"\\u00c4 \\u00b5"}',
        id="text beyond ASCII",
    ),
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Give a message with or without a payload, its size where it may stand."""
    header: Header = draw(
        st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "other"]), json_values, max_size=4)
    )
    payload = draw(st.none() | st.binary(min_size=1, max_size=100))
    if payload is None:
        return Message(header)
    where = draw(st.sampled_from(["top", "result", "params"]))
    size = {"payload_bytes": len(payload)}
    return Message({**header, **(size if where == "top" else {where: size})}, memoryview(payload))


def wire(message: Message) -> bytes:
    """Give all bytes of a message."""
    return encode_header(message.header) + bytes(message.payload or b"")


def taken(stream: MessageStream) -> Iterator[Message]:
    """Give what is whole."""
    while (message := stream.next_message()) is not NEED_DATA:
        yield message


def framed(header: bytes) -> bytes:
    """Put a length before a header that the encoder would refuse to make."""
    return len(header).to_bytes(4, "big") + header


@pytest.mark.parametrize(("header", "payload", "golden"), GOLDEN)
def test_messages_are_the_documented_bytes(header: Header, payload: bytes, golden: bytes) -> None:
    """A message encodes to the documented bytes, and decodes from them."""
    stream = MessageStream(max_payload_bytes=MAX_PAYLOAD_BYTES)
    stream.receive_data(golden)

    assert encode_header(header) + payload == golden
    assert list(taken(stream)) == [Message(header, memoryview(payload) if payload else None)]
    assert not stream.in_message


def test_a_header_may_hold_utf_8_as_it_is() -> None:
    """Another encoder need not escape what is not ASCII."""
    assert decode_header('{"detector":"Ä µ"}'.encode()) == {"detector": "Ä µ"}


@settings(max_examples=100, deadline=None)
@given(st.lists(messages(), max_size=4), st.data())
def test_a_stream_may_be_cut_anywhere(sent: list[Message], data: st.DataObject) -> None:
    """The same messages come out whatever pieces the bytes arrive in."""
    stream_bytes = b"".join(map(wire, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream_bytes)), max_size=6)))
    stream = MessageStream(max_payload_bytes=MAX_PAYLOAD_BYTES)

    received: list[Message] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream_bytes)], strict=True):
        stream.receive_data(stream_bytes[start:end])
        received += taken(stream)

    assert received == sent
    assert not stream.in_message


@settings(max_examples=25, deadline=None)
@given(messages())
def test_a_message_arrives_with_its_last_byte(message: Message) -> None:
    """Fed byte by byte, a message is out after its last byte and not before."""
    data = wire(message)
    stream = MessageStream(max_payload_bytes=MAX_PAYLOAD_BYTES)

    for byte in data[:-1]:
        stream.receive_data(bytes([byte]))
        assert stream.next_message() is NEED_DATA
        assert stream.in_message
    stream.receive_data(data[-1:])

    assert stream.next_message() == message


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=200).map(framed))
def test_garbage_is_a_protocol_error_or_nothing(garbage: bytes) -> None:
    """Whatever comes in, nothing but the named error comes out."""
    stream = MessageStream(max_payload_bytes=MAX_PAYLOAD_BYTES)

    complaint = ""
    try:
        stream.receive_data(garbage)
    except RemoteProtocolError as error:
        complaint = str(error)

    assert complaint.isprintable()
    if complaint:
        with pytest.raises(RemoteProtocolError):
            stream.receive_data(b"\x00")


@settings(max_examples=100, deadline=None)
@given(messages(), st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_message_is_another_one_or_a_protocol_error(message: Message, at: int, byte: int) -> None:
    """One changed byte gives a message, waits for more, or raises the named error."""
    data = bytearray(wire(message))
    data[at % len(data)] = byte
    stream = MessageStream(max_payload_bytes=MAX_PAYLOAD_BYTES)

    try:
        stream.receive_data(data)
    except RemoteProtocolError:
        return
    assert len(list(taken(stream))) == 1 or stream.in_message


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\x00\x00\x00\x00", "a header of 0 bytes is announced"),
        (b"\x00\x01\x00\x01", "a header of 65537 bytes is announced, it must be 1 to 65536"),
        (b"\xff\xff\xff\xff", "a header of 4294967295 bytes"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a header of 1213486160 bytes"),
        (framed(b'{"a":"\xff"}'), "a header is not UTF-8"),
        (framed(b'{"a":1'), "a header is not JSON"),
        (framed(b"\xef\xbb\xbf{}"), "a header is not JSON"),
        (framed(b'{"a":1}{"b":2}'), "a header is not JSON"),
        (framed(b'{"a":NaN}'), "a header holds NaN"),
        (framed(b'{"a":-Infinity}'), "a header holds -Infinity"),
        (framed(b'{"a":1,"a":2}'), "a header says one thing twice"),
        (framed(b'{"a":{"b":1,"b":2}}'), "a header says one thing twice"),
        (framed(b"[" * 50_000), "nested too deeply"),
        (framed(b'{"a":' + b"9" * 10_000 + b"}"), "a header is not JSON"),
        (framed(b"[1]"), "a header must be a JSON object"),
        (framed(b"null"), "a header must be a JSON object, got None"),
        (framed(b'{"payload_bytes":4097}'), "a payload of 4097 bytes is announced, at most 4096"),
        (framed(b'{"payload_bytes":-1}'), "payload_bytes must be a whole number"),
        (framed(b'{"payload_bytes":1.0}'), "payload_bytes must be a whole number"),
        (framed(b'{"payload_bytes":"1"}'), "payload_bytes must be a whole number"),
        (framed(b'{"payload_bytes":true}'), "payload_bytes must be a whole number"),
        (framed(b'{"payload_bytes":null}'), "payload_bytes must be a whole number"),
        (framed(b'{"payload_bytes":1e3}'), "payload_bytes must be a whole number"),
        (framed(b'{"payload_bytes":1,"result":{"payload_bytes":2}}'), "two different values"),
    ],
)
def test_malformed_input_is_one_named_error(data: bytes, sentence: str) -> None:
    """Each says what is wrong, and the stream stays broken."""
    stream = MessageStream(max_payload_bytes=MAX_PAYLOAD_BYTES)

    with pytest.raises(RemoteProtocolError, match=sentence):
        stream.receive_data(data)

    with pytest.raises(RemoteProtocolError, match=sentence):
        stream.next_message()
    with pytest.raises(RemoteProtocolError, match=sentence):
        stream.receive_data(framed(b"{}"))


def test_what_came_before_the_garbage_is_still_given() -> None:
    """A whole message is not lost to what follows it."""
    stream = MessageStream(max_payload_bytes=MAX_PAYLOAD_BYTES)

    with pytest.raises(RemoteProtocolError):
        stream.receive_data(framed(b'{"a":1}') + bytes(4))

    assert stream.next_message() == Message({"a": 1})
    with pytest.raises(RemoteProtocolError):
        stream.next_message()


def test_a_payload_goes_where_the_receiver_wants_it() -> None:
    """The bytes land in the given memory; the message holds that memory."""
    memory = bytearray(5)
    stream = MessageStream(
        max_payload_bytes=MAX_PAYLOAD_BYTES, place=lambda _, size: memoryview(memory)[:size]
    )

    stream.receive_data(encode_header({"payload_bytes": 5}) + b"12345")
    message = stream.next_message()

    assert memory == b"12345"
    assert message is not NEED_DATA
    assert message.payload is not None
    assert message.payload.obj is memory


def test_an_unwanted_payload_is_skipped_without_memory() -> None:
    """However large, it passes through a small buffer, and the next message is found."""
    size = 300_000
    stream = MessageStream(max_payload_bytes=size, place=lambda *_: None)

    stream.receive_data(encode_header({"payload_bytes": size}))
    left, largest = size, 0
    while left:
        place = stream.get_buffer()
        largest = max(largest, len(place))
        left -= len(place)
        stream.received(len(place))
    stream.receive_data(encode_header({"next": True}))

    assert largest <= 65_536
    assert list(taken(stream)) == [Message({"payload_bytes": size}), Message({"next": True})]


def test_a_refused_payload_breaks_the_stream() -> None:
    """The receiver may know better than the header what can come."""

    def refuse(header: Header, size: int) -> memoryview | None:
        raise RemoteProtocolError(f"nobody asked for {size} bytes")

    stream = MessageStream(max_payload_bytes=MAX_PAYLOAD_BYTES, place=refuse)

    with pytest.raises(RemoteProtocolError, match="nobody asked for 3 bytes"):
        stream.receive_data(encode_header({"payload_bytes": 3}))


def test_the_longest_header_is_taken() -> None:
    """The bound itself is allowed, one byte more is not sent."""
    filling = MAX_HEADER_BYTES - len(json.dumps({"a": ""}, separators=(",", ":")))
    stream = MessageStream(max_payload_bytes=0)

    stream.receive_data(encode_header({"a": "x" * filling}))

    assert stream.next_message() == Message({"a": "x" * filling})
    with pytest.raises(LocalProtocolError, match="at most 65536 bytes, got 65537"):
        encode_header({"a": "x" * (filling + 1)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", {1, 2}])
def test_what_is_not_json_is_not_sent(value: Any) -> None:
    """A bug of ours is found before a byte goes out."""
    with pytest.raises(LocalProtocolError, match="a header must be JSON"):
        encode_header({"a": value})
