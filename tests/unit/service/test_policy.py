"""What follows from verdicts and from refocuses that failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from focusd.config import Config
from focusd.records import RefocusRecord, RefocusResult, RefocusTrigger, Verdict
from focusd.service.attempts import ELSEWHERE
from focusd.service.policy import BLIND_ALARMS, Policy
from tests.unit.api.fake_supervisor import verdict
from tests.unit.service.test_places import frame

CONFIG = Config.model_validate(
    {"microscope": {"limits": {"working_distance_mm": (4.0, 30.0)}}, "refocus": {"attempts": 2}}
)


def failed(frame_id: int) -> RefocusRecord:
    """Make the record of a refocus that found nothing."""
    return RefocusRecord(
        refocus_id=frame_id,
        trigger=RefocusTrigger.DRIFT,
        method="spectral",
        metric="log_energy",
        condition="",
        started_at=0.0,
        start_working_distance_mm=9.0,
        max_scans=6,
        result=RefocusResult.NO_PEAK,
        reason="nothing to see",
    )


@pytest.mark.parametrize(
    ("places_mm", "given_up_after"),
    [
        ([1.0] * 8, 2),
        ([float(i) for i in range(8)], 2 * ELSEWHERE),
        ([1.0, 2.0, 2.0], 3),
        ([None] * 4, 2),
    ],
)
def test_failures_stop_a_scan_later_than_a_place(places_mm: list[float | None], given_up_after: int) -> None:
    """Two in a row at one place, or where the stage tells none; three times as many at different ones."""
    policy = Policy(CONFIG)

    reasons = [policy.note(failed(i), frame(x_mm), 0.5) for i, x_mm in enumerate(places_mm)]

    assert [reason is not None for reason in reasons].index(True) + 1 == given_up_after
    assert policy.has_given_up


def test_an_operator_forgives() -> None:
    """After a word of theirs focusd tries again."""
    policy = Policy(CONFIG)
    for i in range(2):
        policy.note(failed(i), frame(1.0), 0.5)

    policy.forgive()

    assert not policy.has_given_up


def test_blind_alarms_in_a_row_are_answered_with_a_search() -> None:
    """One blind place is left alone; alarm upon alarm means that focus may be lost altogether."""
    policy = Policy(CONFIG)
    blind = replace(failed(1), result=RefocusResult.BLIND)
    lost = verdict(9, verdict=Verdict.OUT_OF_FOCUS)
    triggers = []
    for place in range(BLIND_ALARMS):
        triggers.append(policy.wanted(lost, frame(float(place)), is_awaited=True))
        policy.note(blind, frame(float(place)), None)
    triggers.append(policy.wanted(lost, frame(50.0), is_awaited=True))

    assert triggers == [RefocusTrigger.DRIFT] * BLIND_ALARMS + [RefocusTrigger.BLIND_ALARMS]
    policy.wanted(verdict(10), frame(51.0), is_awaited=True)
    assert policy.wanted(lost, frame(52.0), is_awaited=True) is RefocusTrigger.DRIFT
