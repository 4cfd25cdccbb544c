"""Clean-up that nothing interrupts."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from focusd.errors import LinkError, ScanRefusedError
from focusd.microscope.cleanup import afterwards


class CleanUp:
    """Takes a while, and may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.done = False
        self.error = error

    async def __call__(self) -> None:
        self.begun.set()
        await self.may_end.wait()
        self.done = True
        if self.error is not None:
            raise self.error


async def test_it_runs_after_a_quiet_block() -> None:
    """Clean-up runs once the block has ended."""
    clean_up = CleanUp()
    clean_up.may_end.set()
    async with afterwards(clean_up):
        assert not clean_up.begun.is_set()

    assert clean_up.done


async def test_the_blocks_error_is_raised_after_clean_up() -> None:
    """An error in the block does not keep clean-up from running."""
    clean_up = CleanUp()
    clean_up.may_end.set()
    with pytest.raises(ScanRefusedError):
        async with afterwards(clean_up):
            raise ScanRefusedError("no")

    assert clean_up.done


async def test_its_own_error_takes_the_place_of_the_blocks() -> None:
    """A lost link matters more than a refused scan."""
    clean_up = CleanUp(LinkError("gone"))
    clean_up.may_end.set()
    with pytest.raises(LinkError) as caught:
        async with afterwards(clean_up):
            raise ScanRefusedError("no")

    assert isinstance(caught.value.__context__, ScanRefusedError)


@pytest.mark.parametrize("error", [None, LinkError("gone")])
@pytest.mark.parametrize("cancel_during_clean_up", [False, True])
async def test_a_cancelled_block_is_cleaned_up_and_stays_cancelled(
    error: Exception | None, *, cancel_during_clean_up: bool
) -> None:
    """Neither a second cancellation nor a failing clean-up gets a task off being cancelled."""
    clean_up = CleanUp(error)
    started = asyncio.Event()

    async def work() -> None:
        async with afterwards(clean_up):
            started.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await started.wait()
    task.cancel()
    await clean_up.begun.wait()
    if cancel_during_clean_up:
        task.cancel()
    assert not task.done()
    clean_up.may_end.set()
    with capture_logs() as events:
        await asyncio.wait([task])

    assert task.cancelled()
    assert clean_up.done
    assert [event["event"] for event in events] == ["microscope_not_left_as_found"] * (error is not None)


async def test_a_cancellation_during_clean_up_takes_effect_after_it() -> None:
    """Clean-up after a quiet block is not cut short either."""
    clean_up = CleanUp()

    async def work() -> None:
        async with afterwards(clean_up):
            pass

    task = asyncio.ensure_future(work())
    await clean_up.begun.wait()
    task.cancel()
    clean_up.may_end.set()
    await asyncio.wait([task])

    assert task.cancelled()
    assert clean_up.done
