"""Frames become verdicts; only frames that say something about focus teach or trigger anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from focusd.config import BaselineSettings, DriftSettings
from focusd.frame import Frame, ImagingConditions
from focusd.records import Baseline, FrameVerdict, Verdict
from focusd.service import monitor as monitor_module
from focusd.service.monitor import Monitor
from focusd.store.database import Store, open_store
from tests.fake_microscope import REQUEST, FakeMicroscope


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Give an empty store."""
    async with open_store(tmp_path, max_frames=1000) as store:
        yield store


DRIFT = DriftSettings(frames_below=2, frames_window=3, lost_signal_frames=4)


def make_monitor(store: Store, *, drift: DriftSettings = DRIFT, **baseline: object) -> Monitor:
    """Build a monitor that learns from three frames and alarms at two of three."""
    settings = BaselineSettings(**({"policy": "learn", "learn_frames": 3} | baseline))  # type: ignore[arg-type]
    return Monitor(store, drift, settings, refocus_metric="log_energy")


async def judge(monitor: Monitor, microscope: FakeMicroscope, defocus_um: float = 0.0) -> Verdict:
    """Judge one frame taken so far from focus."""
    microscope.working_distance_mm = microscope.best_focus_mm + defocus_um / 1000
    return (await monitor.judge(await microscope.scan(REQUEST))).verdict


async def test_learns_and_then_notices_that_focus_is_lost(store: Store) -> None:
    """After the learning frames, one blurred frame is a suspicion and two are a loss."""
    monitor, microscope = make_monitor(store), FakeMicroscope()

    verdicts = [await judge(monitor, microscope) for _ in range(4)]
    verdicts += [await judge(monitor, microscope, 10.0) for _ in range(2)]

    assert verdicts == [
        *[Verdict.LEARNING] * 3,
        Verdict.IN_FOCUS,
        Verdict.SUSPECT,
        Verdict.OUT_OF_FOCUS,
    ]


async def test_names_the_first_frame_to_take_again(store: Store) -> None:
    """A loss of focus says from which frame on the pictures are blurred."""
    monitor, microscope = make_monitor(store), FakeMicroscope()
    for _ in range(4):
        await judge(monitor, microscope)
    await judge(monitor, microscope, 10.0)

    microscope.working_distance_mm = microscope.best_focus_mm + 0.01
    verdict = await monitor.judge(await microscope.scan(REQUEST))

    assert verdict.reacquire_from == verdict.frame_id - 1


async def test_frames_that_say_nothing_neither_trigger_nor_teach(store: Store) -> None:
    """Blank frames among the learning ones and after them change nothing."""
    monitor, microscope = make_monitor(store), FakeMicroscope()
    blank = FakeMicroscope(blanked=True)

    verdicts = [await judge(monitor, blank) for _ in range(5)]
    assert verdicts == [Verdict.UNJUDGEABLE] * 5
    assert monitor.baseline is None

    verdicts = [await judge(monitor, microscope) for _ in range(3)]
    verdicts += [await judge(monitor, blank) for _ in range(5)]
    verdicts.append(await judge(monitor, microscope))
    assert verdicts[-1] is Verdict.IN_FOCUS


async def test_a_baseline_survives_a_restart(tmp_path: Path) -> None:
    """The reference of a condition is found again by the next daemon."""
    microscope = FakeMicroscope()
    async with open_store(tmp_path, max_frames=100) as store:
        monitor = make_monitor(store)
        for _ in range(3):
            await judge(monitor, microscope)

    async with open_store(tmp_path, max_frames=100) as store:
        assert await judge(make_monitor(store), microscope) is Verdict.IN_FOCUS


async def test_policy_manual_waits_for_the_operator(store: Store) -> None:
    """Nothing is learnt until the operator captures a baseline."""
    monitor, microscope = make_monitor(store, policy="manual"), FakeMicroscope()

    verdicts = [await judge(monitor, microscope) for _ in range(5)]
    assert verdicts == [Verdict.LEARNING] * 5
    captured = await monitor.capture()
    assert captured is not None
    assert captured.source == "operator"
    assert await judge(monitor, microscope) is Verdict.IN_FOCUS


async def test_capture_needs_a_frame_that_can_be_judged(store: Store) -> None:
    """Without a judgeable frame there is nothing to capture."""
    monitor = make_monitor(store, policy="manual")
    await judge(monitor, FakeMicroscope(blanked=True))

    assert await monitor.capture() is None


async def test_a_verified_refocus_teaches_once(store: Store) -> None:
    """Under policy autofocus the first verified picture becomes the baseline; a later one does not."""
    monitor, microscope = make_monitor(store, policy="autofocus"), FakeMicroscope()
    frame = await microscope.scan(REQUEST)
    assert monitor.wants_reference
    await monitor.adopt(frame.conditions, await monitor.measure(frame), 9.0)
    first = monitor.baseline
    microscope.working_distance_mm = 9.006
    blurred = await microscope.scan(REQUEST)

    await monitor.adopt(blurred.conditions, await monitor.measure(blurred), 9.006)

    assert first is not None
    assert first.source == "refocus"
    assert monitor.baseline == first


