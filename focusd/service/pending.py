"""The one refocus that is wanted and has not begun: what it waits for, and who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from focusd.frame import Frame
from focusd.records import FrameVerdict, RefocusRecord, RefocusTrigger
from focusd.service.leases import Leases
from focusd.service.neighbours import Neighbours

_log = structlog.get_logger(__name__)


class WaitsFor(StrEnum):
    """What keeps a wanted refocus from beginning."""

    CHECKPOINT = "checkpoint"
    """The word of the acquisition software that it is between two tiles."""
    SCAN_LEASE = "scan_lease"
    """The end of somebody's scan."""
    CLIENT = "client"
    """A client of the relay that scans or moves the stage; its next scan waits until focus is back."""
    START = "start"
    """Nothing: it begins next."""


@dataclass(frozen=True, slots=True)
class PendingRefocus:
    """A wanted refocus as the status shows it."""

    trigger: RefocusTrigger
    frame_id: int
    """The frame that called for it."""
    waits_for: WaitsFor


@dataclass(slots=True, eq=False)
class Due:
    """A wanted refocus."""

    trigger: RefocusTrigger
    verdict: FrameVerdict
    frame: Frame
    is_own: bool
    """Whether focusd took the frame itself, where the lens stands: then it is the refocus's first look."""
    ended: asyncio.Future[RefocusRecord | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """How it ended; ``None`` if it never began, or nothing is known."""

    def end(self, record: RefocusRecord | None) -> None:
        """Tell everybody who waits."""
        if not self.ended.done():
            self.ended.set_result(record)


class Pending:
    """Holds the wanted refocus until it may begin.

    Args:
        leases: While one holds nothing begins.
        neighbours: Nothing begins while it would disturb one of them.
        at_checkpoints: Whether nothing begins but at a checkpoint.
    """

    def __init__(self, leases: Leases, neighbours: Neighbours, *, at_checkpoints: bool) -> None:
        self._leases = leases
        self._neighbours = neighbours
        self._at_checkpoints = at_checkpoints
        self._checkpoints = 0
        self.due: Due | None = None
        """The refocus that has not begun."""
        self._begun: Due | None = None

    @property
    def next(self) -> Due | None:
        """The refocus that runs by itself before anything else does: it begins next, or has just begun."""
        if self._begun is not None and not self._begun.ended.done():
            return self._begun
        return self.due if self.waits_for is WaitsFor.START else None

    @property
    def waits_for(self) -> WaitsFor | None:
        """What the wanted refocus waits for; ``None`` when none is wanted."""
        if self.due is None:
            return None
        if self._leases.current:
            return WaitsFor.SCAN_LEASE
        if self._at_checkpoints and not self.is_at_checkpoint:
            return WaitsFor.CHECKPOINT
        if not self._neighbours.lets_begin:
            return WaitsFor.CLIENT
        return WaitsFor.START

    @property
    def is_at_checkpoint(self) -> bool:
        """Whether acquisition is between two tiles."""
        return self._checkpoints > 0

    @property
    def leased_s(self) -> float:
        """Seconds until the last scan lease runs out; 0 when none holds."""
        return self._leases.free_in_s

    @property
    def shown(self) -> PendingRefocus | None:
        """For the status; one that has begun is shown until it has ended: nobody is to take it for done."""
        due, waits_for = self.due, self.waits_for
        if due is None and self.next is not None:
            due, waits_for = self.next, WaitsFor.START
        if due is None or waits_for is None:
            return None
        return PendingRefocus(due.trigger, due.verdict.frame_id, waits_for)

    def want(self, due: Due) -> Due:
        """Hold a refocus that is wanted; one that is held already stays, for it knows when drift began."""
        if self.due is None:
            self.due = due
            _log.info("refocus_pending", trigger=due.trigger.value, frame_id=due.verdict.frame_id)
        return self.due

    def begin(self) -> Due | None:
        """Give the wanted refocus out if it may begin now."""
        if self.waits_for is not WaitsFor.START:
            return None
        self._begun, self.due = self.due, None
        return self._begun

    def drop(self, because: str) -> None:
        """Want nothing any more."""
        if self.due is not None:
            _log.info("refocus_not_wanted_any_more", because=because)
            self.due.end(None)
            self.due = None

    @contextmanager
    def checkpoint(self) -> Iterator[None]:
        """Be between two tiles for the length of a ``with`` block."""
        self._checkpoints += 1
        try:
            yield
        finally:
            self._checkpoints -= 1
