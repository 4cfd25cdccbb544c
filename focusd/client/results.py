"""What the daemon tells, as frozen values; each is read from a JSON object, whose other keys are ignored.

Names, units and meanings are those of the HTTP interface. Words such as a verdict are plain strings, because
a newer daemon may know more of them than this client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from focusd.client.failures import StrangerError

Json = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FrameVerdict:
    """One frame as it was judged."""

    frame_id: int
    verdict: str
    """``learning``, ``in_focus``, ``suspect``, ``out_of_focus`` or ``unjudgeable``."""
    reason: str | None
    """Why it is unjudgeable, or what is odd about it."""
    sharpness: float | None
    baseline_sharpness: float | None
    ratio: float | None
    """Sharpness over what it was compared with."""
    reacquire_from: int | None
    """When out of focus: the first frame of the run of frames below the baseline."""

    @property
    def is_in_focus(self) -> bool:
        """Whether the frame was found in focus."""
        return self.verdict == "in_focus"


@dataclass(frozen=True, slots=True)
class Refocus:
    """One refocus; ``result`` is ``None`` while it goes on."""

    refocus_id: int
    trigger: str
    """``drift``, ``blind_alarms``, ``first_frame`` or ``request``."""
    result: str | None
    reason: str
    start_working_distance_mm: float | None
    final_working_distance_mm: float | None
    duration_s: float | None

    @property
    def is_success(self) -> bool:
        """Whether the picture is known to be in focus afterwards."""
        return self.result in {"refocused", "confirmed_in_focus"}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one frame."""

    verdict: FrameVerdict
    refocus: Refocus | None
    """The refocus that was waited for, if the frame led to one."""
    reacquire_from: int | None
    """After a refocus: take again all frames from this ``frame_id`` on; ``None``: none need be."""
    waits_for: str | None
    """What a wanted refocus waits for: ``checkpoint``, ``scan_lease``, ``client_scan`` or ``start``."""

    @property
    def frame_id(self) -> int:
        """The daemon's number of the frame."""
        return self.verdict.frame_id