async def test_learnt_frames_never_replace_a_baseline(store: Store) -> None:
    """Policy learn: blurred frames after the baseline change nothing, also after a restart."""
    monitor, microscope = make_monitor(store), FakeMicroscope()
    for _ in range(3):
        await judge(monitor, microscope)
    first = monitor.baseline
    monitor = make_monitor(store)

    for _ in range(9):
        await judge(monitor, microscope, 5.0)

    assert first is not None
    assert monitor.baseline == first
    assert await store.baselines.list() == [first]


@pytest.mark.parametrize("policy", ["learn", "autofocus"])
async def test_a_baseline_without_the_metric_is_completed_not_replaced(store: Store, policy: str) -> None:
    """With another drift metric the operator's figures stay, and the one that lacks is added."""
    monitor, microscope = make_monitor(store, policy=policy), FakeMicroscope()
    frame = await microscope.scan(REQUEST)
    await monitor.put(Baseline(frame.conditions, {"log_energy": 123.0}, "operator", created_at=0.0, frames=1))

    before = [await judge(monitor, microscope) for _ in range(3)]
    if policy == "autofocus":
        assert monitor.wants_reference
        await monitor.adopt(frame.conditions, await monitor.measure(frame), 9.0)
    after = await judge(monitor, microscope)

    assert before == [Verdict.LEARNING] * 3
    assert after is Verdict.IN_FOCUS
    assert not monitor.wants_reference
    assert monitor.baseline is not None
    assert monitor.baseline.sharpness["log_energy"] == 123.0
    assert monitor.baseline.sharpness["band_ratio"] > 0.0


async def test_the_operator_may_make_a_baseline_worse(store: Store) -> None:
    """A captured frame replaces all that was known, for the worse too."""
    monitor, microscope = make_monitor(store), FakeMicroscope()
    for _ in range(3):
        await judge(monitor, microscope)
    first = monitor.baseline
    await judge(monitor, microscope, 5.0)

    captured = await monitor.capture()

    assert first is not None
    assert captured is not None
    assert all(captured.sharpness[name] < value for name, value in first.sharpness.items())
    assert monitor.baseline == captured


async def test_a_picture_that_cannot_be_judged_is_never_adopted(store: Store) -> None:
    """Even a refocus that calls itself a success makes no baseline of a blank picture."""
    monitor = make_monitor(store, policy="autofocus")
    frame = await FakeMicroscope(blanked=True).scan(REQUEST)

    await monitor.adopt(frame.conditions, await monitor.measure(frame), 9.0)

    assert monitor.baseline is None
    assert await store.baselines.list() == []


async def test_delete_starts_learning_again(store: Store) -> None:
    """A forgotten baseline is learnt anew."""
    monitor, microscope = make_monitor(store), FakeMicroscope()
    for _ in range(3):
        await judge(monitor, microscope)
    assert monitor.baseline is not None

    assert await monitor.delete(monitor.baseline.condition)

    assert await judge(monitor, microscope) is Verdict.LEARNING
    assert not await monitor.delete("no-such-condition")


async def test_operator_may_set_any_baseline(store: Store) -> None:
    """A baseline set by hand is used from the next frame on."""
    monitor, microscope = make_monitor(store, policy="manual"), FakeMicroscope()
    frame = await microscope.scan(REQUEST)
    await monitor.judge(frame)
    score = (await monitor.measure(frame)).scores["band_ratio"].value

    await monitor.put(
        Baseline(frame.conditions, {"band_ratio": score * 100}, source="operator", created_at=0.0, frames=1)
    )

    assert await judge(monitor, microscope) is Verdict.SUSPECT
    assert (await store.baselines.list())[0].sharpness["band_ratio"] == pytest.approx(score * 100)


@pytest.mark.parametrize("detector", ["both", "ratio", "cusum", "ewma"])
async def test_any_detector_may_be_chosen(store: Store, detector: str) -> None:
    """Each notices a marked loss within 20 frames, and says from where on to take frames again."""
    drift = DRIFT.model_copy(update={"detector": detector})
    monitor, microscope = make_monitor(store, drift=drift), FakeMicroscope()
    for _ in range(6):
        assert await judge(monitor, microscope) in {Verdict.LEARNING, Verdict.IN_FOCUS}

    microscope.working_distance_mm += 0.010
    verdicts = [await monitor.judge(await microscope.scan(REQUEST)) for _ in range(20)]

    alarms = [one for one in verdicts if one.verdict is Verdict.OUT_OF_FOCUS]
    assert alarms
    assert alarms[0].reacquire_from == verdicts[0].frame_id


