"""Any order of the verbs against a small model: one refocus at a time, and no move that nobody may make."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from focusd.errors import BusyError, LeasedError, NotFoundError, PausedError, WorkingDistanceLimitError
from focusd.records import RefocusRecord, RefocusResult
from focusd.service.status import DaemonState
from focusd.store.database import open_store
from tests.fake_microscope import FakeMicroscope
from tests.unit.service.test_supervisor import Bench, running

LIMITS_MM = (8.9, 9.1)
ENDED = frozenset({RefocusResult.REFOCUSED, RefocusResult.CONFIRMED_IN_FOCUS, RefocusResult.CANCELLED})


class Verbs(RuleBasedStateMachine):
    """The supervisor, and what a client may know of it: paused or not, leased or not, one refocus or none."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.paused = False
        self.lease: str | None = None
        self.refocus: RefocusRecord | None = None
        self.before_mm = 9.0
        self.seen: set[int] = set()
        self.gate: asyncio.Event
        self.bench: Bench
        self._run(self._open())

    def _run(self, work: Any) -> Any:
        return self._runner.run(work)

    async def _open(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()

        async def when_allowed() -> None:
            await self.gate.wait()

        folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        store = await self._stack.enter_async_context(open_store(Path(folder), max_frames=100))
        self.microscope = FakeMicroscope(limits_mm=LIMITS_MM, before_scan=lambda _: when_allowed())
        self.bench = Bench(store, self.microscope, baseline={"policy": "manual"})
        await self._stack.enter_async_context(running(self.bench))

    def teardown(self) -> None:
        """Stop in whatever state it is: a refocus that runs is put back."""
        self._run(self._stack.aclose())
        self._runner.close()
        if self.refocus is not None:
            assert self.microscope.working_distance_mm == self.before_mm
        assert self.microscope.holds == 0

    # --- the verbs ---

    @rule()
    def start(self) -> None:
        """A refocus begins, or is refused for the first reason that holds."""
        try:
            record = self._run(self.bench.supervisor.start_refocus())
        except PausedError:
            assert self.paused
        except LeasedError:
            assert self.lease is not None
        except BusyError as error:
            self._is_named(error.running_id)
        else:
            assert not self.paused
            assert self.lease is None
            assert self.refocus is None
            assert record.refocus_id not in self.seen
            self.seen.add(record.refocus_id)
            self.refocus, self.before_mm = record, self.microscope.working_distance_mm
            self.gate.clear()

    async def _cancel(self, refocus_id: int) -> None:
        self.bench.supervisor.cancel_refocus(refocus_id)

    def _is_named(self, running_id: str | None) -> None:
        assert self.refocus is not None
        assert running_id == str(self.refocus.refocus_id)

    @precondition(lambda self: self.refocus is not None)
    @rule(cancels=st.booleans())
    def end(self, cancels: bool) -> None:
        """It runs to its end, or is cancelled: then the lens is back."""
        record = self.refocus
        assert record is not None
        if cancels:
            self._run(self._cancel(record.refocus_id))
        self.gate.set()
        ended = self._run(self.bench.supervisor.wait_for_refocus(record.refocus_id, timeout_s=20.0))
        assert ended.result in ENDED, ended.reason
        assert (ended.result is RefocusResult.CANCELLED) == (cancels or self.paused), ended.reason
        if ended.result is RefocusResult.CANCELLED:
            assert self.microscope.working_distance_mm == self.before_mm
        self.refocus = None

    @rule(other=st.integers(1, 10_000))
    def cancel_another(self, other: int) -> None:
        """A refocus that does not run cannot be ended."""
        if self.refocus is None or other != self.refocus.refocus_id:
            try:
                self._run(self._cancel(other))
            except NotFoundError:
                return
            raise AssertionError("it does not run")

    @rule()
    def pause(self) -> None:
        """The hands are off; a refocus that runs ends."""
        self._run(self.bench.supervisor.pause("by the model"))
        self.paused = True
        if self.refocus is not None:
            self.end(cancels=False)

    @rule()
    def resume(self) -> None:
        """They are on again."""
        self._run(self.bench.supervisor.resume())
        self.paused = False

    @rule(target_mm=st.sampled_from([8.0, 8.9, 8.95, 9.0, 9.05, 9.1, 10.0, float("nan")]))
    def move(self, target_mm: float) -> None:
        """An operator moves the lens; never outside the limits, or while it is another's turn."""
        before = list(self.microscope.visited_mm)
        try:
            readback_mm = self._run(self.bench.supervisor.set_working_distance(target_mm))
        except WorkingDistanceLimitError:
            assert not LIMITS_MM[0] <= target_mm <= LIMITS_MM[1]
        except BusyError:
            assert self.refocus is not None
        except LeasedError:
            assert self.lease is not None
        else:
            assert self.refocus is None
            assert self.lease is None
            assert readback_mm == target_mm == self.microscope.working_distance_mm
            return
        assert self.microscope.visited_mm == before

    @rule()
    def take_lease(self) -> None:
        """Whoever scans keeps the lens still, unless a refocus runs."""
        try:
            lease = self._run(self.bench.supervisor.turns.take_lease("the model", 600.0, wait_s=0.0))
        except BusyError:
            assert self.refocus is not None
        else:
            assert self.refocus is None
            if self.lease is not None:
                self.bench.supervisor.turns.end_lease(self.lease)
            self.lease = lease.lease_id

    @precondition(lambda self: self.lease is not None)
    @rule()
    def end_lease(self) -> None:
        """The scan is over."""
        assert self.lease is not None
        self.bench.supervisor.turns.end_lease(self.lease)
        self.lease = None

    @precondition(lambda self: self.refocus is None)
    @rule()
    def checkpoint(self) -> None:
        """With nothing pending there is nothing to do."""
        try:
            done = self._run(self.bench.supervisor.turns.checkpoint(timeout_s=20.0))
        except LeasedError:
            assert self.lease is not None
        else:
            assert self.lease is None
            assert done is not None
            assert done.action == "none"

    @precondition(lambda self: self.refocus is None)
    @rule()
    def frame(self) -> None:
        """A frame is taken and judged, unless it is another's turn."""
        scans = self.microscope.scans
        try:
            answer = self._run(self.bench.supervisor.scan())
        except PausedError:
            assert self.paused
        except LeasedError:
            assert self.lease is not None
        else:
            assert not self.paused
            assert self.lease is None
            assert answer.refocus is None
            assert self.microscope.scans == scans + 1

    # --- what always holds ---

    @invariant()
    def status_tells_the_same(self) -> None:
        """The status and the model are of one mind, and the lens is within its limits."""
        status = self.bench.supervisor.status
        current = status.current_refocus
        assert (current and current.refocus_id) == (self.refocus and self.refocus.refocus_id)
        assert bool(status.scan_leases) == (self.lease is not None)
        if self.refocus is None:
            assert (status.state is DaemonState.PAUSED) == self.paused
        assert all(LIMITS_MM[0] <= move_mm <= LIMITS_MM[1] for move_mm in self.microscope.visited_mm)


TestVerbs = Verbs.TestCase
TestVerbs.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
