"""Images on a SharkSEM data connection: pieces of a scan, and putting them together.

A running scan goes out in ``ScData`` messages of about 50 ms each, for every enabled channel. A piece says
which scan it belongs to (frame id), its channel, the index of its first pixel counted row by row over the
scanned region, and its depth. There is no end-of-frame message: a frame is complete when a piece reaches
the last pixel.

Rules kept here:

1. Pieces of another frame id or channel are dropped: after ScStopScan, pieces under way still arrive.
2. A piece whose index is smaller than what was received is sent again: receiving goes on from there.
3. A piece whose index is larger follows a lost one: nothing is taken until index 0 comes again.
4. A piece that contradicts the scan (depth, size, end) is a ``RemoteProtocolError``.

Source: TESCAN, SharkSEM Remote Control manual 2.0.25, chapter on image transfer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from focusd.errors import LocalProtocolError, RemoteProtocolError
from focusd.frame import Pixels
from focusd.framepool import FRAMES
from focusd.protocol.sharksem import HEADER_BYTES, Header, Message, decode_header, encode_message
from focusd.protocol.sharksem_body import padding

SCAN_DATA: Final = "ScData"
PIECE_HEADER_BYTES: Final = 20

_PIECE_HEADER: Final = struct.Struct("<IiIiI")
_DEPTHS: Final = (8, 16)
_SCRATCH_BYTES: Final = 65_536
_NOTHING: Final = np.empty(0, np.uint8)
_HEAD_BYTES: Final = HEADER_BYTES + PIECE_HEADER_BYTES
"""Both headers are read at once: each reading costs a turn of the event loop."""


@dataclass(frozen=True, slots=True)
class PieceHeader:
    """What a piece says of its pixels; ``index`` counts pixels, ``data_bytes`` bytes."""

    frame_id: int
    channel: int
    index: int
    bits_per_pixel: int
    data_bytes: int

    @property
    def pixels(self) -> int:
        """Number of pixels in the piece."""
        return self.data_bytes * 8 // self.bits_per_pixel


def decode_piece_header(data: bytes | bytearray | memoryview, *, body_bytes: int) -> PieceHeader:
    """Read the 20 bytes before a piece's pixels, given the size of the body they stand in.

    Raises:
        RemoteProtocolError: neither 8 nor 16 bit, or the size does not fit pixels or body.
    """
    if len(data) < PIECE_HEADER_BYTES:
        raise RemoteProtocolError(f"an image piece of {len(data)} bytes has no room for its header")
    header = PieceHeader(*_PIECE_HEADER.unpack_from(data))
    if header.bits_per_pixel not in _DEPTHS:
        raise RemoteProtocolError(
            f"an image piece has {header.bits_per_pixel} bits per pixel, 8 or 16 are known"
        )
    if header.data_bytes % (header.bits_per_pixel // 8):
        raise RemoteProtocolError(f"an image piece of {header.data_bytes} bytes ends inside a 16-bit pixel")
    if header.data_bytes > body_bytes - PIECE_HEADER_BYTES:
        raise RemoteProtocolError(
            f"an image piece claims {header.data_bytes} bytes of pixels in a body of {body_bytes}"
        )
    return header


@dataclass(frozen=True, slots=True)
class ScanPiece:
    """One piece of a scan; ``pixels`` are raw bytes, 16-bit ones little-endian."""

    frame_id: int
    channel: int
    index: int
    bits_per_pixel: int
    pixels: bytes

    @classmethod
    def decode(cls, body: bytes | bytearray | memoryview) -> ScanPiece:
        """Read the body of a ``ScData`` message.

        Raises:
            RemoteProtocolError: the body holds no piece.
        """
        header = decode_piece_header(body, body_bytes=len(body))
        pixels = bytes(memoryview(body)[PIECE_HEADER_BYTES : PIECE_HEADER_BYTES + header.data_bytes])
        return cls(header.frame_id, header.channel, header.index, header.bits_per_pixel, pixels)

    def encode(self) -> bytes:
        """Give the whole ``ScData`` message, header included.

        Raises:
            LocalProtocolError: a field does not fit the wire.
        """
        size = len(self.pixels)
        try:
            head = _PIECE_HEADER.pack(self.frame_id, self.channel, self.index, self.bits_per_pixel, size)
        except struct.error as error:
            raise LocalProtocolError(f"an image piece does not fit the wire: {error}") from error
        return encode_message(Message(SCAN_DATA, head + self.pixels + bytes(padding(size))))


def wire_pixels(pixels: Pixels) -> bytes:
    """Give an image's pixels as they travel: row by row, 16-bit ones little-endian."""
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def _native_pixels(data: NDArray[np.uint8], bits_per_pixel: int, shape: tuple[int, int]) -> Pixels:
    """Give wire bytes as an image; no copy where the machine is little-endian."""
    if bits_per_pixel == 8:
        return data.reshape(shape)
    return data.view(np.dtype("<u2")).astype(np.uint16, copy=False).reshape(shape)


