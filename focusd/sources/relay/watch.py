"""Reading along on a control connection: what the client changes, asks and is told.

Nothing here holds up or alters a byte. A message that does not hold what its name promises is ignored, as
the microscope itself will ignore it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from focusd.errors import RemoteProtocolError
from focusd.frame import StagePosition
from focusd.microscope.sharksem_values import V_PER_KV, detector_names, speeds_us
from focusd.protocol.sharksem import Flag
from focusd.protocol.sharksem_body import parse_map
from focusd.protocol.sharksem_fold import ScanFolder
from focusd.protocol.sharksem_functions import FUNCTIONS
from focusd.protocol.sharksem_orders import SCAN_REQUESTS, ScanOrder, decode_order
from focusd.protocol.sharksem_parts import BodyCollector, Head, Part
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

LENS_MOVES: Final = frozenset({"SetWD", "AutoWD", "AutoWDFine"})
STAGE_QUESTIONS: Final = ("StgGet", "StgIs", "StgEnum")
CONDITIONS: Final = frozenset(
    {"DtSelect", "DtEnable", "DtSetGainBlack", "DtAutoSignal", "HVSetVoltage", "HVBeamOn", "HVBeamOff"}
    | {"SMSetMode", "ScSetSpeed", "ScLUTSrcSet", "ScLUTParSet", "ScSetBlanker", "ScSetExternal", "Degauss"}
)
"""Beside these, everything called Set... or Auto... changes the conditions unless it moves lens or place."""
_LONGEST_REQUEST: Final = 4096
_LONGEST_ANSWER: Final = 65_536
_MAX_OPEN: Final = 64
_MAX_CHANNELS: Final = 64


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question whose answer is wanted, with what was so when it was passed on."""

    head: Head
    order: ScanOrder | None = None
    channel: int = 0
    moves: int = 0
    journeys: int = 0


