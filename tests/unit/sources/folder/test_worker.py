"""The folder's own thread, and the changes that the system tells."""

from __future__ import annotations

import asyncio
import threading

import pytest

from focusd.sources.folder.notices import MAX_PATHS, Notices
from focusd.sources.folder.worker import FolderThread


async def test_work_is_done_in_order_and_its_errors_are_handed_on() -> None:
    """Work that nobody waits for any more, and has not begun, is left out."""
    done: list[str] = []
    released = threading.Event()

    def wait() -> None:
        released.wait(10)
        done.append("first")

    def fail() -> None:
        raise PermissionError("no")

    async with FolderThread() as thread:
        first = thread.submit(wait)
        given_up = thread.submit(lambda: done.append("given up"))
        failing = thread.submit(fail)
        last = thread.submit(lambda: done.append("last"))
        given_up.cancel()
        released.set()
        await first
        with pytest.raises(PermissionError, match="no"):
            await failing
        await last

    assert done == ["first", "last"]


@pytest.mark.parametrize("fails", [False, True])
def test_an_answer_that_comes_after_the_end_is_no_error(*, fails: bool) -> None:
    """The event loop is gone by then, as when a share answers after focusd has been stopped."""
    released, done = threading.Event(), threading.Event()

    def hang() -> None:
        released.wait(10)
        done.set()
        if fails:
            raise OSError("stale")

    async def run() -> None:
        async with FolderThread() as thread:
            thread.submit(hang)

    asyncio.run(run())
    released.set()

    assert done.wait(10)
    for thread in threading.enumerate():
        if thread.name == "focusd-folder":
            thread.join(10)


async def test_too_many_changes_become_one_listing() -> None:
    """What is remembered of them is bounded."""
    async with Notices(recursive=False) as notices:
        notices._note((f"/data/{number}.tif" for number in range(MAX_PATHS + 1)), is_vague=False)
        await notices.wait(0.0)

        assert notices.take() == (set(), True)
        assert notices.take() == (set(), False)
