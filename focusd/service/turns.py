"""Whose turn it is: the acquisition's, whose scan must not be disturbed, or focusd's to move the lens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from focusd.errors import BusyError, LeasedError
from focusd.microscope.interface import Microscope
from focusd.records import FrameVerdict, RefocusRecord, RefocusResult, RefocusTrigger
from focusd.service.desk import RefocusDesk
from focusd.service.following import Foreseen
from focusd.service.jobs import Inbox
from focusd.service.leases import Leases, ScanLease
from focusd.service.neighbours import Neighbours
from focusd.service.pending import Due, Pending, WaitsFor
from focusd.service.surface import Place
from focusd.store.database import Store

NO_ACTION = "none"
MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was done between two tiles."""

    action: str
    """``none``, how the refocus ended, or ``moved``: to the focus predicted for the next tile."""
    reacquire_from: int | None
    """After a refocus: the first frame that was taken when focus had been lost already."""
    working_distance_mm: float | None
    """Where the lens stands after that; ``None`` if nothing was done."""
    refocus: RefocusRecord | None
    prediction: Foreseen | None = None
    """The focus predicted for the next tile, where that was told and there is anything to go by."""


def reacquire_from(frame: FrameVerdict | None, record: RefocusRecord | None) -> int | None:
    """Give the first frame to take again once focus is back.

    Args:
        frame: The frame that called for the refocus.
        record: The refocus.

    Returns:
        Where the run of frames below the baseline began, else the frame itself if the lens had to be moved.
        ``None`` when nothing is known to be gained: focus was not found, or had not been lost.
    """
    if frame is None or record is None or record.result is None or not record.result.is_success:
        return None
    itself = frame.frame_id if record.result is RefocusResult.REFOCUSED else None
    return frame.reacquire_from or itself


def _with_prediction(done: Checkpoint, foreseen: Foreseen | None) -> Checkpoint:
    if foreseen is None or not foreseen.applied:
        return replace(done, prediction=foreseen)
    return replace(
        done,
        action=MOVED if done.action == NO_ACTION else done.action,
        working_distance_mm=foreseen.readback_mm,
        prediction=foreseen,
    )


