"""Records as JSON."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.api.rendering import StatusRendering, encode, plain, status_json
from focusd.frame import ImagingConditions, StagePosition
from focusd.records import FrameVerdict, RefocusResult
from focusd.service.status import DaemonState, LinkStatus, Status
from tests.unit.api.fake_supervisor import baseline, verdict

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=100, deadline=None)
@given(sharpness=ANY_FLOAT, x_mm=st.none() | ANY_FLOAT, reason=st.text(st.characters(), max_size=40))
def test_whatever_a_frame_holds_is_json(sharpness: float, x_mm: float | None, reason: str) -> None:
    """Numbers that are not finite become null, and every text is UTF-8 on one line."""
    frame = verdict(1, sharpness=sharpness, reason=reason, stage_position=StagePosition(x_mm=x_mm))

    content = encode(plain(frame))

    read = json.loads(content, parse_constant=pytest.fail)
    assert content.count(b"\n") == 1
    assert read["sharpness"] == (sharpness if math.isfinite(sharpness) else None)
    if reason.isascii():
        assert read["reason"] == reason


def test_a_lone_surrogate_does_not_break_the_answer() -> None:
    """A microscope's text may hold anything; what cannot be written is replaced."""
    assert json.loads(encode(plain({"detector": "SE\udc80"}))) == {"detector": "SE?"}


def test_every_field_keeps_its_name() -> None:
    """One spelling in code and JSON, so that one search finds both."""
    names = {field.name for field in dataclasses.fields(FrameVerdict)}

    assert set(plain(verdict(1))) == names
    assert set(plain(baseline())) == {field.name for field in dataclasses.fields(baseline())} | {"condition"}
    assert set(plain(baseline())["conditions"]) == {
        field.name for field in dataclasses.fields(ImagingConditions)
    }


def test_enums_are_their_words() -> None:
    """And nothing of Python shows."""
    assert encode(plain({"result": RefocusResult.NO_PEAK, "done": True, "ids": (1, 2)})) == (
        b'{"result": "no_peak", "done": true, "ids": [1, 2]}\n'
    )


def test_what_has_no_json_form_is_a_bug() -> None:
    """It is not turned into some text or other."""
    with pytest.raises(TypeError, match="bytes"):
        plain({"pixels": b""})


def test_a_status_is_rendered_again_only_when_it_has_changed() -> None:
    """Equal snapshots share their text, others do not."""
    status = Status(
        state=DaemonState.MONITORING,
        version="1",
        started_at=1.0,
        updated_at=2.0,
        link=LinkStatus(connected=True, address="127.0.0.1:8300", since=1.0),
        limits_mm=(4.0, 30.0),
        last_verdict=verdict(1),
    )
    rendering = StatusRendering()

    first = rendering.of(status)

    assert json.loads(encode(first)) == status_json(status)
    assert rendering.of(dataclasses.replace(status)) is first
    changed = dataclasses.replace(status, last_verdict=verdict(2))
    assert json.loads(encode(rendering.of(changed)))["last_verdict"]["frame_id"] == 2
