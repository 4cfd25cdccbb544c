"""The read position: what is remembered, and for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from focusd.frame import FrameFile
from focusd.sources.folder.position import ReadPosition
from focusd.sources.folder.readiness import Sighting
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


def seen(*numbers: int) -> list[Sighting]:
    """See files in the folder."""
    return [Sighting(file(number), file(number).path, number) for number in numbers]


async def prune(position: ReadPosition, *numbers: int) -> None:
    """Prune with these files in the folder."""
    await position.prune(position.compare(seen(*numbers)).gone)


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


async def test_files_are_told_apart_by_what_is_known_of_them(store: Store) -> None:
    """Left are those that are new and those that have changed."""
    position = await recalled(store)
    await position.begin([file(1), file(2), file(3, size_bytes=11)])

    compared = position.compare(seen(1, 3, 4))

    assert [sighting.file for sighting in compared.left] == [file(3), file(4)]
    assert compared.present == {file(1).path, file(3).path, file(4).path}
    assert compared.gone == [file(2).path]


async def test_runs_that_end_while_a_file_is_read_are_counted(store: Store) -> None:
    """However often one run tries; a file that was done with in the end, or has changed, counts anew."""
    for ended in range(3):
        position = await recalled(store)
        assert [await position.reading(file(1)) for _ in range(2)] == [ended] * 2
        await position.recall()
        assert await position.reading(file(1)) == ended
        assert not position.knows(file(1))

    position = await recalled(store)
    assert await position.reading(file(1, size_bytes=11)) == 0
    await position.refuse(file(1), "no image")
    assert (await recalled(store)).knows(file(1))


async def test_the_oldest_of_those_that_are_gone_are_forgotten(store: Store) -> None:
    """Those that are there are not, however old; and some that are gone are kept, for they may come back."""
    position = await recalled(store)
    await position.begin([file(number) for number in range(10)])
    await prune(position, 0, 9)

    for one in (position, await recalled(store)):
        assert [number for number in range(10) if one.knows(file(number))] == [0, 7, 8, 9]
        assert one.is_begun


async def test_few_that_are_gone_are_all_kept(store: Store) -> None:
    """Nothing is written for them."""
    position = await recalled(store)
    await position.begin([file(number) for number in range(6)])
    await prune(position, 2, 3, 4, 5)

    assert all(position.knows(file(number)) for number in range(6))


async def test_a_folder_that_seems_empty_forgets_nothing(store: Store) -> None:
    """The mount point of a share that is gone is an empty folder, and all will come back."""
    position = await recalled(store)
    await position.begin([file(number) for number in range(20)])
    await prune(position)
    await prune(position, 99)

    assert all(position.knows(file(number)) for number in range(20))
