"""A refocus broken off, or failed under, at each place where it can be: the lens is left as it was found."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import pytest
from structlog.testing import capture_logs

from focusd.errors import FocusdError, LinkError, ScanIncompleteError, StoreError, WorkingDistanceNotSetError
from focusd.frame import Frame, ScanRequest
from focusd.records import RefocusResult
from focusd.service.recovery import settle_open_entries
from focusd.store.database import Store
from tests.fake_microscope import FakeMicroscope
from tests.unit.service.refocusing import TOLERANCE_MM, make_refocus

T = TypeVar("T")
START_MM = 9.016
AT_MOST = 400
"""Far more places than a refocus has."""


class Places:
    """Counts the awaits of a coroutine at which it stands still, and cancels its task at one of them."""

    def __init__(self, cancel_at: int, again: bool = False) -> None:
        self.count = 0
        self._cancel_at = {cancel_at, cancel_at + 1} if again else {cancel_at}

    @types.coroutine
    def watch(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Run ``work`` in the present task."""
        step = work.send
        value: Any = None
        while True:
            try:
                waits_for = step(value)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # what the coroutine returned
            self.count += 1
            if self.count in self._cancel_at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                value = yield waits_for
                step = work.send
            except BaseException as error:  # noqa: BLE001 - goes into the coroutine as it came
                value, step = error, work.throw


async def places(run: Callable[[], Coroutine[Any, Any, object]], cancel_at: int, *, again: bool) -> bool:
    """Run until the n-th place, and cancel there; tell whether there was such a place."""
    watched = Places(cancel_at, again)

    async def main() -> None:
        await watched.watch(run())

    task = asyncio.create_task(main())
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
    return watched.count >= cancel_at


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
async def test_cancelled_at_each_place_the_lens_is_back(store: Store, again: bool) -> None:
    """Also when the second cancel comes while the lens is being put back: then at the next connect."""
    for place in range(1, AT_MOST):
        microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=START_MM)
        refocus = make_refocus(microscope, store)
        was_there = await places(refocus.run, place, again=again)
        assert refocus.record.result is not None, place
        if refocus.record.result.is_success:
            # The cancel came when the end had been proven and written down.
            assert abs(microscope.working_distance_mm - 9.0) < 0.002
        else:
            await settle_open_entries(store, microscope, tolerance_mm=TOLERANCE_MM)
            assert microscope.working_distance_mm == START_MM, place
        assert microscope.holds == 0
        assert await store.journal.pending() == []
        if not was_there:
            break
    assert 20 < place < AT_MOST - 1


class Failing(FakeMicroscope):
    """Fails once, at the n-th call."""

    fail_at = 0
    calls = 0
    error: FocusdError = LinkError("gone")

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self.fail_at:
            if isinstance(self.error, WorkingDistanceNotSetError):
                raise WorkingDistanceNotSetError(self.error.requested_mm, self.working_distance_mm)
            raise self.error

    async def get_working_distance(self) -> float:
        self._count()
        return await super().get_working_distance()

    async def set_working_distance(self, working_distance_mm: float) -> float:
        if self.calls + 1 == self.fail_at and self.seed % 2:
            # The command arrived, the answer did not.
            self.working_distance_mm = working_distance_mm
        self._count()
        return await super().set_working_distance(working_distance_mm)

    async def scan(self, request: ScanRequest) -> Frame:
        self._count()
        return await super().scan(request)

    @asynccontextmanager
    async def acquisition(self) -> AsyncIterator[None]:
        self._count()
        async with super().acquisition():
            yield


@pytest.mark.parametrize("arrives", [False, True], ids=["command lost", "answer lost"])
async def test_the_link_may_be_lost_at_each_call(store: Store, arrives: bool) -> None:
    """Whatever the lens did of the last command, the next connect puts it back."""
    for call in range(1, AT_MOST):
        microscope = Failing(best_focus_mm=9.0, working_distance_mm=START_MM, seed=1 if arrives else 2)
        microscope.fail_at = call
        refocus = make_refocus(microscope, store)
        with suppress(LinkError):
            await refocus.run()
        if microscope.calls < call:
            break
        await settle_open_entries(store, microscope, tolerance_mm=TOLERANCE_MM)
        assert refocus.record.result is RefocusResult.LINK_LOST
        assert microscope.working_distance_mm == START_MM, call
        assert microscope.holds == 0
    assert 8 < call < AT_MOST - 1


