"""The read position: what is remembered, and for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from focusd.frame import FrameFile
from focusd.sources.folder.position import ReadPosition
from focusd.store.database import Store, open_store

FOLDER = "/data"


def file(number: int, *, size_bytes: int = 10) -> FrameFile:
    """Describe a file; the higher its number the newer."""
    return FrameFile(f"{FOLDER}/{number:03}.tif", size_bytes, number)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Give a store."""
    async with open_store(tmp_path, max_frames=100) as opened:
        yield opened


async def recalled(store: Store, *, kept_gone: int = 4) -> ReadPosition:
    """Take up what the store knows."""
    position = ReadPosition(store.files, FOLDER, kept_gone=kept_gone)
    await position.recall()
    return position


async def test_what_is_done_with_is_known_by_size_and_time(store: Store) -> None:
    """Also after a restart; a changed file is another."""
    position = await recalled(store)
    assert not position.is_begun
    await position.begin([file(1)])
    await position.refuse(file(2), "no image")

    for one in (position, await recalled(store)):
        assert one.is_begun
        assert one.knows(file(1))
        assert one.knows(file(2))
        assert not one.knows(file(2, size_bytes=11))
        assert not one.knows(file(3))


async def test_the_oldest_of_those_that_are_gone_are_forgotten(store: Store) -> None:
    """Those that are there are not, however old; and some that are gone are kept, for they may come back."""
    position = await recalled(store)
    await position.begin([file(number) for number in range(10)])
    present = [file(0).path, file(9).path]
    await position.prune(present)

    for one in (position, await recalled(store)):
        assert [number for number in range(10) if one.knows(file(number))] == [0, 7, 8, 9]
        assert one.is_begun


async def test_few_that_are_gone_are_all_kept(store: Store) -> None:
    """Nothing is written for them."""
    position = await recalled(store)
    await position.begin([file(number) for number in range(6)])
    await position.prune([file(number).path for number in range(2, 6)])

    assert all(position.knows(file(number)) for number in range(6))


async def test_a_folder_that_seems_empty_forgets_nothing(store: Store) -> None:
    """The mount point of a share that is gone is an empty folder, and all will come back."""
    position = await recalled(store)
    await position.begin([file(number) for number in range(20)])
    await position.prune([])
    await position.prune([f"{FOLDER}/new.tif"])

    assert all(position.knows(file(number)) for number in range(20))