class SessionWatch:
    """Reads along on one client's control connection.

    Args:
        session: The client's number.
        column: What is known of the microscope, shared by all sessions.
        folder: Told of scans.
        tell: Takes the events.
    """

    def __init__(
        self, session: int, column: ColumnKnowledge, folder: ScanFolder, tell: Callable[[RelayEvent], None]
    ) -> None:
        self._session = session
        self._column = column
        self._folder = folder
        self._tell = tell
        self._detectors: dict[int, int] = {}
        self._enabled: dict[int, bool] = {}
        self._asked: deque[_Asked] = deque(maxlen=_MAX_OPEN)
        self._requests = BodyCollector(dict.fromkeys(FUNCTIONS, _LONGEST_REQUEST))
        self._answers = BodyCollector(dict.fromkeys(_ANSWERS, _LONGEST_ANSWER))

    def detector(self, channel: int) -> int | None:
        """Give the number of the detector on a channel, as far as it is known."""
        return self._detectors.get(channel)

    def request(self, part: Part) -> None:
        """Take note of what is passed on to the microscope."""
        body = self._requests.add(part)
        if part.ends:
            try:
                self._on_request(part.head, body)
            except RemoteProtocolError:
                # Nor will the microscope make anything of it.
                return

    def answer(self, part: Part) -> None:
        """Take note of what is passed back to the client."""
        body = self._answers.add(part)
        if body is not None:
            try:
                self._on_answer(part.head, body)
            except RemoteProtocolError:
                return

    def tell_ended_scans(self) -> None:
        """Tell of scans that have ended since the last call."""
        for order, how in self._folder.take_ended():
            self._tell(ScanEnded(self._session, order, how))

    # --- requests ---

    def _on_request(self, head: Head, body: bytes | None) -> None:
        name = head.name
        if name in LENS_MOVES:
            self._on_move(name, body)
        elif name in SCAN_REQUESTS:
            self._on_scan(head, body)
        elif name == "ScStopScan":
            # One that waits for the end of the scan (A) stops nothing.
            if not head.flags & Flag.WAIT_A:
                self._folder.stop()
                self.tell_ended_scans()
        elif name in _QUESTIONS:
            self._on_question(head, body)
        elif name == "SetImageShift" or (name.startswith("Stg") and not name.startswith(STAGE_QUESTIONS)):
            self._column.forget_stage_position()
            self._tell(PlaceChanged(self._session, name))
        elif name in CONDITIONS or name.startswith(("Set", "Auto")):
            self._note_setting(name, body)
            self._tell(ConditionsChanged(self._session, name))

    def _on_move(self, name: str, body: bytes | None) -> None:
        values = _arguments(name, body)
        self._column.forget_working_distance()
        self._tell(ClientMoved(self._session, name, float(values[0]) if name == "SetWD" else None))

    def _on_scan(self, head: Head, body: bytes | None) -> None:
        order = decode_order(head.name, body or b"")
        self._asked.append(_Asked(head, order=order))
        self._folder.expect(order, {channel for channel, on in self._enabled.items() if on})
        self._tell(ScanStarted(self._session, order))
        self.tell_ended_scans()

    def _on_question(self, head: Head, body: bytes | None) -> None:
        channel = int(_arguments(head.name, body)[0]) if head.name == "DtGetSelected" else 0
        column = self._column
        self._asked.append(_Asked(head, channel=channel, moves=column.moves, journeys=column.journeys))

    def _note_setting(self, name: str, body: bytes | None) -> None:
        """Remember a value that is commanded, as far as frames are labelled with it."""
        if name not in _SETTINGS:
            return
        values = _arguments(name, body)
        match name:
            case "SetViewField":
                self._column.field_of_view_mm = float(values[0])
            case "HVSetVoltage":
                self._column.accelerating_voltage_kv = float(values[0]) / V_PER_KV
            case "ScSetSpeed":
                self._column.speed = int(values[0])
            case _:
                self._note_channel(name, *(int(value) for value in values[:2]))

    def _note_channel(self, name: str, channel: int, value: int) -> None:
        if not 0 <= channel < _MAX_CHANNELS:
            return
        if name == "DtSelect":
            self._detectors[channel] = value
        else:
            self._enabled[channel] = bool(value)

    # --- answers ---

    def _on_answer(self, head: Head, body: bytes) -> None:
        asked = self._take_asked(head)
        if asked is None:
            return
        values = FUNCTIONS[head.name].answer.decode(body)
        if asked.order is not None:
            self._folder.answered(asked.order, int(values[0]))
            self.tell_ended_scans()
        else:
            self._learn(asked, values)

    def _take_asked(self, head: Head) -> _Asked | None:
        """Find the question; answers come in the order of execution, so older ones stay unanswered."""
        for asked in self._asked:
            if (asked.head.name, asked.head.identification) == (head.name, head.identification):
                self._asked.remove(asked)
                return asked
        return None

    def _learn(self, asked: _Asked, values: list[int | float | str]) -> None:
        column, first = self._column, values[0]
        match asked.head.name:
            case "GetWD" if asked.moves == column.moves:
                column.working_distance_mm = float(first)
                self._tell(WorkingDistanceRead(self._session, float(first)))
            case "StgGetPosition" if asked.journeys == column.journeys:
                column.stage_position = StagePosition(*(float(value) for value in values[:5]))
            case "GetViewField":
                column.field_of_view_mm = float(first)
            case "HVGetVoltage":
                column.accelerating_voltage_kv = float(first) / V_PER_KV
            case "ScGetSpeed":
                column.speed = int(first)
            case "DtGetSelected":
                self._note_channel("DtSelect", asked.channel, int(first))
            case "DtEnumDetectors":
                column.detectors = detector_names(parse_map(str(first)))
            case "ScEnumSpeeds":
                column.speeds_us = speeds_us(parse_map(str(first)))


_SETTINGS: Final = frozenset({"SetViewField", "HVSetVoltage", "ScSetSpeed", "DtSelect", "DtEnable"})
_QUESTIONS: Final = frozenset(
    {"GetWD", "GetViewField", "HVGetVoltage", "StgGetPosition", "ScGetSpeed", "ScEnumSpeeds"}
    | {"DtGetSelected", "DtEnumDetectors"}
)
_ANSWERS: Final = _QUESTIONS | SCAN_REQUESTS


def _arguments(name: str, body: bytes | None) -> list[int | float | str]:
    """Read a request's arguments.

    Raises:
        RemoteProtocolError: they are not there.
    """
    return FUNCTIONS[name].request.decode(body or b"")
