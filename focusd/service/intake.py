"""Frames that a watched folder gives are judged, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from focusd.config import Config
from focusd.errors import StoreError
from focusd.microscope.reconnect import backoff
from focusd.service.supervisor import Supervisor
from focusd.sources.folder.watch import WatchedFolder

LONGEST_PAUSE_S = 8.0
"""While nothing can be kept, nothing is judged; it is tried again this often at least."""


@asynccontextmanager
async def taking_files(config: Config, supervisor: Supervisor) -> AsyncIterator[None]:
    """Judge what appears in the watched folder, if any, for the length of an ``async with`` block."""
    path = config.folder.path
    if config.frames.source != "folder" or path is None:
        yield
        return
    folder = WatchedFolder(config.folder, path, supervisor.store.files)
    async with asyncio.TaskGroup() as group:
        judge = group.create_task(judge_files(folder, supervisor), name="judge of files")
        try:
            yield
        finally:
            judge.cancel()


async def judge_files(folder: WatchedFolder, supervisor: Supervisor) -> None:
    """Judge the frames of a folder for ever.

    A file is done with when its verdict is in the store. When the store fails, the folder is begun with
    again from what the store knows, as it is after a restart.
    """
    folder.report.on_change = lambda status: supervisor.board.update(folder=status)
    supervisor.board.update(folder=folder.report.status)
    pauses = backoff(cap_s=LONGEST_PAUSE_S)
    while True:
        try:
            async with aclosing(folder.frames()) as frames:
                async for frame in frames:
                    await supervisor.judge(frame)
                    folder.report.store_failed("")
                    pauses = backoff(cap_s=LONGEST_PAUSE_S)
        except StoreError as error:
            folder.report.store_failed(str(error))
        await asyncio.sleep(next(pauses))
