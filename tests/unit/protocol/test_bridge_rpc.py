"""Requests, notifications, answers and errors of the bridge protocol."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.errors import RemoteProtocolError
from focusd.protocol.bridge import Header
from focusd.protocol.bridge_rpc import (
    Answer,
    Call,
    ErrorCode,
    Failure,
    Notification,
    Request,
    Result,
    parse_call,
    parse_from_bridge,
)

ANSWER = {"jsonrpc": "2.0", "id": 1}
CALLS: list[Call] = [
    Request("ping"),
    Request("scan", {"width": 64}, 7),
    Request("hello", {}, "a text"),
    Notification("subscribe", {"on": True}),
]
ANSWERS: list[Answer | Notification] = [
    Result(7, {"working_distance_mm": 9.0}),
    Result("a text", None),
    Failure(7, -32001, "scanning"),
    Failure(None, -32700, "no JSON"),
    Notification("frame", {"frame_id": "3"}),
]


@pytest.mark.parametrize("call", CALLS)
def test_calls_read_back(call: Call) -> None:
    """What a client writes, a bridge reads."""
    assert parse_call(call.header) == call


@pytest.mark.parametrize("answer", ANSWERS)
def test_answers_read_back(answer: Answer | Notification) -> None:
    """What a bridge writes, a client reads."""
    assert parse_from_bridge(answer.header) == answer


def test_unknown_keys_are_ignored() -> None:
    """Either side may be newer."""
    assert parse_call({"jsonrpc": "2.0", "id": 1, "method": "ping", "trace": 3}) == Request("ping", {}, 1)
    assert parse_from_bridge({**ANSWER, "result": {}, "took_s": 0.1}) == Result(1, {})


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ({}, "jsonrpc must be '2.0', got None"),
        ({"jsonrpc": "1.0", "id": 1, "result": 1}, "jsonrpc must be '2.0', got '1.0'"),
        ({"jsonrpc": "2.0", "result": 1}, "an answer must have an id"),
        ({"jsonrpc": "2.0", "id": [1], "result": 1}, "id must be a number, text or null"),
        ({"jsonrpc": "2.0", "id": True, "result": 1}, "id must be a number, text or null"),
        (ANSWER, "a result or an error, and not both"),
        ({**ANSWER, "result": 1, "error": {}}, "a result or an error, and not both"),
        ({**ANSWER, "error": "broken"}, "error must be an object"),
        ({**ANSWER, "error": {"code": "-32001"}}, "error.code must be a whole number"),
        ({**ANSWER, "error": {"code": True}}, "error.code must be a whole number"),
        ({**ANSWER, "error": {"code": 1, "message": 2}}, "error.message must be text"),
        ({**ANSWER, "method": "get_state"}, "a bridge must not ask, it asked 'get_state'"),
        ({"jsonrpc": "2.0", "method": 3}, "method must be text"),
        ({"jsonrpc": "2.0", "method": "frame", "params": [1]}, "params must be an object"),
    ],
)
def test_what_is_no_answer_is_one_named_error(header: Header, sentence: str) -> None:
    """Each says what is wrong."""
    with pytest.raises(RemoteProtocolError, match=sentence):
        parse_from_bridge(header)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"]),
        st.sampled_from(["2.0", 1, None, {}, [], True, 1.5, {"code": 1}, {"code": 1, "message": "m"}]),
    )
)
def test_any_object_is_read_or_refused(header: Header) -> None:
    """Nothing but the named error comes out."""
    for parse in (parse_call, parse_from_bridge):
        complaint = ""
        try:
            parse(header)
        except RemoteProtocolError as error:
            complaint = str(error)
        assert complaint.isprintable()


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (-32001, ErrorCode.BUSY, "busy (-32001): the door\nis open"),
        (-32002, ErrorCode.OUT_OF_RANGE, "out of range (-32002): the door\nis open"),
        (12, ErrorCode.INSTRUMENT, "instrument (12): the door\nis open"),
    ],
)
def test_an_error_is_put_into_words_fit_for_a_log_line(code: int, kind: ErrorCode, reason: str) -> None:
    """Codes that are not known mean the instrument; control characters go no further."""
    failure = Failure(1, code, "the door\nis open")

    assert failure.kind is kind
    assert failure.reason == reason.replace("\n", "")


def test_an_error_without_a_message_still_has_a_reason() -> None:
    """The code alone must do."""
    assert Failure(1, -32004, "").reason == "interlock (-32004)"
