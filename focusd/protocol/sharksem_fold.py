"""Frames folded out of image pieces that pass by, for whoever did not order the scans itself.

A session's requests say what will come (``expect``), its pieces say what does. A piece belongs to the
newest scan of its frame id; a client may use one id for all of its scans.

Rules kept here:

1. A scan counts as running from the moment its request is passed on until its last piece has passed, it
   is stopped, refused, or another one takes its place. In doubt it runs.
2. Pieces may arrive before the answer to their request, and after the stop of their scan.
3. A piece that contradicts its scan spoils its frame and nothing else: the next one begins at index 0.
4. Memory is taken when the first piece of a frame arrives, never for a request alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from focusd.errors import RemoteProtocolError
from focusd.frame import Pixels
from focusd.protocol.sharksem_image import PieceHeader, ScanAssembler
from focusd.protocol.sharksem_orders import ScanOrder

MAX_FRAME_BYTES: Final = 1 << 28
"""Frames over this (16384 x 8192 pixels of 16 bits) are passed on but not folded."""
_MAX_SCANS: Final = 4
_MAX_CHANNELS: Final = 64


class ScanEnd(StrEnum):
    """How a scan ended."""

    COMPLETE = "complete"
    STOPPED = "stopped"
    REFUSED = "refused"
    REPLACED = "replaced"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, eq=False)
class FoldedFrame:
    """A complete frame of one channel."""

    order: ScanOrder
    channel: int
    bits_per_pixel: int
    pixels: Pixels


@dataclass(eq=False, slots=True)
class _Scan:
    order: ScanOrder
    channels: frozenset[int]
    """Channels known to be sent; others show themselves."""
    ended: ScanEnd | None = None
    passed: dict[int, int] = field(default_factory=dict)
    """Frames whose last piece has passed, by channel."""
    assemblers: dict[int, ScanAssembler] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        channels = self.channels | self.passed.keys()
        wanted = self.order.frames
        return bool(wanted and channels) and all(self.passed.get(one, 0) >= wanted for one in channels)

    def begin(self, header: PieceHeader) -> None:
        """Take note that a channel is sent."""
        if len(self.passed) < _MAX_CHANNELS:
            self.passed.setdefault(header.channel, 0)

    def finish(self, header: PieceHeader) -> None:
        """Take note that a piece has passed."""
        if header.channel in self.passed and header.index + header.pixels >= self.order.pixels:
            self.passed[header.channel] += 1

    def assembler(self, header: PieceHeader, max_frame_bytes: int) -> ScanAssembler | None:
        """Give what puts this piece's frame together; ``None`` when nothing does."""
        order = self.order
        if not order.is_image or order.pixels * header.bits_per_pixel // 8 > max_frame_bytes:
            return None
        found = self.assemblers.get(header.channel)
        if found is not None and (found.bits_per_pixel == header.bits_per_pixel or header.index):
            return found
        if header.index or header.channel not in self.passed:
            return None
        made = ScanAssembler(
            order.frame_id,
            channel=header.channel,
            bits_per_pixel=header.bits_per_pixel,
            shape=order.shape,
            continual=order.frames != 1,
        )
        self.assemblers[header.channel] = made
        return made


class ScanFolder:
    """Folds the pieces of one session's scans; what a ``ScanDataStream`` is given to fill.

    Args:
        max_frame_bytes: Frames over this are not folded.
    """

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._scans: list[_Scan] = []
        self._filling: tuple[_Scan, ScanAssembler] | None = None
        self._frames: list[FoldedFrame] = []
        self._ended: list[tuple[ScanOrder, ScanEnd]] = []

    @property
    def active(self) -> bool:
        """Whether a scan of this session may be running."""
        return any(scan.ended is None for scan in self._scans)

    # --- what the control connection tells ---

    def expect(self, order: ScanOrder, channels: Collection[int] = ()) -> None:
        """Take note of a request that is passed on, and of the channels it is known to send."""
        self._scans.append(_Scan(order, frozenset(channels)))
        for scan in self._scans[:-_MAX_SCANS]:
            self._drop(scan, ScanEnd.REPLACED)

    def answered(self, order: ScanOrder, code: int) -> None:
        """Take note of the answer to a request."""
        for scan in [one for one in self._scans if one.order is order]:
            if code < 0:
                self._drop(scan, ScanEnd.REFUSED)
            else:
                self._confirm(scan)

    def stop(self) -> None:
        """Take note of a stop that takes effect at once."""
        for scan in self._scans:
            self._end(scan, ScanEnd.STOPPED)

    def close(self) -> None:
        """Take note of the end of the session."""
        for scan in list(self._scans):
            self._drop(scan, ScanEnd.CLOSED)

    # --- what the data connection brings ---

    def target(self, header: PieceHeader) -> memoryview | None:
        """Give the place a piece's pixels belong to, or ``None`` if nobody wants them."""
        scan = next((one for one in reversed(self._scans) if one.order.frame_id == header.frame_id), None)
        if scan is None:
            return None
        self._confirm(scan)
        scan.begin(header)
        assembler = scan.assembler(header, self._max_frame_bytes)
        place = None
        if assembler is not None:
            try:
                place = assembler.target(header)
            except RemoteProtocolError:
                del scan.assemblers[header.channel]
        if assembler is None or place is None:
            self._finish(scan, header)
            return None
        self._filling = scan, assembler
        return place

    def commit(self, header: PieceHeader) -> None:
        """Count a piece that was filled into its target."""
        if self._filling is None:
            return
        (scan, assembler), self._filling = self._filling, None
        assembler.commit(header)
        pixels = assembler.take_frame()
        if pixels is not None:
            self._frames.append(FoldedFrame(scan.order, header.channel, header.bits_per_pixel, pixels))
        self._finish(scan, header)

    # --- what came of it ---

    def take_frames(self) -> list[FoldedFrame]:
        """Give the frames completed since the last call."""
        frames, self._frames = self._frames, []
        return frames

    def take_ended(self) -> list[tuple[ScanOrder, ScanEnd]]:
        """Give the scans that have ended since the last call, and how."""
        ended, self._ended = self._ended, []
        return ended

    def _finish(self, scan: _Scan, header: PieceHeader) -> None:
        scan.finish(header)
        if scan.is_complete:
            self._end(scan, ScanEnd.COMPLETE)

    def _confirm(self, scan: _Scan) -> None:
        """The microscope carries this scan out, so those before it are over."""
        for older in self._scans[: self._scans.index(scan)]:
            self._drop(older, ScanEnd.REPLACED)

    def _drop(self, scan: _Scan, how: ScanEnd) -> None:
        self._end(scan, how)
        self._scans.remove(scan)

    def _end(self, scan: _Scan, how: ScanEnd) -> None:
        if scan.ended is None:
            scan.ended = how
            self._ended.append((scan.order, how))
