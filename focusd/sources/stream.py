"""Frames that a microscope tells of by itself, on their way to whoever judges them.

Rules kept here:

1. Nothing here waits: the connection that frames come over carries answers too. When frames come faster than
   they are judged, the oldest that waits is dropped and counted.
2. A frame that focusd itself may have disturbed is set aside, and one that came before is taken once.
3. What goes wrong is logged when it begins and when it ends, not frame by frame.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import structlog

from focusd.config import StreamSettings
from focusd.errors import LinkError
from focusd.microscope.observed import ObservedFrame
from focusd.sources.stream_order import FrameOrder
from focusd.sources.stream_status import StreamStatus

_log = structlog.get_logger(__name__)

BYTES_PER_MIB: Final = 1 << 20
MOST_NAMED: Final = 32
"""Names of frames in one line of the log, the last ones."""


class FrameStream:
    """Frames waiting to be judged; a ``FrameListener``.

    Args:
        settings: How many may wait.
        on_change: Called with each new status.
    """

    def __init__(
        self, settings: StreamSettings, on_change: Callable[[StreamStatus], object] = lambda _: None
    ) -> None:
        self.on_change = on_change
        self.most_bytes = settings.memory_mib * BYTES_PER_MIB
        """Of all frames that wait, and so of each."""
        self._most_frames = settings.waiting_frames
        self._label = settings.label
        self._order = FrameOrder()
        self._waiting: deque[ObservedFrame] = deque()
        self._arrived = asyncio.Event()
        self._wants_more = asyncio.Event()
        self._ask: Callable[[], Awaitable[object]] | None = None
        self._aside: deque[str] = deque(maxlen=MOST_NAMED)
        self._dropped_before = 0
        self._is_dropping = self._has_refused = self._has_missed = False
        self.status = StreamStatus()
        """As it stands now."""

    def subscribed(self, ask: Callable[[], Awaitable[object]] | None = None) -> None:
        """Take note of a new connection.

        Args:
            ask: Asks the microscope for anything: what it has told before has come when that is answered.
        """
        self._ask = ask
        self._order.begin_anew()
        self._has_refused = self._has_missed = False
        self._note(is_subscribed=True)

    def unsubscribed(self) -> None:
        """Take note that the connection has gone; frames that have come are still judged."""
        self._ask = None
        self._note(is_subscribed=False)

    async def get(self) -> ObservedFrame:
        """Wait for the oldest frame that nothing has disturbed, also while it waited, and take it."""
        while (observed := await self._oldest()).is_disturbed():
            self._set_aside(observed)
        if self._aside:
            _log.info("observed_frames_set_aside", frames=tuple(self._aside))
            self._aside.clear()
        self._note()
        return observed

    async def caught_up(self) -> None:
        """Wait until every frame that was told of before this call has been judged, if the link holds."""
        if self._ask is not None:
            with suppress(LinkError):
                await self._ask()
        await self._wants_more.wait()

    async def _oldest(self) -> ObservedFrame:
        while not self._waiting:
            self._arrived.clear()
            self._wants_more.set()
            await self._arrived.wait()
        observed = self._waiting.popleft()
        if not self._waiting and self._is_dropping:
            self._is_dropping = False
            dropped = self.status.frames_dropped - self._dropped_before
            _log.info("observed_frames_kept_up_with", dropped=dropped)
        return observed

    def judged(self, observed: ObservedFrame) -> None:
        """Take note that the verdict on a frame is kept."""
        if self.status.store_error:
            _log.info("observed_frames_judged_again")
        self._note(last_frame=observed.name, store_error="")

    def store_failed(self, error: str) -> None:
        """Take note that a verdict could not be kept."""
        if not self.status.store_error:
            _log.error("observed_frames_not_judged", error=error)
        self._note(store_error=error)

    # --- as a listener of the microscope ---

    def frame_observed(self, observed: ObservedFrame) -> None:
        """Let a frame wait to be judged, unless it has come before or been disturbed."""
        if self._order.is_new(observed.name):
            if self._order.missing > self.status.frames_missing and not self._has_missed:
                self._has_missed = True
                _log.warning("observed_frames_missing", before=observed.name, missing=self._order.missing)
            if observed.is_disturbed():
                self._set_aside(observed)
            else:
                self._put(observed)
        self._note(frames=self.status.frames + 1)

    def frame_refused(self, reason: str) -> None:
        """Count a frame that is none."""
        if not self._has_refused:
            self._has_refused = True
            _log.warning("observed_frame_refused", reason=reason)
        status = self.status
        self._note(frames=status.frames + 1, frames_refused=status.frames_refused + 1, last_refused=reason)

    # --- private ---

    def _put(self, observed: ObservedFrame) -> None:
        frame = observed.frame
        labelled = replace(frame, conditions=replace(frame.conditions, label=self._label))
        self._waiting.append(replace(observed, frame=labelled))
        self._wants_more.clear()
        while self._is_too_much():
            self._drop()
        self._arrived.set()

    def _set_aside(self, observed: ObservedFrame) -> None:
        self._aside.append(observed.name)
        self._note(frames_set_aside=self.status.frames_set_aside + 1)

    def _is_too_much(self) -> bool:
        if len(self._waiting) <= 1:
            return False
        waiting_bytes = sum(each.frame.pixels.nbytes for each in self._waiting)
        return len(self._waiting) > self._most_frames or waiting_bytes > self.most_bytes

    def _drop(self) -> None:
        oldest = self._waiting.popleft()
        if not self._is_dropping:
            self._is_dropping = True
            self._dropped_before = self.status.frames_dropped
            _log.warning("observed_frames_dropped", first=oldest.name, waiting=len(self._waiting))
        self.status = replace(self.status, frames_dropped=self.status.frames_dropped + 1)

    def _note(self, **changes: Any) -> None:  # noqa: ANN401 - the status's own fields, checked by replace
        order = self._order
        self.status = replace(
            self.status,
            frames_waiting=len(self._waiting),
            frames_missing=order.missing,
            frames_late=order.late,
            frames_repeated=order.repeated,
            **changes,
        )
        self.on_change(self.status)
