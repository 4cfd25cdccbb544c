"""Leaving the microscope as it was found, also when the work on it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog

from focusd.errors import MicroscopeError

_log = structlog.get_logger(__name__)

T = TypeVar("T")


@asynccontextmanager
async def afterwards(clean_up: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run ``clean_up`` when the block ends, however it ends, and let nothing interrupt it.

    It needs deadlines of its own. An error of it is raised in place of the block's, except that a
    cancelled block stays cancelled: then the error is logged.
    """
    try:
        yield
    except asyncio.CancelledError:
        try:
            await uninterrupted(clean_up())
        except MicroscopeError as error:
            _log.warning("microscope_not_left_as_found", error=str(error))
        raise
    except BaseException:
        await uninterrupted(clean_up())
        raise
    await uninterrupted(clean_up())


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end and give its result; a cancellation in the meantime takes effect after it.

    It needs deadlines of its own. Where both come, the cancellation is raised and the error logged.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    failure = None if task.cancelled() else task.exception()
    if failure is not None:
        _log.warning("microscope_not_left_as_found", error=str(failure))
    raise cancelled
