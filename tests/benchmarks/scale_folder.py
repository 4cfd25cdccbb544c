"""How much later the event loop is while a folder of very many files is listed.

The folder's files are done with, as in the middle of a long acquisition; it is listed again and again, as one
on a network share is.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from focusd.config import FolderSettings
from focusd.sources.folder.listing import Lister
from focusd.sources.folder.position import ReadPosition
from focusd.sources.folder.watch import WatchedFolder
from focusd.store.database import open_store

TICK_S: Final = 0.001
REST_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class FolderLag:
    """Of a folder: how long a listing takes, and how late the loop was at rest and meanwhile."""

    files: int
    listing_ms: float
    rest_max_ms: float
    p99_ms: float
    max_ms: float
    """The least, over the rounds, of the longest: other programs take the processor too."""


def folder_lag(files: int, rounds: int) -> FolderLag:
    """Measure in this process, without what it holds itself in the way of Python's search for garbage."""
    gc.collect()
    gc.freeze()
    try:
        return asyncio.run(_measured(files, rounds))
    finally:
        gc.unfreeze()


async def _measured(files: int, rounds: int) -> FolderLag:
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory, "frames")
        folder.mkdir()
        for number in range(files):
            (folder / f"tile {number:06}.tif").touch()
        async with open_store(Path(directory, "state"), max_frames=1000) as store:
            settings = FolderSettings(path=folder, polling=True)
            await _begin(WatchedFolder(settings, folder, store.files))
            position = ReadPosition(store.files, str(folder))
            await position.recall()
            lister = Lister(str(folder), settings.patterns, recursive=False)
            rest, late, took = [], [], []
            for _ in range(rounds):
                async with _ticking() as lags:
                    await asyncio.sleep(REST_S)
                rest.append(max(lags))
                since = time.perf_counter()
                async with _ticking() as lags:
                    listing = await asyncio.to_thread(partial(lister.list_all, position))
                    await asyncio.to_thread(position.gone, listing.present)
                took.append(time.perf_counter() - since)
                late.append(lags)
    p99_ms = min(float(np.percentile(lags, 99)) for lags in late) * 1000
    return FolderLag(files, min(took) * 1000, min(rest) * 1000, p99_ms, min(map(max, late)) * 1000)


async def _begin(watched: WatchedFolder) -> None:
    """Let the folder be taken up for the first time, which leaves out what is there."""
    async with aclosing(watched.frames()) as frames:
        task = asyncio.ensure_future(anext(frames))
        while watched.report.status.state.value != "watching":
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def _ticking() -> AsyncIterator[list[float]]:
    """Note how late each tick of a millisecond is, in seconds."""
    lags = [0.0]

    async def tick() -> None:
        while True:
            since = time.perf_counter()
            await asyncio.sleep(TICK_S)
            lags.append(time.perf_counter() - since - TICK_S)

    ticker = asyncio.ensure_future(tick())
    try:
        yield lags
    finally:
        ticker.cancel()
        await asyncio.wait({ticker})
