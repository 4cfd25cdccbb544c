"""What each part of the service does while nothing can be written down."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from focusd.config import BaselineSettings, Config, DriftSettings
from focusd.errors import StoreError
from focusd.frame import FrameFile
from focusd.records import RefocusTrigger, Verdict
from focusd.service.desk import RefocusDesk
from focusd.service.monitor import Monitor
from focusd.service.storewatch import StoreWatch
from focusd.service.supervisor import initial_board
from focusd.service.surface import Surfaces
from focusd.sources.scan import ScanSource
from focusd.store.database import Store, open_store
from tests.fake_microscope import REQUEST, FakeMicroscope
from tests.faulty_disk import FaultyDisk, faulty_disk


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    """Give the disk under the store."""
    return faulty_disk(monkeypatch)


@pytest_asyncio.fixture
async def store(disk: FaultyDisk, tmp_path: Path) -> AsyncIterator[Store]:
    """Give an empty store on that disk."""
    async with open_store(tmp_path, max_frames=1000) as store:
        yield store


def make_monitor(store: Store) -> Monitor:
    """Build a monitor that learns from three frames."""
    baseline = BaselineSettings(policy="learn", learn_frames=3)
    return Monitor(store, DriftSettings(), baseline, refocus_metric="log_energy")


async def test_a_baseline_that_cannot_be_kept_is_learnt_when_it_can(store: Store, disk: FaultyDisk) -> None:
    """Frames teach on a full disk; the first after it is mended makes the baseline."""
    monitor, microscope = make_monitor(store), FakeMicroscope()
    disk.code = sqlite3.SQLITE_FULL
    full = [await monitor.judge(await microscope.scan(REQUEST)) for _ in range(5)]
    without = monitor.baseline
    disk.code = None
    mended = [await monitor.judge(await microscope.scan(REQUEST)) for _ in range(2)]

    assert [(one.verdict, one.kept) for one in full] == [(Verdict.LEARNING, False)] * 5
    assert without is None
    assert [(one.verdict, one.kept) for one in mended] == [(Verdict.LEARNING, True), (Verdict.IN_FOCUS, True)]


async def test_a_baseline_that_cannot_be_read_is_asked_for_again(store: Store, disk: FaultyDisk) -> None:
    """A condition that comes up while the disk is away is not taken for one without a baseline."""
    microscope = FakeMicroscope()
    for _ in range(3):
        await (teacher := make_monitor(store)).judge(await microscope.scan(REQUEST))
        await teacher.capture()
    monitor = make_monitor(store)
    disk.also_reads, disk.code = True, sqlite3.SQLITE_IOERR_READ
    away = await monitor.judge(await microscope.scan(REQUEST))
    disk.code = None
    back = await monitor.judge(await microscope.scan(REQUEST))

    assert (away.verdict, away.kept) == (Verdict.LEARNING, False)
    assert (back.verdict, back.kept) == (Verdict.IN_FOCUS, True)


async def test_a_file_is_judged_again_later(store: Store, disk: FaultyDisk) -> None:
    """A file is done with when its verdict is kept, so one that cannot be kept is an error."""
    monitor, microscope = make_monitor(store), FakeMicroscope()
    disk.code = sqlite3.SQLITE_FULL
    frame = replace(await microscope.scan(REQUEST), file=FrameFile("/frames/1.tif", 1, 1))

    with pytest.raises(StoreError, match="the disk is full"):
        await monitor.judge(frame)


async def test_a_refocus_that_cannot_be_run_gives_its_place_back(store: Store, disk: FaultyDisk) -> None:
    """The link is lost on a full disk with a refocus queued: it ends, and another may be asked for."""
    config = Config.model_validate({"microscope": {"limits": {"working_distance_mm": [4.0, 30.0]}}})
    desk = RefocusDesk(
        config,
        store,
        monitor=make_monitor(store),
        source=ScanSource(config.scan),
        board=initial_board(config),
        surfaces=Surfaces(config, store),
    )
    await desk.admit(RefocusTrigger.REQUEST)
    disk.code = sqlite3.SQLITE_FULL
    abandoned = await desk.abandon("the link was lost")
    disk.code = None

    assert abandoned is not None
    assert abandoned.reason == "the link was lost"
    assert not desk.is_busy
    assert (await desk.admit(RefocusTrigger.REQUEST)).refocus_id == abandoned.refocus_id + 1


async def test_the_reason_to_be_degraded_before_is_not_forgotten(store: Store, disk: FaultyDisk) -> None:
    """A disk that is mended does not take what an operator must still look at off the board."""
    config = Config.model_validate({"microscope": {"limits": {"working_distance_mm": [4.0, 30.0]}}})
    board = initial_board(config)
    watch = StoreWatch(store, board)
    board.update(link=replace(board.current.link, connected=True))
    board.set_degraded("look at the lens")
    disk.code = sqlite3.SQLITE_FULL
    with pytest.raises(StoreError):
        await store.settings.put("paused", None)
    full, has_failed = board.current.reason, watch.has_failed
    disk.code = None
    await store.prove_writable()

    assert "the disk is full" in full
    assert has_failed
    assert not watch.has_failed
    assert (board.current.state.value, board.current.reason) == ("degraded", "look at the lens")


async def test_what_a_caller_does_wrong_is_no_failure_of_the_disk(store: Store) -> None:
    """An id that is taken, or an entry that is not open, degrades nothing."""
    told: list[str] = []
    store.on_health(told.append)
    microscope, monitor = FakeMicroscope(), make_monitor(store)
    verdict = await monitor.judge(await microscope.scan(REQUEST))
    for wrong in (store.frames.append(verdict), store.journal.close(7, "refocused")):
        with pytest.raises(StoreError):
            await wrong

    assert told == []
