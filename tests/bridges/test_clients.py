"""Clients of a bridge: bounded, checked, many, hostile, slow."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from focusd_bridge import Bridge, Image
from focusd_bridge.bridge import MAX_CLIENTS
from focusd_bridge.connection import FRAMES_KEPT
from focusd_bridge.mean import mean

from tests.bridges.lab import PATIENCE_S, Caller, Lab, served

HELLO = {"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {}}

GARBAGE = {
    "no-json": b"[1,2,",
    "no-object": b"[]",
    "no-utf-8": b'{"method": "\xff"}',
    "not-a-number": b'{"jsonrpc": "2.0", "id": NaN, "method": "hello"}',
    "nested": b"[" * 60_000,
    "twice": b'{"jsonrpc": "2.0", "jsonrpc": "2.0", "id": 1, "method": "hello"}',
    "digits": b'{"jsonrpc": "2.0", "id": ' + b"9" * 60_000 + b', "method": "hello"}',
    "payload": b'{"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {"payload_bytes": 9}}',
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_message_ends_its_own_connection(data: bytes) -> None:
    """It is told why; the neighbour notices nothing."""
    with served(Lab()) as bridge, Caller(bridge) as neighbour, Caller(bridge) as caller:
        caller.send_raw(data)
        answer, _ = caller.receive()
        ended = caller.ended()
        alive = neighbour.ask("ping")

    assert (answer["id"], answer["error"]["code"]) == (None, -32700)
    assert ended
    assert "result" in alive


NO_REQUESTS = [
    {"id": 1, "method": "hello"},
    {"jsonrpc": "2.0", "id": 1, "method": 7},
    {"jsonrpc": "2.0", "id": 1, "method": "hello", "params": [1]},
    {"jsonrpc": "2.0", "id": [1], "method": "hello"},
    {"jsonrpc": "2.0", "id": True, "method": "hello"},
]


def test_what_is_no_request_is_answered_and_the_connection_goes_on() -> None:
    """So is an id that is beyond all numbers; a notification is not answered."""
    with served(Lab()) as bridge, Caller(bridge) as caller:
        answers = []
        for header in NO_REQUESTS:
            caller.send(header)
            answers.append(caller.receive()[0])
        caller.send_raw(b'{"jsonrpc": "2.0", "id": 1e999, "method": "hello"}')
        answers.append(caller.receive()[0])
        caller.send({"jsonrpc": "2.0", "method": "hello"})
        caller.send(HELLO | {"id": "after"})
        last, _ = caller.receive()

    assert [(answer["id"], answer["error"]["code"]) for answer in answers] == [(None, -32600)] * 6
    assert last["id"] == "after"


SCAN = {"width": 64, "height": 64, "dwell_time_us": 1.0}
WRONG = [
    ("scan", SCAN | {"width": 0}),
    ("scan", SCAN | {"width": 64.0}),
    ("scan", SCAN | {"height": True}),
    ("scan", SCAN | {"dwell_time_us": 0}),
    ("scan", SCAN | {"dwell_time_us": "1"}),
    ("scan", SCAN | {"frames": 10**6}),
    ("scan", SCAN | {"region": [0, 0, 8, 8]}),
    ("scan", SCAN | {"region": {"x": 60, "y": 0, "width": 8, "height": 8}}),
    ("scan", SCAN | {"region": {"x": -1, "y": 0, "width": 8, "height": 8}}),
    ("freeze_auto_contrast", {"frozen": 1}),
    ("blank_beam", {}),
    ("set_stigmator", {"x_percent": 1.0}),
]


@pytest.mark.parametrize(("method", "params"), WRONG)
def test_wrong_parameters_never_reach_the_instrument(method: str, params: dict[str, object]) -> None:
    """They are answered with -32602."""
    lab = Lab()
    with served(lab) as bridge, Caller(bridge) as caller:
        code, _ = caller.error_of(method, **params)

    assert code == -32602
    assert method not in lab.calls


def test_a_scan_beyond_all_bounds_is_refused() -> None:
    """Nobody makes the bridge reserve gigabytes."""
    lab = Lab()
    with served(lab) as bridge, Caller(bridge) as caller:
        code, _ = caller.error_of("scan", width=65_535, height=65_535, dwell_time_us=1.0)

    assert code == -32002
    assert "scan" not in lab.calls


def test_the_longest_silent_client_makes_room() -> None:
    """A computer that lost its power leaves connections behind: they never lock the next one out."""
    with served(Lab()) as bridge:
        callers = [Caller(bridge) for _ in range(MAX_CLIENTS)]
        for caller in callers:
            caller.ask("ping")
        callers[0].ask("ping")
        with Caller(bridge) as newest:
            newest.ask("ping")
            assert callers[1].ended()
            alive = [caller.ask("ping") for caller in (callers[0], *callers[2:])]
        for caller in callers:
            caller.__exit__()

    assert all("result" in answer for answer in alive)


def test_half_a_message_is_not_waited_for_for_ever() -> None:
    """Nor is one that comes in drops."""
    with served(Lab(), silence_s=0.2) as bridge, Caller(bridge) as half, Caller(bridge) as drops:
        half.socket.sendall(struct.pack(">I", 100) + b"{")
        assert half.ended()
        drops.socket.sendall(struct.pack(">I", 60_000))
        started = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - started < PATIENCE_S:
                drops.socket.sendall(b" ")
                time.sleep(0.02)
        took_s = time.monotonic() - started

    assert took_s < PATIENCE_S, "it was cut off before that"


def frame(grey: int, side: int = 16) -> Image:
    """Give a small image of one grey."""
    return Image(side, side, bytes([grey]) * side * side)


def test_the_owners_images_are_pushed_to_whoever_subscribed() -> None:
    """Polled by the owner's thread, in order, each with an id of its own and the state."""
    lab = Lab()
    with served(lab) as bridge, Caller(bridge) as one, Caller(bridge) as other, Caller(bridge) as third:
        one.ask("subscribe")
        other.ask("subscribe")
        third.ask("ping")
        lab.acquired += [frame(7)]
        told = [caller.receive() for caller in (one, other)]
        lab.acquired += [frame(8)]
        second, pixels = one.receive()
        third.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            third.receive()

    assert [header["method"] for header, _ in told] == ["frame", "frame"]
    assert [data for _, data in told] == [bytes([7]) * 256] * 2
    assert told[0][0]["params"]["state"]["working_distance_mm"] == 9.0
    assert second["params"]["frame_id"] != told[0][0]["params"]["frame_id"]
    assert pixels[0] == 8