@dataclass(frozen=True, slots=True)
class PredictedFocus:
    """Where focus is expected at one place of the stage."""

    x_mm: float
    y_mm: float
    working_distance_mm: float
    standard_deviation_um: float
    applied: bool = False
    """At a checkpoint: whether the lens was moved there."""
    reason: str = ""
    """Why it was not."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was done between two tiles."""

    action: str
    """``none``, how the refocus ended, or ``moved``: to the focus predicted for the next tile."""
    reacquire_from: int | None
    """After a refocus: take again all frames from this ``frame_id`` on."""
    working_distance_mm: float | None
    """Where the lens stands after that."""
    refocus: Refocus | None
    prediction: PredictedFocus | None
    """For the next tile, where its position was told and there is anything to go by."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """That acquisition may go on."""

    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Status:
    """The daemon at one moment."""

    state: str
    """``disconnected``, ``learning``, ``monitoring``, ``suspect``, ``pending``, ``refocusing``, ``degraded``,
    or ``paused``."""
    reason: str
    """Why it is paused, degraded or disconnected."""
    version: str
    is_connected: bool
    """To the microscope."""
    working_distance_mm: float | None
    """As read back."""
    last_verdict: FrameVerdict | None
    last_refocus: Refocus | None
    current_refocus: Refocus | None
    waits_for: str | None
    """What a refocus that is wanted waits for; ``None``: none is wanted."""
    frames_judged: int


def read_verdict(body: Json) -> FrameVerdict:
    """Read the verdict on one frame; ``StrangerError`` if it is none."""
    return FrameVerdict(
        frame_id=_whole(body, "frame_id"),
        verdict=_text(body, "verdict"),
        reason=_text_or_none(body, "reason"),
        sharpness=_number(body, "sharpness"),
        baseline_sharpness=_number(body, "baseline_sharpness"),
        ratio=_number(body, "ratio"),
        reacquire_from=_whole_or_none(body, "reacquire_from"),
    )


def read_refocus(body: Json) -> Refocus:
    """Read a refocus; ``StrangerError`` if it is none."""
    return Refocus(
        refocus_id=_whole(body, "refocus_id"),
        trigger=_text(body, "trigger"),
        result=_text_or_none(body, "result"),
        reason=_text(body, "reason"),
        start_working_distance_mm=_number(body, "start_working_distance_mm"),
        final_working_distance_mm=_number(body, "final_working_distance_mm"),
        duration_s=_number(body, "duration_s"),
    )


def read_judgement(body: Json) -> Judgement:
    """Read what became of a frame; ``StrangerError`` if it is something else."""
    return Judgement(
        verdict=read_verdict(_object(body, "verdict")),
        refocus=_optional(body, "refocus", read_refocus),
        reacquire_from=_whole_or_none(body, "reacquire_from"),
        waits_for=_text_or_none(body, "waits_for"),
    )


def read_checkpoint(body: Json) -> Checkpoint:
    """Read what was done at a checkpoint; ``StrangerError`` if it is something else."""
    return Checkpoint(
        action=_text(body, "action"),
        reacquire_from=_whole_or_none(body, "reacquire_from"),
        working_distance_mm=_number(body, "working_distance_mm"),
        refocus=_optional(body, "refocus", read_refocus),
        prediction=_optional(body, "prediction", _read_prediction),
    )


def read_predictions(body: Json) -> list[PredictedFocus]:
    """Read where focus is expected; ``StrangerError`` if it is something else."""
    predictions = body.get("predictions")
    if not isinstance(predictions, list) or not all(isinstance(one, dict) for one in predictions):
        raise _strange("predictions", predictions)
    return [_read_prediction(one) for one in predictions]


def _read_prediction(body: Json) -> PredictedFocus:
    return PredictedFocus(
        x_mm=_real(body, "x_mm"),
        y_mm=_real(body, "y_mm"),
        working_distance_mm=_real(body, "working_distance_mm"),
        standard_deviation_um=_real(body, "standard_deviation_um"),
        applied=body.get("applied") is True,
        reason=_text_or_none(body, "reason") or "",
    )


def read_readiness(body: Json) -> Readiness:
    """Read that acquisition may go on; ``StrangerError`` if it is something else."""
    return Readiness(state=_text(body, "state"), reason=_text(body, "reason"))


def read_status(body: Json) -> Status:
    """Read the status; ``StrangerError`` if it is none."""
    pending = _optional(body, "pending_refocus", lambda found: _text(found, "waits_for"))
    return Status(
        state=_text(body, "state"),
        reason=_text(body, "reason"),
        version=_text(body, "version"),
        is_connected=_object(body, "link").get("connected") is True,
        working_distance_mm=_number(body, "working_distance_mm"),
        last_verdict=_optional(body, "last_verdict", read_verdict),
        last_refocus=_optional(body, "last_refocus", read_refocus),
        current_refocus=_optional(body, "current_refocus", read_refocus),
        waits_for=pending,
        frames_judged=_whole(_object(body, "counters"), "frames_judged"),
    )


def read_lease_id(body: Json) -> str:
    """Read the name of a scan lease; ``StrangerError`` if it is something else."""
    return _text(body, "lease_id")


def _strange(name: str, value: object) -> StrangerError:
    return StrangerError(f"focusd's answer has no usable {name!r}: {str(value)[:80]}")


def _object(body: Json, name: str) -> Json:
    value = body.get(name)
    if not isinstance(value, dict):
        raise _strange(name, value)
    return value


def _optional(body: Json, name: str, read: Callable[[Json], T]) -> T | None:
    return None if body.get(name) is None else read(_object(body, name))


def _text(body: Json, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise _strange(name, value)
    return value


def _text_or_none(body: Json, name: str) -> str | None:
    return None if body.get(name) is None else _text(body, name)


def _number(body: Json, name: str) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _strange(name, value)
    return float(value)


def _real(body: Json, name: str) -> float:
    value = _number(body, name)
    if value is None:
        raise _strange(name, value)
    return value


def _whole(body: Json, name: str) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _strange(name, value)
    return value


def _whole_or_none(body: Json, name: str) -> int | None:
    return None if body.get(name) is None else _whole(body, name)
