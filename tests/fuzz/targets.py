"""The readers of foreign bytes. Each takes any bytes; an error that is not the reader's own is a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType

import numpy as np

from focusd.errors import ImageError, RemoteProtocolError
from focusd.imagefile.decode import decode_image
from focusd.imagefile.raw import raw_format, raw_image
from focusd.protocol import bridge, bridge_rpc, bridge_values, sharksem
from focusd.protocol.sharksem_fold import ScanFolder
from focusd.protocol.sharksem_functions import FUNCTIONS
from focusd.protocol.sharksem_image import ScanAssembler, ScanDataStream
from focusd.protocol.sharksem_orders import decode_order
from focusd.protocol.sharksem_parts import MessageSplitter

SHAPE = (64, 64)
MAX_BODY_BYTES = 1 << 16
MAX_PAYLOAD_BYTES = 1 << 20
MAX_DECODED_BYTES = 1 << 22
_BRIDGE_READERS: tuple[Callable[[object], object], ...] = (
    bridge_values.parse_hello,
    bridge_values.parse_state,
    bridge_values.parse_scan,
    lambda value: bridge_values.parse_image(value, 4096),
    lambda value: bridge_values.working_distance(value, "it"),
)


def sharksem_messages(data: bytes) -> None:
    """Messages of the control connection: the same ones wherever the bytes are cut."""
    assert list(_sharksem(data, len(data))) == list(_sharksem(data, _cut(data)))


def sharksem_bodies(data: bytes) -> None:
    """Answers and requests of each function: values that can be used, or an error of the protocol."""
    if not data:
        return
    functions = list(FUNCTIONS.values())
    function = functions[data[0] % len(functions)]
    for signature in (function.answer, function.request):
        with suppress(RemoteProtocolError):
            values = signature.decode(data[1:])
            assert all(isinstance(value, str) or np.isfinite(value) for value in values)
    for name in ("ScScanXY", "ScScanLine"):
        with suppress(RemoteProtocolError):
            assert decode_order(name, data[1:]).shape >= (0, 0)


def sharksem_images(data: bytes) -> None:
    """Pieces of pictures: a whole frame or an error, and never a byte beyond the frame's memory."""
    if not data:
        return
    bits = 16 if data[0] & 1 else 8
    assembler = ScanAssembler(
        1, channel=data[0] >> 4, bits_per_pixel=bits, shape=SHAPE, continual=bool(data[0] & 2)
    )
    stream = ScanDataStream()
    stream.assembler = assembler
    with suppress(RemoteProtocolError):
        for piece in _pieces(data[1:], _cut(data)):
            stream.receive_data(piece)
    frame = assembler.take_frame()
    assert frame is None or (frame.shape == SHAPE and frame.dtype.itemsize * 8 == bits)
    assert assembler.missing_px >= 0


def relayed(data: bytes) -> None:
    """What the relay passes on: every byte in its order, whatever it is."""
    splitter = MessageSplitter({"ScScanXY": 128, "GetWD": 64})
    passed = [part.data for piece in _pieces(data, _cut(data)) for part in splitter.split(piece)]
    assert b"".join(passed) + splitter.rest() == data
    folder, stream = ScanFolder(max_frame_bytes=MAX_PAYLOAD_BYTES), ScanDataStream()
    stream.assembler = folder
    with suppress(RemoteProtocolError):
        folder.expect(decode_order("ScScanXY", data[:64]))
    with suppress(RemoteProtocolError):
        stream.receive_data(data[64:])
    assert all(frame.pixels.size > 0 for frame in folder.take_frames())


def bridge_messages(data: bytes) -> None:
    """Messages of a bridge: the same ones wherever the bytes are cut; each is understood or refused."""
    messages = list(_bridge(data, len(data)))
    assert messages == list(_bridge(data, _cut(data)))
    for header, _ in messages:
        if not isinstance(header, dict):
            continue
        for parse in (bridge_rpc.parse_call, bridge_rpc.parse_from_bridge):
            with suppress(RemoteProtocolError):
                _read_values(parse(header))


def images(data: bytes) -> None:
    """Image files: pixels that may be judged, or an error."""
    with suppress(ImageError):
        image = decode_image(data, max_decoded_bytes=MAX_DECODED_BYTES)
        assert image.pixels.ndim == 2
        assert image.pixels.dtype in (np.uint8, np.uint16)
        assert not image.pixels.flags.writeable
        for name in ("working_distance_mm", "pixel_size_nm", "dwell_time_us", "accelerating_voltage_kv"):
            value = getattr(image.metadata, name)
            assert value is None or np.isfinite(value)


def bare_pixels(data: bytes) -> None:
    """Bare pixels with what is said of them."""
    said, _, pixels = data.partition(b"\n")
    shape, _, dtype = said.decode("utf-8", "replace").partition(" ")
    with suppress(ImageError):
        known = raw_format(shape, dtype)
        image = raw_image(pixels, (known.rows, known.columns), known.dtype)
        assert image.shape == (known.rows, known.columns)


TARGETS: Mapping[str, Callable[[bytes], None]] = MappingProxyType(
    {
        reader.__name__: reader
        for reader in (
            sharksem_messages,
            sharksem_bodies,
            sharksem_images,
            relayed,
            bridge_messages,
            images,
            bare_pixels,
        )
    }
)


def _cut(data: bytes) -> int:
    """A size of pieces that the bytes themselves decide."""
    return 1 + sum(data[:8]) % 97


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _sharksem(data: bytes, size: int) -> Iterator[object]:
    stream = sharksem.MessageStream(max_body_bytes=MAX_BODY_BYTES)
    try:
        for piece in _pieces(data, max(size, 1)):
            stream.receive_data(piece)
            while (message := stream.next_message()) is not sharksem.NEED_DATA:
                yield message
    except RemoteProtocolError as error:
        yield str(error)


def _bridge(data: bytes, size: int) -> Iterator[tuple[object, bytes]]:
    stream = bridge.MessageStream(max_payload_bytes=MAX_PAYLOAD_BYTES)
    for piece in _pieces(data, max(size, 1)):
        with suppress(RemoteProtocolError):
            stream.receive_data(piece)
        try:
            while (message := stream.next_message()) is not bridge.NEED_DATA:
                yield message.header, bytes(message.payload or b"")
        except RemoteProtocolError as error:
            yield str(error), b""
            return


def _read_values(message: object) -> None:
    for name in ("params", "value"):
        value = getattr(message, name, None)
        for read in _BRIDGE_READERS:
            with suppress(RemoteProtocolError):
                read(value)