def test_a_watched_image_is_dated_before_the_last_look() -> None:
    """Nobody knows when it was begun: before the last look, by as much as its dwell times take."""
    lab = Lab()
    slow = Image(16, 16, bytes(256), state={"dwell_time_us": 10_000.0})
    known = Image(16, 16, bytes(256), started_at=5.0, finished_at=6.0)
    with served(lab) as bridge, Caller(bridge) as caller:
        caller.ask("subscribe")
        lab.acquired += [slow, known]
        first, second = (caller.receive()[0]["params"] for _ in range(2))

    assert first["finished_at"] - first["started_at"] == pytest.approx(2.56, abs=0.5)
    assert (second["started_at"], second["finished_at"]) == (5.0, 6.0)


def test_what_was_there_before_a_client_subscribed_is_nothing_new() -> None:
    """An image that is still shown may be hours old; a client that is there already is told."""
    lab = Lab()
    with served(lab) as bridge, Caller(bridge) as first, Caller(bridge) as second:
        lab.acquired = [frame(1)]
        first.ask("subscribe")
        lab.acquired += [frame(2)]
        told = first.receive()[1][0]
        second.ask("subscribe")
        lab.acquired += [frame(3)]
        both = [caller.receive()[1][0] for caller in (first, second)]

    assert (told, both) == (2, [3, 3])


def test_nobody_is_polled_for_while_nobody_wants_images() -> None:
    """The instrument is left alone."""
    lab = Lab()
    with served(lab) as bridge, Caller(bridge) as caller:
        caller.ask("get_state")
        time.sleep(5 * lab.poll_interval_s)
        caller.ask("get_state")

    assert "poll" not in lab.calls


def test_a_slow_reader_misses_the_oldest_and_nobody_waits_for_it() -> None:
    """A hundred large images while one client does not read: the other has all that it could take."""
    count, side = 100, 512
    with served(Lab()) as bridge, Caller(bridge) as slow, Caller(bridge) as quick:
        slow.ask("subscribe")
        quick.ask("subscribe")
        seen: list[int] = []
        last_seen = threading.Semaphore(0)

        def read() -> None:
            for _ in range(count):
                seen.append(quick.receive()[1][0])
                last_seen.release()

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        for number in range(count):
            bridge.push(frame(number, side), {"working_distance_mm": 9.0})
            assert last_seen.acquire(timeout=PATIENCE_S)
        late = [slow.receive()[1][0]]
        while late[-1] != count - 1:
            late.append(slow.receive()[1][0])

    assert seen == list(range(count))
    assert late == sorted(late)
    assert len(late) < count
    assert late[-FRAMES_KEPT:] == [98, 99]


def test_only_those_who_are_allowed_may_come() -> None:
    """An address for everybody needs names of who may come; this computer may always."""
    with pytest.raises(ValueError, match="open to everybody"):
        Bridge(Lab(), "0.0.0.0", 0)  # noqa: S104 - that it is refused is what is tested
    with served(Lab(), allowed=("192.0.2.7",)) as bridge, Caller(bridge) as caller:
        assert "result" in caller.ask("hello")
        assert bridge._welcome("192.0.2.7")
        assert bridge._welcome("::ffff:192.0.2.7")
        assert not bridge._welcome("192.0.2.8")
        assert not bridge._welcome("fe80::1%3")


def test_a_crowd_that_breaks_off_leaves_nothing_behind() -> None:
    """Fifty connections cut in the middle of a request: no thread stays, and the next is served."""
    with served(Lab()) as bridge:
        before = threading.active_count()
        for _ in range(50):
            caller = Caller(bridge)
            caller.socket.sendall(b"\x00\x00")
            caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.socket.close()
        with Caller(bridge) as last:
            assert "result" in last.ask("hello")
        until = time.monotonic() + PATIENCE_S
        while threading.active_count() > before and time.monotonic() < until:
            time.sleep(0.01)
        left = threading.active_count() - before

    assert left <= 0


@pytest.mark.parametrize("bits", [8, 16])
def test_the_mean_is_rounded_in_its_own_depth(bits: int) -> None:
    """As numpy would, on any machine's byte order."""
    kind = "u1" if bits == 8 else "<u2"
    greys = [np.arange(12, dtype=kind).reshape(3, 4) * step for step in (1, 3, 20)]

    found = mean([Image(3, 4, grey.tobytes(), bits) for grey in greys])

    expected = np.floor(np.sum(greys, axis=0, dtype=np.int64) / 3 + 0.5).astype(kind)
    assert bytes(found.pixels) == expected.tobytes()
