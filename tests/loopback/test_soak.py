"""A few hours alone with drift and every kind of fault, in seconds: focusd keeps its promises."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from focusd.records import RefocusRecord, RefocusResult, RefocusTrigger
from tests.benchmarks import soak
from tests.benchmarks.soak_log import USABLE_DEPTHS, SoakLog, Usage
from tests.benchmarks.soak_run import soak as soak_for
from tests.benchmarks.soak_weather import DAY_S, TEXTURES, Trouble, changes_of_specimen, faults


async def test_hours_alone_break_no_promise(tmp_path: Path) -> None:
    """Whatever happens to link and lens: focusd lives, the lens is where it should be, frames are sharp."""
    log = await soak_for(days=0.17, frames=110, fault_count=len(Trouble), seed=1, folder=tmp_path)

    assert log.broken == []
    assert set(log.troubles) == set(Trouble)
    assert log.survived == log.outages >= 4
    assert log.results["refocused"] >= 2
    assert log.wrongly_refocused == 0
    assert log.frames.within_percent(USABLE_DEPTHS, log.frames.counts) >= soak.IN_FOCUS.floor
    assert log.growth(lambda one: one.files) <= soak.FLAT.floor
    assert log.growth(lambda one: one.tasks) <= soak.FLAT.floor


def test_two_weeks_hold_every_fault_and_other_specimens() -> None:
    """Faults come in the order of time and every kind as often; no specimen follows itself."""
    random = np.random.default_rng(3)
    events = faults(14 * DAY_S, 200, random)
    textures = [texture for _, texture in changes_of_specimen(14 * DAY_S, random)]

    assert [event.at_s for event in events] == sorted(event.at_s for event in events)
    kinds = [event.trouble for event in events]
    assert {kinds.count(kind) for kind in Trouble} == {25}
    assert set(textures) == set(TEXTURES)
    assert all(one != other for one, other in pairwise(textures))


@pytest.mark.parametrize(
    ("result", "lens_mm", "defocus_depths", "is_broken"),
    [
        (RefocusResult.NO_PEAK, 9.0, 6.0, False),
        (RefocusResult.LINK_LOST, 9.01, 0.4, False),
        (RefocusResult.LINK_LOST, 9.01, 6.0, True),
        (RefocusResult.WD_NOT_SETTABLE, 9.01, 6.0, False),
        (RefocusResult.REFOCUSED, 9.01, 0.4, False),
    ],
)
def test_a_lens_left_astray_is_told(
    result: RefocusResult, lens_mm: float, defocus_depths: float, is_broken: bool
) -> None:
    """After a refocus in vain the lens is in focus or where it stood, unless the microscope refused."""
    log = SoakLog()
    record = RefocusRecord(
        refocus_id=1,
        trigger=RefocusTrigger.REQUEST,
        method="spectral",
        metric="log_energy",
        condition="any",
        started_at=0.0,
        start_working_distance_mm=9.0,
        max_scans=14,
        result=result,
    )

    log.note_refocus(record, 0.0, lens_mm=lens_mm, defocus_depths=defocus_depths)

    assert bool(log.broken) == bool(log.lens_left_out) == is_broken


def test_growth_is_that_of_the_last_quarter_over_the_first() -> None:
    """What is filled once, in the warm-up, is no growth."""
    log = SoakLog(usages=[Usage(n, 50.0 if n < 10 else 100.0 + n // 50, 20, 9, 6) for n in range(100)])

    assert log.growth(lambda one: one.memory_mib) == 1.0
    assert log.growth(lambda one: one.threads) == 0.0


def test_a_soak_without_time_is_refused() -> None:
    """Nothing is run for no days at all."""
    with pytest.raises(ValueError, match="some days and frames"):
        soak.run(soak.SoakOptions(days=0.0))
