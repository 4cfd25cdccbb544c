"""Pieces of a scan, and the image they make."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.errors import LocalProtocolError, RemoteProtocolError
from focusd.protocol.sharksem import Message, encode_message
from focusd.protocol.sharksem_image import ScanAssembler, ScanDataStream, ScanPiece, wire_pixels

FRAME_ID = 13500


def assembler(
    bits_per_pixel: int = 8, shape: tuple[int, int] = (3, 4), *, continual: bool = False
) -> ScanAssembler:
    """Make the scan that the pieces here belong to."""
    return ScanAssembler(FRAME_ID, channel=0, bits_per_pixel=bits_per_pixel, shape=shape, continual=continual)


def piece(
    index: int, pixels: bytes, *, frame_id: int = FRAME_ID, channel: int = 0, bits: int = 8
) -> ScanPiece:
    """Make a piece of that scan."""
    return ScanPiece(frame_id, channel, index, bits, pixels)


def pixels_of(scan: ScanAssembler) -> list[int]:
    """Give the grey levels of the complete frame."""
    frame = scan.take_frame()
    assert frame is not None
    return [int(value) for value in frame.ravel()]


def test_a_piece_is_the_recorded_bytes() -> None:
    """A piece encodes to the recorded message and decodes from its body."""
    data = bytes.fromhex(
        "53 63 44 61 74 61 00 00 00 00 00 00 00 00 00 00 1c 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
        "bc 34 00 00 00 00 00 00 00 00 00 00 08 00 00 00 08 00 00 00 00 01 02 03 04 05 06 07"
    )

    assert piece(0, bytes(range(8))).encode() == data
    assert ScanPiece.decode(data[32:]) == piece(0, bytes(range(8)))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([8, 16]), st.integers(1, 6), st.integers(1, 9), st.data())
def test_an_image_survives_any_pieces_and_cuts(
    bits: int, rows: int, columns: int, data: st.DataObject
) -> None:
    """However a scan is divided into pieces and its stream into segments, the image is the same."""
    dtype = np.dtype("u1" if bits == 8 else "u2")
    image = np.random.default_rng(rows * columns).integers(0, 2**bits, (rows, columns), dtype)
    ends = sorted({*data.draw(st.lists(st.integers(1, rows * columns), max_size=4)), rows * columns})
    wire = b"".join(
        piece(start, wire_pixels(image.ravel()[start:end]), bits=bits).encode()
        for start, end in zip([0, *ends], ends, strict=False)
    )
    step = data.draw(st.integers(1, len(wire)))
    scan = assembler(bits, (rows, columns))
    stream = ScanDataStream()
    stream.assembler = scan

    for start in range(0, len(wire), step):
        stream.receive_data(wire[start : start + step])

    frame = scan.take_frame()
    assert frame is not None
    assert frame.dtype == dtype
    np.testing.assert_array_equal(frame, image)
    assert scan.take_frame() is None


def test_16_bit_pixels_are_little_endian() -> None:
    """The low byte comes first."""
    scan = assembler(16, (1, 2))
    scan.add(piece(0, b"\x01\x00\x00\x80", bits=16))

    assert pixels_of(scan) == [1, 32768]


def test_pieces_of_other_scans_and_channels_are_dropped() -> None:
    """Late pieces of a stopped scan do not show in the next one, even with an impossible depth for it."""
    scan = assembler()
    scan.add(piece(0, bytes(12), frame_id=FRAME_ID - 1))
    scan.add(piece(0, bytes(24), frame_id=FRAME_ID - 1, bits=16))
    scan.add(piece(0, bytes(12), channel=1))

    assert scan.missing_px == 12
    assert not scan.ended


def test_a_piece_sent_again_replaces_what_came_since() -> None:
    """An index that goes back cuts the image back to it."""
    scan = assembler()
    scan.add(piece(0, b"\x01" * 8))
    scan.add(piece(4, b"\x02" * 2))
    assert scan.received_px == 6
    scan.add(piece(6, b"\x03" * 6))

    assert pixels_of(scan) == [1] * 4 + [2] * 2 + [3] * 6


def test_a_lost_piece_makes_no_image_of_what_is_left() -> None:
    """After a gap nothing is taken; a single scan has ended when its last pixel has gone by."""
    scan = assembler()
    scan.add(piece(0, bytes(4)))
    scan.add(piece(6, bytes(2)))
    assert not scan.ended
    scan.add(piece(2, bytes(4)))
    assert scan.received_px == 4, "an index before the gap is not index 0"
    scan.add(piece(8, bytes(4)))

    assert scan.ended
    assert not scan.complete
    assert scan.take_frame() is None
    assert scan.missing_px == 8


def test_after_a_lost_piece_a_frame_from_index_0_is_taken() -> None:
    """A restarted frame is received whole."""
    scan = assembler(continual=True)
    scan.add(piece(4, bytes(8)))
    assert not scan.ended
    scan.add(piece(0, bytes(range(12))))

    assert pixels_of(scan) == list(range(12))


def test_frames_of_a_continual_scan_follow_one_another() -> None:
    """Index 0 starts the next frame; a frame taken before is not written to."""
    scan = assembler(continual=True)
    scan.add(piece(0, b"\x01" * 12))
    first = scan.take_frame()
    scan.add(piece(0, b"\x02" * 6))
    assert not scan.complete
    assert scan.take_frame() is None
    scan.add(piece(6, b"\x02" * 6))

    assert first is not None
    assert first.max() == 1
    assert pixels_of(scan) == [2] * 12


def test_a_complete_single_scan_takes_nothing_more() -> None:
    """What comes after the last pixel cannot change the image."""
    scan = assembler()
    scan.add(piece(0, b"\x01" * 12))
    scan.add(piece(0, b"\x02" * 12))

    assert pixels_of(scan) == [1] * 12


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (piece(0, bytes(8), bits=16), "asked for 8 bits per pixel, got a piece of 16"),
        (piece(8, bytes(5)), "ends at pixel 13 of a scan of 12"),
        (piece(2**32 - 1, bytes(1)), "ends at pixel 4294967296 of a scan of 12"),
    ],
)
def test_a_piece_that_contradicts_the_scan_is_an_error(wrong: ScanPiece, message: str) -> None:
    """Depth and end must be those asked for."""
    with pytest.raises(RemoteProtocolError, match=message):
        assembler().add(wrong)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (bytes(19), "no room for its header"),
        (struct.pack("<IiIiI", 1, 0, 0, 12, 0), "12 bits per pixel"),
        (struct.pack("<IiIiI", 1, 0, 0, 16, 3) + bytes(4), "ends inside a 16-bit pixel"),
        (
            struct.pack("<IiIiI", 1, 0, 0, 8, 2**32 - 1) + bytes(4),
            "claims 4294967295 bytes of pixels in a body of 24",
        ),
    ],
)
def test_a_body_that_is_no_piece_is_an_error(body: bytes, message: str) -> None:
    """Both ways of receiving refuse it in the same words."""
    with pytest.raises(RemoteProtocolError, match=message):
        ScanPiece.decode(body)
    with pytest.raises(RemoteProtocolError, match=message):
        ScanDataStream().receive_data(encode_message(Message("ScData", body)))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=6))
def test_garbage_on_the_data_connection_is_one_error(chunks: list[bytes]) -> None:
    """Only ``RemoteProtocolError`` escapes, and a buffer for more is always there before it."""
    stream = ScanDataStream()
    stream.assembler = assembler()
    try:
        for chunk in chunks:
            stream.receive_data(chunk)
            assert len(stream.get_buffer()) > 0
    except RemoteProtocolError:
        pass


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(
            ScanPiece,
            frame_id=st.integers(FRAME_ID - 1, FRAME_ID),
            channel=st.integers(0, 1),
            index=st.integers(0, 14),
            bits_per_pixel=st.just(8),
            pixels=st.binary(max_size=12),
        ),
        max_size=8,
    )
)
def test_a_complete_frame_was_received_without_a_gap(pieces: list[ScanPiece]) -> None:
    """Whatever pieces come, a frame is complete only if its pixels lead from the first to the last."""
    scan = assembler()
    try:
        for each in pieces:
            scan.add(each)
    except RemoteProtocolError:
        pass
    ours = [each for each in pieces if (each.frame_id, each.channel) == (FRAME_ID, 0)]
    covered = {pixel for each in ours for pixel in range(each.index, each.index + len(each.pixels))}

    assert not scan.complete or covered >= set(range(12))


def test_other_messages_and_longer_bodies_are_skipped() -> None:
    """Camera pictures, empty messages and extra bytes after the pixels do not disturb a scan."""
    scan = assembler()
    stream = ScanDataStream()
    stream.assembler = scan
    longer = struct.pack("<IiIiI", FRAME_ID, 0, 6, 8, 6) + bytes(range(6, 12)) + bytes(5)
    for message in (
        encode_message(Message("CameraData", bytes(200_000))),
        encode_message(Message("Empty")),
        piece(0, b"").encode(),
        piece(0, bytes(range(6))).encode(),
        encode_message(Message("ScData", longer)),
        encode_message(Message("Empty")),
    ):
        stream.receive_data(message)

    assert pixels_of(scan) == list(range(12))


def test_a_piece_that_does_not_fit_the_wire_is_not_sent() -> None:
    """A negative index is our own fault."""
    with pytest.raises(LocalProtocolError):
        piece(-1, b"").encode()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 70), min_size=4, max_size=4), st.integers(1, 200))
def test_other_messages_between_pieces_are_read_over(sizes: list[int], step: int) -> None:
    """Of whatever length, also shorter than the header of a piece, and wherever the stream is cut."""
    others = [encode_message(Message("Other", bytes(size))) for size in sizes]
    pieces = [piece(start, bytes(range(start, start + 4))).encode() for start in (0, 4, 8)]
    wire = others[0] + b"".join(one + other for one, other in zip(pieces, others[1:], strict=True))
    scan = assembler()
    stream = ScanDataStream()
    stream.assembler = scan

    for start in range(0, len(wire), step):
        stream.receive_data(wire[start : start + step])

    assert pixels_of(scan) == list(range(12))


def test_the_memory_of_a_taken_frame_is_left_to_the_next() -> None:
    """An assembler that is kept, as in case of pieces that come late, keeps no memory."""
    shape = (512, 1024)
    whole = bytes(shape[0] * shape[1])

    def place_of_a_frame(scan: ScanAssembler) -> int:
        scan.add(piece(0, whole))
        frame = scan.take_frame()
        assert frame is not None
        return int(frame.__array_interface__["data"][0])

    first = assembler(shape=shape)
    place = place_of_a_frame(first)
    second = assembler(shape=shape)

    assert place_of_a_frame(second) == place
    assert first.complete