class ScanAssembler:
    """Puts the pieces of one scan together in memory taken beforehand.

    A single scan gives one frame; with ``continual`` a piece of index 0 after a complete frame starts
    the next one. ``take_frame`` gives what is complete.

    Args:
        frame_id: The id given to the scan; pieces of others are dropped.
        channel: The channel wanted.
        bits_per_pixel: 8 or 16.
        shape: Rows and columns of the scanned region.
        continual: Whether frames follow one another.
    """

    def __init__(
        self,
        frame_id: int,
        *,
        channel: int,
        bits_per_pixel: int,
        shape: tuple[int, int],
        continual: bool = False,
    ) -> None:
        self.frame_id = frame_id
        self.channel = channel
        self.bits_per_pixel = bits_per_pixel
        self.shape = shape
        self.received_px = 0
        self._continual = continual
        self._total_px = shape[0] * shape[1]
        self._lost = False
        self._done = False
        self._broken_off = False
        self._finished: NDArray[np.uint8] | None = None
        self._buffer = self._new_buffer()

    @property
    def complete(self) -> bool:
        """Whether the frame begun last has all of its pixels."""
        return self._done

    @property
    def ended(self) -> bool:
        """Whether nothing more can come of a single scan: it is complete, or ended with a piece lost."""
        return self._done or self._broken_off

    @property
    def missing_px(self) -> int:
        """Pixels of the present frame that have not come."""
        return self._total_px - self.received_px

    def target(self, header: PieceHeader) -> memoryview | None:
        """Give the place a piece's pixels belong to, or ``None`` if the piece is to be dropped.

        Fill all of it, then call ``commit`` with the same header.

        Raises:
            RemoteProtocolError: the piece contradicts the scan.
        """
        if (header.frame_id, header.channel) != (self.frame_id, self.channel):
            return None
        self._check(header)
        if self._done:
            if not self._continual or header.index:
                return None
            self._restart()
        if header.index > self.received_px or (self._lost and header.index):
            self._lost = True
            reaches_end = header.index + header.pixels == self._total_px
            self._broken_off = reaches_end and not self._continual
            return None
        self._lost = self._broken_off = False
        self.received_px = header.index
        size = self.bits_per_pixel // 8
        start = header.index * size
        return self._buffer.data[start : start + header.data_bytes]

    def commit(self, header: PieceHeader) -> None:
        """Count a piece that was filled into its target."""
        self.received_px = header.index + header.pixels
        if self.received_px == self._total_px:
            self._done = True
            # Whoever takes the frame is then alone with its memory, and leaves it to the next.
            self._finished, self._buffer = self._buffer, _NOTHING

    def add(self, piece: ScanPiece) -> None:
        """Take one decoded piece.

        Raises:
            RemoteProtocolError: the piece contradicts the scan.
        """
        header = PieceHeader(
            piece.frame_id, piece.channel, piece.index, piece.bits_per_pixel, len(piece.pixels)
        )
        target = self.target(header)
        if target is not None:
            target[:] = piece.pixels
            self.commit(header)

    def take_frame(self) -> Pixels | None:
        """Give the newest complete frame once, in native byte order; ``None`` if there is none."""
        data, self._finished = self._finished, None
        return None if data is None else _native_pixels(data, self.bits_per_pixel, self.shape)

    def _check(self, header: PieceHeader) -> None:
        if header.bits_per_pixel != self.bits_per_pixel:
            raise RemoteProtocolError(
                f"asked for {self.bits_per_pixel} bits per pixel, got a piece of {header.bits_per_pixel}"
            )
        if header.index + header.pixels > self._total_px:
            raise RemoteProtocolError(
                f"a piece ends at pixel {header.index + header.pixels} of a scan of {self._total_px}"
            )

    def _restart(self) -> None:
        self._buffer = self._new_buffer()
        self._done = False
        self.received_px = 0

    def _new_buffer(self) -> NDArray[np.uint8]:
        # Only what has been filled from end to end is ever given away, so nothing need be cleared.
        return FRAMES.take(self._total_px * self.bits_per_pixel // 8)


class PieceSink(Protocol):
    """Has a place for the pieces it wants; a ``ScanAssembler`` is one."""

    def target(self, header: PieceHeader) -> memoryview | None:
        """Give the place for all pixels of a piece, or ``None`` to have it dropped."""
        ...

    def commit(self, header: PieceHeader) -> None:
        """Take note that the place given last has been filled."""
        ...


class ScanDataStream:
    """Receives a data connection straight into a scan's memory.

    Ask ``get_buffer`` for the place of the next bytes, fill a beginning of it, and tell ``received`` how
    many. Pixels of the scan in ``assembler`` land there; everything else is skipped, so the
    memory used does not depend on what the other side claims.
    """

    def __init__(self) -> None:
        self.assembler: PieceSink | None = None
        """Who wants the pieces; ``None`` drops all."""
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._header: Header | None = None
        self._piece: tuple[PieceHeader, PieceSink] | None = None
        self._target = self._scratch[:_HEAD_BYTES]
        self._filled = 0
        self._body_left = 0
        self._skipping = False

    def get_buffer(self) -> memoryview:
        """Give the place for the next bytes; never empty."""
        return self._target[self._filled :]

    def received(self, count: int) -> None:
        """Take note of ``count`` bytes written at the beginning of the last ``get_buffer``.

        Raises:
            RemoteProtocolError: no message, or a piece that contradicts the scan.
        """
        self._filled += count
        if self._header is None and self._filled >= HEADER_BYTES:
            self._on_header()
        if self._filled < len(self._target):
            return
        if self._piece is not None:
            self._on_pixels(*self._piece)
        elif self._skipping:
            self._skip()
        else:
            self._on_piece_header()

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Copy bytes to where ``get_buffer`` says, as often as it takes.

        Raises:
            RemoteProtocolError: as ``received``.
        """
        left = memoryview(data)
        while left:
            place = self.get_buffer()
            count = min(len(place), len(left))
            if not self._skipping:
                place[:count] = left[:count]
            left = left[count:]
            self.received(count)

    def _on_header(self) -> None:
        header = decode_header(self._target[:HEADER_BYTES])
        if header.name != SCAN_DATA:
            self._on_foreign(header)
            return
        if header.body_bytes < PIECE_HEADER_BYTES:
            raise RemoteProtocolError(
                f"an image piece of {header.body_bytes} bytes has no room for its header"
            )
        self._header = header
        self._body_left = header.body_bytes - PIECE_HEADER_BYTES

    def _on_foreign(self, header: Header) -> None:
        """Drop a message of another name; what has been read beyond its end belongs to the next."""
        came = self._filled - HEADER_BYTES
        used = min(came, header.body_bytes)
        beyond = bytes(self._target[HEADER_BYTES + used : self._filled])
        self._header = header
        self._body_left = header.body_bytes - used
        self._skip()
        self._target[: len(beyond)] = beyond
        self._filled = len(beyond)

    def _on_piece_header(self) -> None:
        body_bytes = self._body_left + PIECE_HEADER_BYTES
        piece = decode_piece_header(self._target[HEADER_BYTES:], body_bytes=body_bytes)
        assembler = self.assembler
        target = None if assembler is None else assembler.target(piece)
        if assembler is None or target is None:
            self._skip()
        elif len(target) == 0:
            assembler.commit(piece)
            self._skip()
        else:
            self._piece = piece, assembler
            self._expect(target)

    def _on_pixels(self, piece: PieceHeader, assembler: PieceSink) -> None:
        assembler.commit(piece)
        self._piece = None
        self._skip()

    def _skip(self) -> None:
        """Drop what is left of the body, then wait for the next header."""
        self._skipping = self._body_left > 0
        if self._skipping:
            self._expect(self._scratch[: min(self._body_left, _SCRATCH_BYTES)])
        else:
            self._header = None
            self._filled = 0
            self._target = self._scratch[:_HEAD_BYTES]

    def _expect(self, target: memoryview) -> None:
        self._target = target
        self._filled = 0
        self._body_left -= len(target)
