"""One thread, deadlines, limits: what ``focusd_bridge`` sees to between a client and the instrument."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from focusd_bridge import (
    BeamOffError,
    Bridge,
    BusyError,
    Image,
    InterlockError,
    OutOfRangeError,
    Scan,
    owner,
)

from tests.bridges.lab import PATIENCE_S, Caller, Json, Lab, served

MOVE = "set_working_distance"


def test_a_call_that_hangs_is_an_error_and_none_is_made_beside_it() -> None:
    """Every request is refused until it has come back; then all goes on."""
    lab = Lab()
    lab.settle_s = 0.3
    with served(lab) as bridge, Caller(bridge) as one, Caller(bridge) as other:
        lab.hanging = MOVE
        started = time.monotonic()
        hung = one.error_of(MOVE, working_distance_mm=9.1)
        waited_s = time.monotonic() - started
        refused = [other.error_of("get_state"), one.error_of(MOVE, working_distance_mm=9.2)]
        calls_while_hanging = list(lab.calls)
        alive = other.ask("ping")["result"], other.ask("hello")["result"]["model"]

        lab.hanging = ""
        lab.released.set()
        until_answered(other)

    assert hung == (-32010, f"the instrument's software has not come back from {MOVE} in 0.3 s")
    assert lab.settle_s <= waited_s < PATIENCE_S
    assert refused == [(-32010, f"the instrument's software still hangs in {MOVE}")] * 2
    assert calls_while_hanging.count(MOVE) == 1
    assert alive == ({}, "lab")
    assert lab.most_at_once == 1


def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def until_answered(caller: Caller) -> Json:
    """Ask until the instrument answers again."""
    answers: list[Json] = []

    def answered() -> bool:
        answers.append(caller.ask("get_state"))
        return "result" in answers[-1]

    until(answered)
    return answers[-1]


def test_a_call_that_could_not_begin_in_time_is_never_made() -> None:
    """A second client's move waits for the first one's scan, is told busy, and does not come later."""
    lab = Lab()
    lab.settle_s = 0.3
    lab.hanging = "scan"
    with served(lab) as bridge, Caller(bridge) as one, Caller(bridge) as other:
        scanning = threading.Thread(
            target=one.ask, args=("scan",), kwargs={"width": 64, "height": 64, "dwell_time_us": 1.0}
        )
        scanning.start()
        assert lab.hung.wait(PATIENCE_S)
        busy = other.error_of(MOVE, working_distance_mm=9.1)
        lab.hanging = ""
        lab.released.set()
        scanning.join(PATIENCE_S)
        state = until_answered(other)["result"]

    assert busy == (-32001, "the instrument has been busy with scan for 0.3 s")
    assert MOVE not in lab.calls
    assert state["working_distance_mm"] == 9.0


@pytest.mark.parametrize("wanted_mm", [7.999, 10.001, -9.0, 1e300, 10**400])
def test_the_instrument_never_hears_of_a_move_beyond_the_limits(wanted_mm: float) -> None:
    """The bridge's own limits hold, whatever focusd's configuration says."""
    lab = Lab()
    with served(lab) as bridge, Caller(bridge) as caller:
        code, _ = caller.error_of(MOVE, working_distance_mm=wanted_mm)

    assert code in (-32002, -32602)
    assert MOVE not in lab.calls


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (BusyError("later"), -32001, "later"),
        (OutOfRangeError("too far"), -32002, "too far"),
        (BeamOffError("dark"), -32003, "dark"),
        (InterlockError("the door"), -32004, "the door"),
        (RuntimeError("1016 Grab failed"), -32010, "RuntimeError: 1016 Grab failed"),
        (SystemExit("leave"), -32010, "SystemExit: leave"),
    ],
)
def test_what_an_instrument_raises_is_told(error: Exception, code: int, message: str) -> None:
    """Its own words reach the operator, and the bridge goes on."""
    lab = Lab()
    lab.failing = (MOVE, error)
    with served(lab) as bridge, Caller(bridge) as caller:
        told = caller.error_of(MOVE, working_distance_mm=9.1)
        lab.failing = None
        answer = caller.ask(MOVE, working_distance_mm=9.1)

    assert told == (code, message)
    assert answer["result"] == {"working_distance_mm": 9.1}


def test_a_lost_connection_to_the_vendors_software_is_made_again() -> None:
    """Before the next call it is closed and opened; while that fails, the failure is what is told."""
    lab = Lab()
    with served(lab) as bridge, Caller(bridge) as caller:
        lab.failing = ("get_state", ConnectionResetError("gone"))
        caller.error_of("get_state")
        lab.failing = ("open", ConnectionRefusedError("not yet"))
        still = caller.error_of("get_state")
        lab.failing = None
        caller.ask("get_state")
        calls = [call for call in lab.calls if call != "poll"]

    assert still == (-32010, "ConnectionRefusedError: not yet")
    assert calls == ["open", "get_state", "close", "open", "close", "open", "get_state"]


def test_a_lost_connection_is_made_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nobody asks; but not all the time."""
    monkeypatch.setattr(owner, "RETRY_S", 0.2)
    lab = Lab()
    with served(lab) as bridge, Caller(bridge) as caller:
        lab.failing = ("get_state", ConnectionResetError("gone"))
        caller.error_of("get_state")
        lab.failing = ("open", ConnectionRefusedError("not yet"))
        lost_at = time.monotonic()
        until(lambda: lab.calls.count("open") >= 3)
        took_s = time.monotonic() - lost_at
        lab.failing = None
        until(lambda: lab.calls.count("open") >= 4)
        state = caller.ask("get_state")

    assert took_s > 0.3
    assert "result" in state


