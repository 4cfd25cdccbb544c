"""Reading along on a control connection."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.frame import StagePosition
from focusd.protocol.sharksem import Message, encode_message
from focusd.protocol.sharksem_body import Value, encode_body
from focusd.protocol.sharksem_fold import ScanEnd, ScanFolder
from focusd.protocol.sharksem_functions import FUNCTIONS
from focusd.protocol.sharksem_parts import MessageSplitter
from focusd.sources.relay.column import ColumnKnowledge
from focusd.sources.relay.events import (
    ClientMoved,
    ConditionsChanged,
    PlaceChanged,
    RelayEvent,
    ScanEnded,
    ScanStarted,
    WorkingDistanceRead,
)
from focusd.sources.relay.watch import SessionWatch


class Conversation:
    """What passes between one client and the microscope."""

    def __init__(self, column: ColumnKnowledge | None = None) -> None:
        self.column = ColumnKnowledge() if column is None else column
        self.folder = ScanFolder()
        self.events: list[RelayEvent] = []
        self.watch = SessionWatch(1, self.column, self.folder, self.events.append)
        self._up, self._down = MessageSplitter(), MessageSplitter()

    def request(self, name: str, *values: Value, flags: int = 0, identification: int = 0) -> None:
        """Let a request pass."""
        self.request_bytes(encode_message(Message(name, encode_body(values), identification, flags)))

    def request_bytes(self, data: bytes) -> None:
        """Let bytes of requests pass."""
        for part in self._up.split(data):
            self.watch.request(part)

    def answer(self, name: str, *values: Value, identification: int = 0) -> None:
        """Let an answer pass."""
        self.answer_bytes(encode_message(Message(name, encode_body(values), identification)))

    def answer_bytes(self, data: bytes) -> None:
        """Let bytes of answers pass."""
        for part in self._down.split(data):
            self.watch.answer(part)

    def ask(self, name: str, *values: Value, asking: tuple[Value, ...] = ()) -> None:
        """Let a question and its answer pass."""
        self.request(name, *asking)
        self.answer(name, *values)


SCAN = (64, 64, 0, 0, 63, 63)


def test_answers_tell_what_the_microscope_is_at() -> None:
    """Each number ends where frames are labelled from, in focusd's units."""
    talk = Conversation()

    talk.ask("GetWD", 9.25)
    talk.ask("GetViewField", 0.5)
    talk.ask("HVGetVoltage", 5000.0)
    talk.ask("StgGetPosition", 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    talk.ask("ScEnumSpeeds", "speed.1.dwell=0.1\nspeed.2.dwell=3.2\n")
    talk.ask("ScGetSpeed", 2)
    talk.ask("DtEnumDetectors", "det.0.name=SE\ndet.0.detector=3\n")
    talk.ask("DtGetSelected", 3, asking=(7,))

    column = talk.column
    assert (column.working_distance_mm, column.field_of_view_mm) == (9.25, 0.5)
    assert (column.accelerating_voltage_kv, column.speed) == (5.0, 2)
    assert column.stage_position == StagePosition(1.0, 2.0, 3.0, 4.0, 5.0)
    assert column.speeds_us == {1: 0.1, 2: 3.2}
    assert column.detectors[talk.watch.detector(7) or 0] == "SE"
    assert talk.events == [WorkingDistanceRead(1, 9.25)]


def test_a_move_makes_the_reading_before_it_worthless() -> None:
    """Commanded is not read back, and an answer to an older question does not count."""
    talk = Conversation()
    talk.ask("GetWD", 9.0)
    talk.request("GetWD")
    talk.request("SetWD", 9.5)
    talk.answer("GetWD", 9.0)
    assert talk.column.working_distance_mm is None
    talk.ask("GetWD", 9.499)

    assert talk.column.working_distance_mm == 9.499
    assert talk.events == [
        WorkingDistanceRead(1, 9.0),
        ClientMoved(1, "SetWD", 9.5),
        WorkingDistanceRead(1, 9.499),
    ]


def test_a_move_of_one_client_counts_for_all() -> None:
    """There is one lens."""
    column = ColumnKnowledge()
    one, two = Conversation(column), Conversation(column)
    one.request("GetWD")
    two.request("AutoWD", 0)
    one.answer("GetWD", 9.0)

    assert column.working_distance_mm is None
    assert two.events == [ClientMoved(1, "AutoWD", None)]


def test_a_move_of_the_stage_makes_its_place_unknown() -> None:
    """Questions are no moves."""
    talk = Conversation()
    talk.ask("StgGetPosition", 1.0, 2.0, 3.0, 4.0, 5.0)
    talk.request("StgIsBusy")
    assert talk.column.stage_position is not None
    talk.request("StgGetPosition")
    talk.request("StgMoveTo", 3.0)
    talk.answer("StgGetPosition", 1.0, 2.0, 3.0, 4.0, 5.0)

    assert talk.column.stage_position is None
    assert talk.events == [PlaceChanged(1, "StgMoveTo")]


@pytest.mark.parametrize(
    ("name", "values", "is_told"),
    [
        ("SetViewField", (0.1,), True),
        ("HVSetVoltage", (10_000.0,), True),
        ("HVBeamOff", (), True),
        ("DtSetGainBlack", (1, 50.0, 50.0), True),
        ("SetNobodyKnows", (1, 2, 3), True),
        ("AutoNobodyKnows", (), True),
        ("GetNobodyKnows", (), False),
        ("GetSpotSize", (), False),
        ("ProgressShow", ("a", "b", 1, 1, 1, 1), False),
        ("ChamberLed", (1,), False),
    ],
)
def test_changes_are_told_questions_are_not(name: str, values: tuple[Value, ...], is_told: bool) -> None:
    """Also what nobody knows counts as a change when it is called one."""
    talk = Conversation()

    talk.request(name, *values)

    assert talk.events == ([ConditionsChanged(1, name)] if is_told else [])


def test_settings_are_taken_as_commanded() -> None:
    """Field of view, voltage and detector label frames until a reading says otherwise."""
    talk = Conversation()
    talk.request("SetViewField", 0.1)
    talk.request("HVSetVoltage", 10_000.0, 1)
    talk.request("DtSelect", 0, 4)
    talk.request("DtSelect", 99, 4)
    talk.request("ScSetSpeed", 3)

    assert (talk.column.field_of_view_mm, talk.column.accelerating_voltage_kv) == (0.1, 10.0)
    assert (talk.watch.detector(0), talk.watch.detector(99), talk.column.speed) == (4, None, 3)


def test_a_scan_is_followed() -> None:
    """Passed on, answered, stopped; a refusal is the answer to its own request."""
    talk = Conversation()
    talk.request("DtEnable", 2, 1, 8)
    talk.events.clear()
    talk.request("ScScanXY", 1, *SCAN, 0, 1000, identification=4)
    talk.request("ScScanXY", 2, *SCAN, 1, 1000, identification=5)
    talk.answer("ScScanXY", 0, identification=4)
    talk.answer("ScScanXY", -1, identification=5)
    assert talk.folder.active
    talk.request("ScStopScan", flags=0x0100)
    assert talk.folder.active
    talk.request("ScStopScan")

    assert not talk.folder.active
    started = [event.order.frame_id for event in talk.events if isinstance(event, ScanStarted)]
    ended = [(event.order.frame_id, event.how) for event in talk.events if isinstance(event, ScanEnded)]
    assert started == [1, 2]
    assert ended == [(2, ScanEnd.REFUSED), (1, ScanEnd.STOPPED)]


def test_what_the_microscope_will_drop_changes_nothing() -> None:
    """Broken arguments and answers nobody asked for are no news."""
    talk = Conversation()
    for name in ("SetWD", "ScScanXY", "ScScanLine", "SetViewField"):
        talk.request(name)
        talk.request(name, "not a number")
    talk.request("DtSelect", 1)
    talk.request("DtGetSelected")
    talk.request("ScScanXY", 1, 64, 64, 9, 9, 8, 8, 1)
    talk.answer("GetWD", 9.0)
    talk.answer("GetWD", identification=3)
    talk.ask("GetWD", "not a number")
    talk.ask("GetViewField")

    assert talk.column == ColumnKnowledge()
    assert not talk.folder.active
    assert talk.events == []


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(FUNCTIONS)), st.binary(max_size=60), st.integers(1, 40))
def test_nothing_that_passes_can_break_the_watch(name: str, body: bytes, cut: int) -> None:
    """Any body under any name, in any pieces, up and down."""
    talk = Conversation()
    data = encode_message(Message(name, body))

    for start in range(0, len(data), cut):
        talk.request_bytes(data[start : start + cut])
    for start in range(0, len(data), cut):
        talk.answer_bytes(data[start : start + cut])


def test_questions_that_are_never_answered_are_bounded() -> None:
    """The oldest are forgotten."""
    talk = Conversation()
    for _ in range(1000):
        talk.request("GetWD")

    assert len(talk.watch._asked) == 64
