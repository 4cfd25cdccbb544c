"""A wanted refocus waits for a checkpoint, for the end of a scan, or for nothing."""

from __future__ import annotations

import numpy as np
import pytest

from focusd.frame import Frame, ImagingConditions
from focusd.records import RefocusTrigger
from focusd.service.leases import Leases
from focusd.service.neighbours import Nobody
from focusd.service.pending import Due, Pending, PendingRefocus, WaitsFor
from tests.unit.api.fake_supervisor import verdict

FRAME = Frame(
    np.zeros((64, 64), np.uint8), ImagingConditions(64, 64, 8), working_distance_mm=9.0, acquired_at=0.0
)


def due(frame_id: int = 7) -> Due:
    """A refocus that a frame has called for."""
    return Due(RefocusTrigger.DRIFT, verdict(frame_id), FRAME, is_own=False)


@pytest.mark.parametrize(
    ("at_checkpoints", "at_one", "leased", "waits_for"),
    [
        (False, False, False, WaitsFor.START),
        (False, True, False, WaitsFor.START),
        (False, False, True, WaitsFor.SCAN_LEASE),
        (True, False, False, WaitsFor.CHECKPOINT),
        (True, True, False, WaitsFor.START),
        (True, True, True, WaitsFor.SCAN_LEASE),
    ],
)
async def test_it_begins_only_when_nothing_keeps_it(
    at_checkpoints: bool, at_one: bool, leased: bool, waits_for: WaitsFor
) -> None:
    """A scan lease goes before everything."""
    leases = Leases()
    pending = Pending(leases, Nobody(), at_checkpoints=at_checkpoints)
    wanted = pending.want(due())
    if leased:
        leases.take("montage", 60.0)

    if at_one:
        with pending.checkpoint():
            assert pending.waits_for is waits_for
            assert pending.begin() is (wanted if waits_for is WaitsFor.START else None)
    else:
        assert pending.waits_for is waits_for
        assert pending.begin() is (wanted if waits_for is WaitsFor.START else None)


async def test_the_first_alarm_is_kept_and_a_dropped_one_is_told() -> None:
    """The first knows when drift began; whoever waits for one that is not wanted any more is let go."""
    pending = Pending(Leases(), Nobody(), at_checkpoints=True)
    first = pending.want(due(7))

    assert pending.want(due(8)) is first
    assert pending.shown is not None
    assert pending.shown.frame_id == 7
    pending.drop("a frame was in focus")
    assert await first.ended is None
    assert [pending.due, pending.shown, pending.waits_for, pending.next] == [None] * 4


async def test_it_comes_next_until_it_has_ended() -> None:
    """Whoever wants to scan waits for one that is about to begin, and for one that has just begun."""
    pending = Pending(Leases(), Nobody(), at_checkpoints=False)
    wanted = pending.want(due())

    assert pending.next is wanted
    assert pending.begin() is wanted
    assert pending.next is wanted
    assert pending.shown == PendingRefocus(RefocusTrigger.DRIFT, 7, WaitsFor.START)
    wanted.end(None)
    assert pending.next is None
    assert pending.shown is None