async def test_signal_that_is_lost_altogether_is_a_suspicion(store: Store) -> None:
    """So far from focus that next to nothing shows, the fourth frame too faint to judge asks for a look."""
    monitor, microscope = make_monitor(store), FakeMicroscope(electrons_per_pixel=10.0)
    for _ in range(5):
        await judge(monitor, microscope)

    microscope.working_distance_mm = microscope.best_focus_mm + 0.08
    verdicts = [await monitor.judge(await microscope.scan(REQUEST)) for _ in range(5)]

    assert [(one.verdict, one.reason) for one in verdicts] == [
        *[(Verdict.UNJUDGEABLE, "no_signal")] * 3,
        (Verdict.OUT_OF_FOCUS, "lost_signal"),
        (Verdict.UNJUDGEABLE, "no_signal"),
    ]
    assert verdicts[3].reacquire_from == verdicts[0].frame_id
    assert verdicts[3].sharpness is None


async def test_empty_frames_are_no_lost_signal(store: Store) -> None:
    """However many frames show nothing at all, as empty resin does, nobody is asked to look."""
    monitor, microscope = make_monitor(store), FakeMicroscope(electrons_per_pixel=10.0)
    for _ in range(5):
        await judge(monitor, microscope)

    assert {await judge(monitor, microscope, 400.0) for _ in range(12)} == {Verdict.UNJUDGEABLE}


async def test_the_reference_follows_the_content_and_the_baseline_stays(store: Store) -> None:
    """Frames found in focus move what the next are compared with; what is stored keeps its meaning."""
    monitor, microscope = make_monitor(store, policy="manual"), FakeMicroscope()
    frame = await microscope.scan(REQUEST)
    await monitor.judge(frame)
    sharpness = (await monitor.measure(frame)).scores["band_ratio"].value
    stored = Baseline(
        frame.conditions, {"band_ratio": 1.15 * sharpness}, source="operator", created_at=0.0, frames=1
    )
    await monitor.put(stored)

    verdicts = [await monitor.judge(await microscope.scan(REQUEST)) for _ in range(15)]

    assert verdicts[0].baseline_sharpness == pytest.approx(1.15 * sharpness)
    assert verdicts[-1].baseline_sharpness == pytest.approx(sharpness, rel=0.05)
    last = verdicts[-1]
    assert last.sharpness is not None
    assert last.ratio == pytest.approx(last.sharpness / (last.baseline_sharpness or 0.0))
    assert monitor.baseline == stored


async def test_blurred_frames_cannot_drag_the_reference_along(store: Store) -> None:
    """A slow loss is noticed however long the reference has had to get used to it."""
    monitor, microscope = make_monitor(store, learn_frames=1), FakeMicroscope()

    verdicts = [await judge(monitor, microscope, 0.1 * i) for i in range(80)]

    assert Verdict.OUT_OF_FOCUS in verdicts


async def test_figures_of_the_frame_and_a_changed_gain_are_reported(store: Store) -> None:
    """Brightness that jumps is a note on a frame that is judged all the same, and does not teach."""
    monitor, microscope = make_monitor(store), FakeMicroscope()
    frames = [await microscope.scan(REQUEST) for _ in range(8)]
    steady = [await monitor.judge(frame) for frame in frames]
    brighter = np.clip(frames[-1].pixels + np.float64(50.0), 0, 255).astype(np.uint8)

    changed = await monitor.judge(replace(frames[-1], pixels=brighter))

    assert {one.reason for one in steady} == {None}
    assert (changed.verdict, changed.reason) == (Verdict.IN_FOCUS, "gain_changed")
    assert changed.mean_level == pytest.approx(brighter.mean())
    assert changed.contrast == pytest.approx(brighter.std() / 255.0)
    assert changed.dark_fraction == 0.0
    again = await store.frames.get(changed.frame_id)
    assert again == changed


async def test_frames_are_judged_in_the_order_they_come(store: Store) -> None:
    """Small frames wait for the large one before them, however long it takes; one given up is left out."""
    monitor = make_monitor(store)
    large, small = np.zeros((4096, 4096), np.uint8), np.zeros((64, 64), np.uint8)
    frames = [
        Frame(pixels, ImagingConditions(*pixels.shape, 8), None, float(number))
        for number, pixels in enumerate((large, small, small, large, small))
    ]

    judging = [asyncio.create_task(monitor.judge(frame)) for frame in frames]
    await asyncio.sleep(0)
    judging[1].cancel()
    done = await asyncio.gather(*judging, return_exceptions=True)

    verdicts = [one for one in done if isinstance(one, FrameVerdict)]
    assert [verdict.acquired_at for verdict in verdicts] == [0.0, 2.0, 3.0, 4.0]
    assert [verdict.frame_id for verdict in verdicts] == [1, 2, 3, 4]


async def test_so_many_conditions_are_followed_and_no_more(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label of its own for each tile fills no memory, and a condition that comes again has its baseline."""
    monkeypatch.setattr(monitor_module, "MOST_WATCHES", 3)
    monitor, microscope = make_monitor(store), FakeMicroscope()
    frame = await microscope.scan(REQUEST)
    labelled = [replace(frame, conditions=replace(frame.conditions, label=f"tile {n}")) for n in range(5)]
    for _ in range(3):
        await monitor.judge(labelled[0])

    for one in labelled[1:]:
        await monitor.judge(one)

    assert len(monitor._watches) == 3
    assert (await monitor.judge(labelled[0])).verdict is Verdict.IN_FOCUS
