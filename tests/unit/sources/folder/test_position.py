"""The read position: what is remembered, and for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from focusd.frame import FrameFile
from focusd.sources.folder import position as position_module
from focusd.sources.folder.position import ReadPosition
from focusd.store import files as files_module
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


async def prune(position: ReadPosition, *numbers: int) -> None:
    """Prune with these files in the folder."""
    await position.prune(position.gone({file(number).path for number in numbers}))


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


async def test_a_beginning_that_was_cut_short_is_made_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is skipped is noted in pieces; the folder is begun when all of it is."""
    monkeypatch.setattr(position_module, "SKIPPED_AT_ONCE", 2)
    await store.files.skip([file(1), file(2)])
    position = await recalled(store)
    assert not position.is_begun

    await position.begin([file(number) for number in range(1, 6)])

    for one in (position, await recalled(store)):
        assert one.is_begun
        assert all(one.knows(file(number)) for number in range(1, 6))


async def test_a_long_read_position_is_taken_up_in_pieces(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is left out where one piece ends and the next begins."""
    monkeypatch.setattr(files_module, "NOTES_AT_ONCE", 3)
    await store.files.skip([file(number) for number in range(8)])
    await store.files.begin(FOLDER)

    position = await recalled(store)

    assert position.is_begun
    assert all(position.knows(file(number)) for number in range(8))


async def test_a_path_is_known_whatever_its_file_is_now(store: Store) -> None:
    """Files that are not there any more are told by what is."""
    position = await recalled(store)
    await position.begin([file(1), file(2), file(3, size_bytes=11)])

    assert [position.knows_path(file(number).path) for number in range(1, 5)] == [True, True, True, False]
    assert not position.knows(file(3))
    assert position.gone({file(1).path, file(3).path, file(4).path}) == [file(2).path]


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