class WrongSize(Lab):
    """Gives a line less than was asked for."""

    def scan(self, scan: Scan) -> Image:
        image = super().scan(scan)
        return Image(image.rows - 1, image.columns, image.pixels)


class Lost(Lab):
    """Does not know where its lens stands."""

    def get_state(self) -> Json:
        return super().get_state() | {"working_distance_mm": float("nan")}


@pytest.mark.parametrize(("lab", "part"), [(WrongSize(), "63 x 64"), (Lost(), "does not tell")])
def test_an_instrument_that_gives_nonsense_is_found_out(lab: Lab, part: str) -> None:
    """No image of another size and no state without a working distance goes out."""
    with served(lab) as bridge, Caller(bridge) as caller:
        code, message = caller.error_of("scan", width=64, height=64, dwell_time_us=1.0)

    assert code == -32010
    assert part in message


def test_what_is_not_known_is_null() -> None:
    """No not-a-number goes out, and numbers of the instrument's own kind become plain ones."""
    with served(Lab()) as bridge, Caller(bridge) as caller:
        state = caller.ask("get_state")["result"]

    assert state["probe_current_pa"] is None
    assert state["working_distance_mm"] == 9.0


def test_averaging_is_done_by_the_bridge() -> None:
    """Two frames are two scans and one image, its noise lower."""
    lab = Lab()
    with served(lab) as bridge, Caller(bridge) as caller:
        answer = caller.ask("scan", width=64, height=64, dwell_time_us=1.0, frames=3)["result"]

    assert lab.calls.count("scan") == 3
    assert answer["shape"] == [64, 64]
    assert answer["finished_at"] > answer["started_at"]


def test_automatic_contrast_is_let_go_with_the_last_connection_that_holds_it() -> None:
    """Two clients hold it; one says so, the other just goes."""
    lab = Lab()
    with served(lab) as bridge:
        with Caller(bridge) as one, Caller(bridge) as other:
            one.ask("freeze_auto_contrast", frozen=True)
            other.ask("freeze_auto_contrast", frozen=True)
            one.ask("freeze_auto_contrast", frozen=False)
            held = lab.frozen
        until(lambda: not lab.frozen)

    assert held
    assert lab.calls.count("freeze_auto_contrast") == 2


def test_an_instrument_that_cannot_be_opened_is_no_bridge() -> None:
    """Nothing listens, and it is closed again."""
    lab = Lab()
    lab.failing = ("open", OSError("no licence"))

    with pytest.raises(OSError, match="no licence"), Bridge(lab, port=0):
        pass

    assert lab.calls == ["open", "close"]


def test_the_end_does_not_wait_for_software_that_hangs() -> None:
    """It is left as it is; the process can end."""
    lab = Lab()
    lab.answer_s = 0.3
    lab.hanging = "get_state"
    bridge = Bridge(lab, port=0)
    with bridge, Caller(bridge) as caller:
        caller.error_of("get_state")
        started = time.monotonic()
    took_s = time.monotonic() - started
    lab.released.set()

    assert took_s < PATIENCE_S
    assert "close" not in lab.calls[:2]