class Turns:
    """Lets acquisition and refocus take turns.

    Args:
        leases: Of those who scan.
        neighbours: They scan too.
        pending: The refocus that is wanted.
        desk: The refocus that runs.
        inbox: Wakes the owner of the microscope.
        store: Knows past frames.
        follow: Brings the lens to the focus predicted for the next tile, if it may.
    """

    def __init__(
        self,
        *,
        leases: Leases,
        neighbours: Neighbours,
        pending: Pending,
        desk: RefocusDesk,
        inbox: Inbox,
        store: Store,
        follow: Callable[[Microscope, Place], Awaitable[Foreseen | None]],
    ) -> None:
        self._leases = leases
        self._neighbours = neighbours
        self._pending = pending
        self._desk = desk
        self._inbox = inbox
        self._store = store
        self._follow = follow
        self._following: asyncio.Future[Foreseen | None] | None = None
        self._told = 0
        """Acquisition has been told of all refocuses up to this id."""
        self.catch_up: Callable[[], Awaitable[None]] | None = None
        """Waits until the frames that acquisition has taken are judged, where they come by themselves."""

    @property
    def is_following(self) -> bool:
        """Whether the lens is on its way to a predicted focus, or about to be."""
        return self._following is not None and not self._following.done()

    async def checkpoint(self, next_place: Place | None = None, *, timeout_s: float) -> Checkpoint | None:
        """Do what is pending, while acquisition is between two tiles, and make ready for the next one.

        Args:
            next_place: Where the next tile is: unless tiles must be taken again first, the lens goes to the
                focus predicted for it, if that is known well enough.
            timeout_s: Longest wait.

        Returns:
            What was done, now or by itself since acquisition was told the last time; ``None`` if it takes
            longer than ``timeout_s``. It goes on then, if it has begun.

        Raises:
            LeasedError: somebody else scans.
            NotConnectedError: there is no microscope.
            LinkError, StoreError: the microscope or the disk failed while the lens was to be moved.
        """
        self.refuse_while_leased("a checkpoint")
        self._inbox.refuse_while_closed()
        try:
            async with asyncio.timeout(timeout_s) as scope:
                if self.catch_up is not None:
                    await self.catch_up()
                with self._pending.checkpoint():
                    done = await self._done(await self._wait_for_focus() or self._untold())
                    if next_place is not None and done.reacquire_from is None:
                        done = _with_prediction(done, await self._make_ready(next_place))
        except TimeoutError:
            # A link that gave no answer in time is another matter.
            if scope.expired():
                return None
            raise
        if done.refocus is not None:
            self.note_told(done.refocus)
        return done

    async def wait_for(self, due: Due, *, timeout_s: float) -> RefocusRecord | None:
        """Wait for a refocus that a frame has led to.

        Who waits takes no frame meanwhile, so this is as good as a checkpoint. Neither a scan lease is waited
        for, which may be held by the one who waits, nor a microscope that is away.

        Returns:
            How it ended; ``None`` if it is dropped or does not begin in ``timeout_s``.
        """
        is_leased = self._pending.waits_for is WaitsFor.SCAN_LEASE and due is self._pending.due
        if is_leased or not self._inbox.is_open:
            return None
        try:
            async with asyncio.timeout(timeout_s):
                with self._pending.checkpoint():
                    self._inbox.wake()
                    record = await asyncio.shield(due.ended)
        except TimeoutError:
            return None if due is self._pending.due else self._desk.current
        if record is not None:
            self.note_told(record)
        return record

    def note_told(self, record: RefocusRecord) -> None:
        """Note that acquisition knows of a refocus, and of what to take again."""
        self._told = max(self._told, record.refocus_id)

    async def take_lease(self, holder: str, expires_in_s: float, *, wait_s: float) -> ScanLease:
        """Keep the lens still for a scan; a refocus or a move that is under way or about to be is waited for.

        Raises:
            BusyError: the refocus, or a move to a predicted focus, has not ended within ``wait_s`` seconds.
            TooManyError: there are more leases than any laboratory needs.
        """
        try:
            async with asyncio.timeout(wait_s):
                await self._wait_for_focus()
        except TimeoutError:
            self._desk.refuse_while_busy("a scan lease")
            if self._pending.next is not None:
                raise BusyError("a scan lease is not possible while a refocus is about to begin") from None
            if self.is_following:
                raise BusyError("a scan lease is not possible while the lens is on its way") from None
        return self._leases.take(holder, expires_in_s)

    def renew_lease(self, lease_id: str, expires_in_s: float) -> ScanLease:
        """Let a lease run that long from now; ``NotFoundError`` if it does not hold any more."""
        return self._leases.renew(lease_id, expires_in_s)

    def end_lease(self, lease_id: str) -> None:
        """Give a lease back; ``NotFoundError`` if it does not hold any more."""
        self._leases.end(lease_id)
        self._inbox.wake()

    def refuse_while_leased(self, what: str) -> None:
        """Raise ``LeasedError`` naming the holders, if somebody scans."""
        held = self._leases.current
        if held:
            holders = ", ".join(sorted({lease.holder for lease in held}))
            message = f"{what} is not possible while {holders} scans"
            raise LeasedError(message, free_in_s=self._leases.free_in_s)

    def refuse_while_clients_scan(self, what: str) -> None:
        """Raise ``LeasedError`` while a client of the relay scans."""
        if self._neighbours.is_scanning:
            raise LeasedError(f"{what} is not possible while a client of the relay scans", free_in_s=1.0)

    async def _done(self, record: RefocusRecord | None) -> Checkpoint:
        """Say what a refocus has done."""
        if record is None or record.result is None:
            return Checkpoint(NO_ACTION, None, None, None)
        frame = await self._store.frames.get(record.frame_id) if record.frame_id else None
        return Checkpoint(
            action=record.result.value,
            reacquire_from=reacquire_from(frame, record),
            working_distance_mm=record.final_working_distance_mm,
            refocus=record,
        )

    async def _make_ready(self, next_place: Place) -> Foreseen | None:
        """Let the lens go to the focus predicted for the next tile."""
        self._following = self._inbox.put(
            "the move to the predicted focus", lambda microscope: self._follow(microscope, next_place)
        )
        # Who leaves does not stop it half way, and whoever wants to scan next waits for its end.
        return await asyncio.shield(self._following)

    def _untold(self) -> RefocusRecord | None:
        """Give the last refocus if it came by itself, has ended, and acquisition was not told of it."""
        last = self._desk.last
        is_own = last is not None and last.trigger is not RefocusTrigger.REQUEST
        return last if last is not None and is_own and last.refocus_id > self._told else None

    async def _wait_for_focus(self) -> RefocusRecord | None:
        """Wait until the lens stands and is not about to move; give the last refocus that was waited for."""
        record: RefocusRecord | None = None
        while True:
            due = self._pending.next
            if due is not None:
                self._inbox.wake()
                record = await asyncio.shield(due.ended) or record
            elif self._desk.is_busy:
                record = await self._desk.until_free()
            elif self._following is not None and not self._following.done():
                await asyncio.wait([self._following])
            else:
                return record
