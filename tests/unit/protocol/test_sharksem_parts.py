"""Messages on their way through: cut anywhere, lost nowhere."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.protocol.sharksem import Message, encode_message
from focusd.protocol.sharksem_parts import BodyCollector, Head, MessageSplitter, Part, read_head

WHOLE = {"TcpRegDataPort": 8}

NAMES = st.one_of(
    st.sampled_from(["GetWD", "TcpRegDataPort", "ScScanXY", "NobodyKnows"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=15),
)
MESSAGES = st.builds(
    Message, NAMES, st.binary(max_size=40), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes at some places."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def passed(splitter: MessageSplitter, segments: list[bytes]) -> list[Part]:
    """Give all parts of some segments."""
    return [part for segment in segments for part in splitter.split(segment)]


@settings(max_examples=80, deadline=None)
@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(0, 1000), max_size=12))
def test_messages_cut_anywhere_come_out_as_they_went_in(messages: list[Message], places: list[int]) -> None:
    """The parts give back the stream, and each message begins and ends once, under its own header."""
    wire = [encode_message(message) for message in messages]
    splitter = MessageSplitter(WHOLE)

    parts = passed(splitter, cut(b"".join(wire), places))

    assert b"".join(part.data for part in parts) == b"".join(wire)
    assert [part.head.name for part in parts if part.begins] == [message.name for message in messages]
    assert [part.head for part in parts if part.ends] == [
        Head(each.name, len(each.body), each.identification, each.flags, each.queue) for each in messages
    ]
    assert not splitter.in_message
    assert splitter.rest() == b""


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_any_bytes_at_all_are_passed_on(data: bytes, places: list[int]) -> None:
    """Garbage breaks nothing and loses nothing; what is held back comes with the end."""
    splitter = MessageSplitter(WHOLE)

    parts = passed(splitter, cut(data, places))

    assert b"".join(part.data for part in parts) + splitter.rest() == data


@settings(max_examples=60, deadline=None)
@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(0, 1000), max_size=12))
def test_nothing_is_held_back_but_headers_and_what_is_wanted_whole(
    messages: list[Message], places: list[int]
) -> None:
    """After every segment at most 31 bytes wait, or a short message of a wanted name."""
    splitter = MessageSplitter(WHOLE)
    received = given_back = 0
    for segment in cut(b"".join(encode_message(message) for message in messages), places):
        received += len(segment)
        given_back += sum(len(part.data) for part in splitter.split(segment))
        assert received - given_back < 32 + 8


def test_a_wanted_message_comes_in_one_part() -> None:
    """Single bytes of it make one part; a longer one of the name is not waited for."""
    short = encode_message(Message("TcpRegDataPort", bytes(8)))
    long = encode_message(Message("TcpRegDataPort", bytes(9)))
    splitter = MessageSplitter(WHOLE)

    parts = passed(splitter, [bytes([byte]) for byte in short + long])

    assert [len(part.data) for part in parts] == [40, 32, *[1] * 9]
    assert [part.ends for part in parts] == [True, *[False] * 9, True]


def test_a_huge_size_is_believed_without_memory() -> None:
    """A body of four gigabytes is passed on as it comes."""
    header = struct.pack("<16sIIHHI", b"Big", 2**32 - 1, 0, 0, 0, 0)
    splitter = MessageSplitter()

    parts = passed(splitter, [header + b"abc", b"def"])

    assert [part.data for part in parts] == [header + b"abc", b"def"]
    assert not any(part.ends for part in parts)
    assert splitter.in_message


@pytest.mark.parametrize("name", [b"\x80bc", b"\x01\x02", b"\0abc"])
def test_a_name_that_is_none_is_empty(name: bytes) -> None:
    """Strange headers keep their size and lose their name."""
    head = read_head(struct.pack("<16sIIHHI", name, 7, 1, 2, 3, 4))

    assert head == Head("", 7, 1, 2, 3)


@settings(max_examples=40, deadline=None)
@given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(0, 500), max_size=8))
def test_bodies_of_chosen_messages_are_collected(messages: list[Message], places: list[int]) -> None:
    """Each body of a chosen name that is short enough is given once, the others never."""
    wire = b"".join(encode_message(message) for message in messages)
    collector = BodyCollector({"GetWD": 20, "TcpRegDataPort": 40})

    bodies = [
        (part.head.name, body)
        for part in passed(MessageSplitter(), cut(wire, places))
        if (body := collector.add(part)) is not None
    ]

    wanted = {"GetWD": 20, "TcpRegDataPort": 40}
    assert bodies == [
        (each.name, each.body) for each in messages if len(each.body) <= wanted.get(each.name, -1)
    ]
