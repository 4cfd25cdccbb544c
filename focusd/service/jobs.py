"""Work that others ask of the owner of the microscope, one piece at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from focusd.errors import FocusdError, LinkError, NotConnectedError, StoreError
from focusd.microscope.interface import Microscope

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Job(Generic[T]):
    """One piece of work with the microscope, and the place for its answer."""

    name: str
    action: Callable[[Microscope], Awaitable[T]]
    answer: asyncio.Future[T]

    async def carry_out(self, microscope: Microscope) -> None:
        """Do it and hand the answer, or the error, to whoever waits.

        Raises:
            LinkError, StoreError: handed on as well, because they concern the owner itself.
        """
        if self.answer.cancelled():
            return
        try:
            result = await self.action(microscope)
        except (LinkError, StoreError) as error:
            self.fail(error)
            raise
        except FocusdError as error:
            self.fail(error)
            return
        except asyncio.CancelledError:
            self.fail(NotConnectedError(f"focusd is stopping; {self.name} was not finished"))
            raise
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error: Exception) -> None:
        """Hand an error to whoever waits."""
        if not self.answer.done():
            self.answer.set_exception(error)
            # Nobody may be waiting any more; the error has been logged by the owner then.
            self.answer.exception()


class Inbox:
    """Jobs waiting for the owner of the microscope; closed while there is no microscope."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Job[Any] | None] = asyncio.Queue()
        self._closed_because = "not connected yet"
        self._open = False

    @property
    def is_open(self) -> bool:
        """Whether there is a microscope."""
        return self._open

    def open(self) -> None:
        """Accept jobs from now on."""
        self._open = True

    def close(self, because: str) -> None:
        """Refuse jobs from now on, and those still waiting."""
        self._open = False
        self._closed_because = because
        while not self._queue.empty():
            job = self._queue.get_nowait()
            if job is not None:
                job.fail(NotConnectedError(f"{job.name} was not done: {because}"))

    def put(self, name: str, action: Callable[[Microscope], Awaitable[T]]) -> asyncio.Future[T]:
        """Queue a job and give the future of its answer.

        Raises:
            NotConnectedError: there is no microscope.
        """
        self.refuse_while_closed()
        job = Job(name, action, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(job)
        return job.answer

    def refuse_while_closed(self) -> None:
        """Raise ``NotConnectedError`` with the reason while there is no microscope."""
        if not self._open:
            raise NotConnectedError(f"not connected to the microscope: {self._closed_because}")

    def wake(self) -> None:
        """Let a waiting owner look round at once."""
        self._queue.put_nowait(None)

    async def get(self, timeout: float | None) -> Job[Any] | None:
        """Give the next job, or ``None`` when none came within ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                return await self._queue.get()
        except TimeoutError:
            return None