@pytest.mark.parametrize(
    "error", [ScanIncompleteError("pixels are missing"), WorkingDistanceNotSetError(9.0, START_MM)], ids=repr
)
async def test_the_microscope_may_refuse_each_call(store: Store, error: FocusdError) -> None:
    """A refusal ends the run, the lens is back, and nothing is left open: also one in the middle of that."""
    for call in range(1, AT_MOST):
        microscope = Failing(best_focus_mm=9.0, working_distance_mm=START_MM)
        microscope.fail_at, microscope.error, microscope.seed = call, error, 2
        refocused = await make_refocus(microscope, store).run()
        if microscope.calls < call:
            break
        if refocused.record.result is RefocusResult.WD_NOT_SETTABLE:
            await settle_open_entries(store, microscope, tolerance_mm=TOLERANCE_MM)
        if not (refocused.record.result and refocused.record.result.is_success):
            assert microscope.working_distance_mm == START_MM, call
        assert await store.journal.pending() == []
    assert 8 < call < AT_MOST - 1


async def test_the_store_may_fail_at_each_write(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written down is not done, and what was done is undone."""
    calls = fail_at = 0
    for name in ("open", "command", "close"):
        real = getattr(store.journal, name)

        async def write(*arguments: object, real: Callable[..., Any] = real, **keywords: object) -> object:
            nonlocal calls
            calls += 1
            if calls == fail_at:
                raise StoreError("the disk is full")
            return await real(*arguments, **keywords)

        monkeypatch.setattr(store.journal, name, write)

    for fail_at in range(1, AT_MOST):
        calls = 0
        microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=START_MM)
        refocus = make_refocus(microscope, store)
        with suppress(StoreError):
            await refocus.run()
        if calls < fail_at:
            break
        await settle_open_entries(store, microscope, tolerance_mm=TOLERANCE_MM)
        assert microscope.working_distance_mm == START_MM, fail_at
        assert refocus.record.result is RefocusResult.CANCELLED
    assert 5 < fail_at < AT_MOST - 1


async def test_a_fault_of_focusds_own_puts_the_lens_back(store: Store) -> None:
    """A run that ends in an error nobody foresaw is a failed one, and the log tells more."""

    def fail(number: int) -> None:
        if number == 3:
            raise ZeroDivisionError("division by zero")

    microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=START_MM, before_scan=fail)
    with capture_logs() as events:
        refocused = await make_refocus(microscope, store).run()

    assert refocused.record.result is RefocusResult.INTERNAL_ERROR
    assert refocused.record.reason == "ZeroDivisionError: division by zero"
    assert microscope.working_distance_mm == START_MM
    assert await store.journal.pending() == []
    assert [event["log_level"] for event in events if event["event"] == "refocus_failed"] == ["error"]


async def test_a_lens_that_sticks_once_is_put_back_all_the_same(store: Store) -> None:
    """The move back is tried again before it is left to the next connect."""
    stuck = 0

    def stick(number: int) -> None:
        nonlocal stuck
        if number >= 3 and stuck < 2:
            stuck += 1
            raise WorkingDistanceNotSetError(microscope.visited_mm[-1], microscope.working_distance_mm)

    microscope = FakeMicroscope(best_focus_mm=9.0, working_distance_mm=START_MM, before_move=stick)
    refocused = await make_refocus(microscope, store).run()

    assert stuck == 2
    assert refocused.record.result is RefocusResult.WD_NOT_SETTABLE
    assert microscope.working_distance_mm == START_MM
    assert await store.journal.pending() == []


async def test_a_readback_that_lies_does_not_leave_the_lens_away(store: Store) -> None:
    """The lens moved, the reading says that it did not: it is commanded back all the same."""

    class Lying(FakeMicroscope):
        lies = 0

        async def get_working_distance(self) -> float:
            return START_MM if self.lies else await super().get_working_distance()

        async def set_working_distance(self, working_distance_mm: float) -> float:
            await super().set_working_distance(working_distance_mm)
            if len(self.visited_mm) > 1:
                return working_distance_mm
            self.lies = 1
            raise WorkingDistanceNotSetError(working_distance_mm, START_MM)

    microscope = Lying(best_focus_mm=9.0, working_distance_mm=START_MM)
    refocused = await make_refocus(microscope, store).run()

    assert refocused.record.result is RefocusResult.WD_NOT_SETTABLE
    assert microscope.visited_mm[0] != START_MM
    assert microscope.working_distance_mm == START_MM
    assert await store.journal.pending() == []
