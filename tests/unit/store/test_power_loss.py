"""The power fails: whatever part of the log has reached the disk, what was synced is there and in order."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from focusd.records import RestorePoint
from focusd.store.database import Store, open_store
from tests.unit.store.records_made import baseline, refocus, verdict

LOSSES = int(os.environ.get("LOSSES", "150"))
"""5,000 by hand."""
PAGE_BYTES = 4096
FRAME_BYTES = PAGE_BYTES + 24
HEADER_BYTES = 32
STEPS = 24


@dataclass(frozen=True)
class Moment:
    """What was on the disk when a step had been acknowledged, and what the store then held."""

    log_bytes: int
    pending: list[RestorePoint]
    baselines: int
    is_synced: bool


async def recorded(directory: Path) -> list[Moment]:
    """Write restore points, commands, ends, baselines and verdicts; give each acknowledged moment.

    The files are copied beside while the store is open: the database as it was at the start, and the log.
    """
    log = directory / "focusd.db-wal"
    rng = random.Random(20_261_125)
    async with open_store(directory, max_frames=1000):
        pass
    shutil.copy(directory / "focusd.db", directory / "at-start")
    moments: list[Moment] = []
    baselines = 0
    async with open_store(directory, max_frames=1000) as store:
        moments.append(Moment(0, [], 0, is_synced=True))
        for step in range(STEPS):
            is_synced = await one_step(store, step, rng)
            baselines += step % 6 == 5
            moments.append(
                Moment(log.stat().st_size, await store.journal.pending(), baselines, is_synced=is_synced)
            )
        shutil.copy(log, directory / "log")
    return moments


async def one_step(store: Store, step: int, rng: random.Random) -> bool:
    """Write one thing; tell whether it must survive a power loss."""
    entry_id = step // 6 + 1
    steps: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: store.journal.open(entry_id, 9.0 + entry_id, 1.0),
        lambda: store.journal.command(entry_id, 9.0 + rng.random()),
        lambda: store.frames.append(verdict(entry_id)),
        lambda: store.refocuses.insert(refocus(entry_id)),
        lambda: store.journal.close(entry_id, "refocused"),
        lambda: store.baselines.put(baseline(detector=f"detector {entry_id}")),
    )
    await steps[step % 6]()
    return step % 6 != 2


def cuts(log_bytes: int, rng: random.Random) -> list[int]:
    """Give lengths at which the log is cut off: each end of a frame with its neighbours, and any others."""
    ends = range(HEADER_BYTES, log_bytes + 1, FRAME_BYTES)
    near = [end + by for end in ends for by in (-1, 0, 1) if 0 <= end + by <= log_bytes]
    chosen = rng.sample(near, min(len(near), LOSSES // 2))
    return [*chosen, *(rng.randint(0, log_bytes) for _ in range(LOSSES - len(chosen)))]


async def check_cut(tmp_path: Path, source: Path, log: bytes, moments: list[Moment], synced: int) -> None:
    """Open what a power loss left of which ``synced`` bytes of the log were synced before."""
    state = tmp_path / "cut"
    state.mkdir()
    shutil.copy(source / "at-start", state / "focusd.db")
    (state / "focusd.db-wal").write_bytes(log)
    async with open_store(state, max_frames=1000) as store:
        pending = await store.journal.pending()
        baselines = len(await store.baselines.list())
        problems = store.problems
    shutil.rmtree(state)
    assert problems == ()
    least = max(number for number, moment in enumerate(moments) if moment.log_bytes <= synced)
    held = [
        number
        for number, moment in enumerate(moments)
        if (moment.pending, moment.baselines) == (pending, baselines)
    ]
    # What is there is what was there at one moment, and none before the last that was synced.
    assert held, (synced, pending, baselines)
    assert max(held) >= least
    assert min(held) <= least + 1


async def test_each_beginning_of_the_log_opens_and_loses_nothing_synced(tmp_path: Path) -> None:
    """The log is cut anywhere: the store holds what it held after the last whole commit."""
    source = tmp_path / "source"
    moments = await recorded(source)
    log = (source / "log").read_bytes()
    assert len(log) == moments[-1].log_bytes > 20 * FRAME_BYTES
    for cut in cuts(len(log), random.Random(20_261_126)):
        await check_cut(tmp_path, source, log[:cut], moments, cut)


async def test_unsynced_pages_that_arrive_out_of_order_do_no_harm(tmp_path: Path) -> None:
    """Behind what was synced lies anything: pages missing, or of zeros, or torn."""
    source = tmp_path / "source"
    moments = await recorded(source)
    log = (source / "log").read_bytes()
    rng = random.Random(20_261_127)
    durable = [moment for moment in moments[1:-1] if moment.is_synced]
    for _ in range(LOSSES):
        synced = rng.choice(durable).log_bytes
        rest = bytearray(log[synced:])
        # The first sector that was not synced is always lost, so nothing behind it counts.
        rest[:512] = bytes(len(rest[:512]))
        for place in range(512, len(rest), 512):
            if rng.random() < 0.5:
                rest[place : place + 512] = bytes(len(rest[place : place + 512]))
        await check_cut(tmp_path, source, log[:synced] + rest, moments, synced)


async def test_each_step_is_in_the_log_when_it_is_acknowledged(tmp_path: Path) -> None:
    """Restore points, commands, ends, baselines, verdicts: in whole frames, each behind the one before."""
    moments = await recorded(tmp_path / "source")
    lengths = [moment.log_bytes for moment in moments]
    assert all(after > before for before, after in pairwise(lengths))
    assert all((length - HEADER_BYTES) % FRAME_BYTES == 0 for length in lengths[1:])
