"""The one thread that calls the instrument; rules 1 and 2 of the package."""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
import time
from typing import Any, Callable, TypeVar

from .errors import BusyError, InstrumentError
from .instrument import Instrument

RETRY_S = 10.0
"""How often a lost connection to the vendor's software is tried again while nobody asks for anything."""

T = TypeVar("T")

log = logging.getLogger("focusd_bridge")


class _Job:
    def __init__(self, name: str, work: Callable[[], Any]) -> None:
        self.name = name
        self.work = work
        self.over = threading.Event()
        self.given_up = False
        self.result: Any = None
        self.error: BaseException | None = None


class Owner:
    """The thread that calls the instrument; see the rules of the module.

    Args:
        instrument: It.
        idle: Called by the thread now and then when there is nothing to do.
    """

    def __init__(self, instrument: Instrument, idle: Callable[[], None]) -> None:
        self._instrument = instrument
        self._idle = idle
        self._condition = threading.Condition()
        self._waiting: collections.deque[_Job] = collections.deque()
        self._current: _Job | None = None
        self._closing = False
        self._lost = False
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name="instrument", daemon=True)
        self._thread.start()

    @property
    def is_owner(self) -> bool:
        """Whether the caller is this thread itself."""
        return threading.current_thread() is self._thread

    def call(self, name: str, work: Callable[[], T], timeout_s: float) -> T:
        """Have the thread do something and give its result.

        Raises:
            BusyError: it could not begin in time, and never will.
            InstrumentError: it is not over in time, or an earlier call has not come back.
            Exception: whatever ``work`` raises.
        """
        job = _Job(name, work)
        with self._condition:
            self._refuse_beside_a_hanging_call()
            if self._closing:
                raise InstrumentError("the bridge is closing")
            self._waiting.append(job)
            self._condition.notify()
        if not job.over.wait(timeout_s):
            self._give_up(job, timeout_s)
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def close(self, timeout_s: float) -> None:
        """Let the thread close the instrument and end; one that hangs is left behind."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("the instrument's software does not come back; it is left as it is")

    def _refuse_beside_a_hanging_call(self) -> None:
        if self._current is not None and self._current.given_up:
            raise InstrumentError(f"the instrument's software still hangs in {self._current.name}")

    def _give_up(self, job: _Job, timeout_s: float) -> None:
        with self._condition:
            if job.over.is_set():
                return
            if job in self._waiting:
                self._waiting.remove(job)
                self._refuse_beside_a_hanging_call()
                doing = "something else" if self._current is None else self._current.name
                raise BusyError(f"the instrument has been busy with {doing} for {timeout_s:g} s")
            job.given_up = True
        log.error("%s hangs: it is not over after %g s", job.name, timeout_s)
        raise InstrumentError(
            f"the instrument's software has not come back from {job.name} in {timeout_s:g} s"
        )

    def _run(self) -> None:
        while True:
            with self._condition:
                if not self._waiting and not self._closing:
                    self._condition.wait(self._instrument.poll_interval_s)
                if self._closing:
                    break
                if not self._waiting and self._lost and time.monotonic() < self._retry_at:
                    continue
                job = self._waiting.popleft() if self._waiting else _Job("poll", self._idle)
                self._current = job
            self._carry_out(job)
        for job in self._waiting:
            job.error = InstrumentError("the bridge is closing")
            job.over.set()
        with contextlib.suppress(Exception):
            self._instrument.close()

    def _carry_out(self, job: _Job) -> None:
        try:
            if self._lost:
                self._reconnect()
            job.result = job.work()
        except BaseException as error:  # noqa: BLE001 - it is raised again where the call was made
            if not self._lost and isinstance(error, self._instrument.lost_errors):
                log.warning("the instrument's software is lost: %s", error)
                self._lose()
            # An SDK that wants to end the process ends its call.
            plain = isinstance(error, Exception)
            job.error = error if plain else InstrumentError(f"{type(error).__name__}: {error}")
        with self._condition:
            self._current = None
            job.over.set()
        if job.given_up:
            log.warning("%s has come back after all; what it gave is dropped", job.name)

    def _lose(self) -> None:
        self._lost = True
        self._retry_at = time.monotonic() + RETRY_S

    def _reconnect(self) -> None:
        self._lose()
        with contextlib.suppress(Exception):
            self._instrument.close()
        self._instrument.open()
        self._lost = False
        log.info("the instrument's software is back")
