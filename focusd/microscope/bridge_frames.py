"""Images that a bridge's owner takes: received in place, dated, and told from those focusd has disturbed.

The bridge dates them by a clock of its own. How far that is ahead of ours is known from focusd's own scans,
which were begun after they had been asked for: at most so far. So an image was begun at the time it says, on
our clock, or later; and at the latest so long before it came as it took.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from focusd.errors import RemoteProtocolError
from focusd.frame import MAX_SIDE_PX, MIN_SIDE_PX, Frame, Pixels
from focusd.microscope.bridge_images import CLOCK_GRAIN_S, conditions_of, pixels_for
from focusd.microscope.observed import FrameListener, ObservedFrame
from focusd.protocol.bridge_rpc import Notification
from focusd.protocol.bridge_values import ImageInfo, parse_image

FRAME: Final = "frame"
"""The notification's method."""
NEGLIGIBLE_SHARE: Final = 0.02
"""Of an image's time: so much of it may be disturbed and does not show, at most ``CLOCK_GRAIN_S``. So an
image that is begun as soon as focusd is done is judged, though focusd knows a little less well when."""
LONGEST_WAY_S: Final = 30.0
"""An image that seems to have come longer ago was dated by a clock that has been set."""


class OwnWork:
    """When focusd itself used the instrument, in seconds of the event loop's clock."""

    def __init__(self) -> None:
        self._asking = 0
        self._holders = 0
        self._has_worked = False
        self._ended_at = -float("inf")

    @property
    def is_held(self) -> bool:
        """Whether several moves and scans belong together now."""
        return self._holders > 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Count the pauses between moves and scans within the block too, from the first of them on."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if self._has_worked and not self._holders:
                self._has_worked = False
                self._ended_at = asyncio.get_running_loop().time()

    def begin(self) -> None:
        """Note that a move or a scan is asked for."""
        self._asking += 1

    def end(self, *, was_done: bool) -> None:
        """Note that it is over; one that was refused as the instrument is busy has disturbed nobody."""
        self._asking -= 1
        if was_done:
            self._has_worked = self._holders > 0
            self._ended_at = asyncio.get_running_loop().time()

    def may_have_disturbed(self, begun_at: float) -> bool:
        """Tell whether an image begun then may show some of it, or what was before it."""
        return self._asking > 0 or self._has_worked or begun_at < self._ended_at


class OwnersTurn:
    """When the owner's present image may be over, going by those before it.

    Attributes:
        took_s: How long the last one took, as the bridge says; 0 while none has come.
    """

    def __init__(self) -> None:
        self.took_s = 0.0
        self._came = asyncio.Event()

    def note(self, info: ImageInfo) -> None:
        """Take note of an image that has come: whoever waits for its end may try."""
        self.took_s = info.finished_at - info.started_at
        self._came.set()
        self._came = asyncio.Event()

    async def over(self, *, timeout_s: float) -> None:
        """Wait until an image comes, or so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._came.wait()


class ImageDates:
    """Brings the dates of images to our clock."""

    def __init__(self) -> None:
        self._ahead_s: float | None = None

    def note_scan(self, info: ImageInfo, *, sent_at: float, came_at: float) -> None:
        """Learn from a scan of our own, asked for and come at these times of our clock.

        The bridge may have waited before it began, so that the least of all scans counts; unless the newest
        shows that the bridge's clock has been set forward since.
        """
        most_s, least_s = info.started_at - sent_at, info.finished_at - came_at
        was_set = self._ahead_s is not None and self._ahead_s < least_s - CLOCK_GRAIN_S
        self._ahead_s = most_s if self._ahead_s is None or was_set else min(self._ahead_s, most_s)

    def begun_at(self, info: ImageInfo, *, came_at: float) -> float:
        """Give the earliest time at which an image may have been begun, in seconds of our clock."""
        latest_at = came_at - (info.finished_at - info.started_at)
        if self._ahead_s is None:
            return latest_at
        begun_at = info.started_at - self._ahead_s
        if latest_at - begun_at > LONGEST_WAY_S:
            self._ahead_s = None
            return latest_at
        return min(begun_at, latest_at)


@dataclass(slots=True)
class OwnersFrames:
    """Makes frames of a bridge's notifications.

    One that is no image as it should be costs itself and nothing else: its length is known all the same.

    Attributes:
        listener: Who is told.
        most_bytes: Larger ones are refused.
        work: When focusd used the instrument.
        dates: Of the bridge's images.
        turn: Told of each image.
    """

    listener: FrameListener
    most_bytes: int
    work: OwnWork
    dates: ImageDates
    turn: OwnersTurn
    _coming: tuple[ImageInfo, Pixels, float] | None = field(default=None, init=False)
    _refusal: str = field(default="", init=False)

    def place(self, notification: Notification, payload_bytes: int) -> memoryview | None:
        """Give the memory for the pixels that come now; ``None`` to have them read over."""
        if notification.method != FRAME:
            return None
        try:
            info = self._checked(notification, payload_bytes)
        except RemoteProtocolError as error:
            self._refusal = str(error)
            return None
        pixels = pixels_for(info)
        self._coming = info, pixels, asyncio.get_running_loop().time()
        return pixels.data.cast("B")

    def take(self, notification: Notification) -> None:
        """Hand over the frame that has come whole."""
        if notification.method != FRAME:
            return
        coming, self._coming = self._coming, None
        refusal, self._refusal = self._refusal, ""
        if coming is None:
            self.listener.frame_refused(refusal or "frame: it came without pixels")
            return
        info, pixels, came_at = coming
        self.turn.note(info)
        negligible_s = min(NEGLIGIBLE_SHARE * (info.finished_at - info.started_at), CLOCK_GRAIN_S)
        begun_at = self.dates.begun_at(info, came_at=came_at) + negligible_s
        state = info.state
        frame = Frame(
            pixels,
            conditions_of(info, columns=info.shape[1], dwell_time_us=state.dwell_time_us),
            state.working_distance_mm,
            time.time() - (asyncio.get_running_loop().time() - came_at),
            state.stage_position,
        )
        is_disturbed = partial(self.work.may_have_disturbed, begun_at)
        self.listener.frame_observed(ObservedFrame(frame, info.frame_id, is_disturbed))

    def _checked(self, notification: Notification, payload_bytes: int) -> ImageInfo:
        info = parse_image(notification.params, payload_bytes, FRAME)
        if not all(MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in info.shape):
            rows, columns = info.shape
            raise RemoteProtocolError(
                f"frame: {rows} x {columns} px, each side must be {MIN_SIDE_PX} to {MAX_SIDE_PX} px"
            )
        if payload_bytes > self.most_bytes:
            raise RemoteProtocolError(
                f"frame: {payload_bytes} bytes, at most {self.most_bytes} are taken (stream.memory_mib)"
            )
        return info
