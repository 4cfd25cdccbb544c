"""Frames folded out of pieces that pass by."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from focusd.frame import ScanRegion
from focusd.protocol.sharksem import Message, encode_message
from focusd.protocol.sharksem_fold import FoldedFrame, ScanEnd, ScanFolder
from focusd.protocol.sharksem_image import ScanDataStream, ScanPiece, wire_pixels
from focusd.protocol.sharksem_orders import ScanOrder

ROWS, COLUMNS = 64, 72
PIXELS = ROWS * COLUMNS


def order(frame_id: int = 1, frames: int = 1, *, rows: int = ROWS, line: bool = False) -> ScanOrder:
    """Make an order for a small scan."""
    region = None if line else ScanRegion(0, 0, COLUMNS, rows)
    return ScanOrder("ScScanXY", frame_id, COLUMNS, rows, region, COLUMNS * rows, frames, 1.0)


def image(seed: int, bits: int = 8) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Make an image."""
    grey = np.random.default_rng(seed).integers(0, 2**bits, (ROWS, COLUMNS))
    return grey.astype(np.uint8) if bits == 8 else grey.astype(np.uint16)


def pieces(
    seed: int, *, bits: int = 8, frame_id: int = 1, channel: int = 0, cuts: tuple[int, ...] = (1000, 3000)
) -> list[ScanPiece]:
    """Cut an image into pieces."""
    wire = wire_pixels(image(seed, bits))
    edges = [0, *cuts, PIXELS]
    return [
        ScanPiece(frame_id, channel, start, bits, wire[start * bits // 8 : end * bits // 8])
        for start, end in pairwise(edges)
    ]


class Passing:
    """A folder with the data connection it listens to."""

    def __init__(self, *, max_frame_bytes: int = 1 << 20) -> None:
        self.folder = ScanFolder(max_frame_bytes=max_frame_bytes)
        self.stream = ScanDataStream()
        self.stream.assembler = self.folder

    def send(self, *sent: ScanPiece) -> list[FoldedFrame]:
        """Let pieces pass and give the frames they complete."""
        for piece in sent:
            self.stream.receive_data(piece.encode())
        return self.folder.take_frames()


def seeds_of(frames: list[FoldedFrame], bits: int = 8) -> list[int]:
    """Tell which images the frames are."""
    known = {image(seed, bits).tobytes(): seed for seed in range(10)}
    return [known[frame.pixels.tobytes()] for frame in frames]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([8, 16]),
    st.sets(st.integers(1, PIXELS - 1), max_size=5),
    st.lists(st.integers(1, 20_000), max_size=6),
)
def test_a_frame_is_folded_however_it_is_cut(bits: int, cuts: set[int], segments: list[int]) -> None:
    """Pieces and segments of any size give the image that was sent."""
    passing = Passing()
    passing.folder.expect(order())
    sent = pieces(3, bits=bits, cuts=tuple(sorted(cuts)))
    wire = b"".join(piece.encode() for piece in sent)
    places = [0, *sorted(place % len(wire) for place in segments), len(wire)]

    for start, end in pairwise(places):
        passing.stream.receive_data(wire[start:end])

    [frame] = passing.folder.take_frames()
    np.testing.assert_array_equal(frame.pixels, image(3, bits))
    assert (frame.channel, frame.bits_per_pixel, frame.pixels.dtype.itemsize) == (0, bits, bits // 8)
    assert passing.folder.take_ended() == [(frame.order, ScanEnd.COMPLETE)]


def test_channels_are_kept_apart() -> None:
    """Channels of different depths, their pieces mixed, give a frame each; the last ends the scan."""
    passing = Passing()
    passing.folder.expect(order(), channels={0, 3})
    first, second = pieces(1), pieces(2, bits=16, channel=3)

    frames = passing.send(first[0], second[0], first[1], second[1], first[2])
    assert (seeds_of(frames), passing.folder.active) == ([1], True)
    frames = passing.send(second[2])

    assert [frame.channel for frame in frames] == [3]
    np.testing.assert_array_equal(frames[0].pixels, image(2, 16))
    assert not passing.folder.active


def test_a_continual_scan_gives_frame_after_frame() -> None:
    """Each begins at index 0 under the same id; the scan runs until it is stopped."""
    passing = Passing()
    passing.folder.expect(order(frames=0))

    frames = passing.send(*pieces(1), *pieces(2), *pieces(3))

    assert seeds_of(frames) == [1, 2, 3]
    assert passing.folder.active
    passing.folder.stop()
    assert not passing.folder.active
    assert [how for _, how in passing.folder.take_ended()] == [ScanEnd.STOPPED]


def test_a_counted_scan_ends_with_its_last_frame() -> None:
    """Three frames were ordered, so the third ends it."""
    passing = Passing()
    passing.folder.expect(order(frames=3))

    passing.send(*pieces(1), *pieces(2))
    assert passing.folder.active
    passing.send(*pieces(3))

    assert not passing.folder.active


def test_a_lost_piece_costs_its_frame_and_no_other() -> None:
    """After a gap nothing is taken until the next frame begins; the end of the broken one still counts."""
    passing = Passing()
    passing.folder.expect(order(frames=0))
    first, second = pieces(1), pieces(2)

    assert passing.send(first[0], first[2]) == []
    assert seeds_of(passing.send(*second)) == [2]


def test_a_single_scan_with_a_lost_piece_is_over_with_its_last() -> None:
    """No frame comes of it, and nobody waits for it for ever."""
    passing = Passing()
    passing.folder.expect(order())
    first, _, last = pieces(1)

    assert passing.send(first, last) == []
    assert not passing.folder.active


def test_pieces_sent_again_are_taken_again() -> None:
    """Receiving goes on from where the microscope went back to."""
    passing = Passing()
    passing.folder.expect(order())
    first, second, third = pieces(1)

    assert seeds_of(passing.send(first, second, first, second, second, third)) == [1]


def test_pieces_after_a_stop_belong_to_the_stopped_scan() -> None:
    """A stopped scan's late pieces never get into the next one's frame."""
    passing = Passing()
    passing.folder.expect(order(1))
    passing.send(pieces(1)[0])
    passing.folder.stop()
    passing.folder.expect(order(2))

    assert passing.send(pieces(1)[1]) == []
    frames = passing.send(*pieces(2, frame_id=2))

    assert seeds_of(frames) == [2]


def test_one_id_for_all_scans_is_borne() -> None:
    """A client that never changes the id gets each scan told apart by where it begins."""
    passing = Passing()
    passing.folder.expect(order(0))
    passing.send(*pieces(1, frame_id=0)[:2])
    passing.folder.stop()
    passing.folder.expect(order(0))

    assert seeds_of(passing.send(pieces(1, frame_id=0)[2], *pieces(2, frame_id=0))) == [2]


def test_a_refused_scan_leaves_the_running_one() -> None:
    """Minus one is the answer to a second scan, and the first goes on."""
    passing = Passing()
    first, second = order(1), order(2)
    passing.folder.expect(first)
    passing.folder.answered(first, 0)
    passing.send(*pieces(1)[:1])
    passing.folder.expect(second)
    passing.folder.answered(second, -1)

    assert passing.folder.active
    assert seeds_of(passing.send(*pieces(1)[1:])) == [1]
    assert passing.folder.take_ended() == [(second, ScanEnd.REFUSED), (first, ScanEnd.COMPLETE)]


def test_pieces_may_come_before_the_answer() -> None:
    """The two connections have no order between them."""
    passing = Passing()
    one = order()
    passing.folder.expect(one)

    frames = passing.send(*pieces(1))
    passing.folder.answered(one, 0)

    assert seeds_of(frames) == [1]
    assert passing.folder.take_ended() == [(one, ScanEnd.COMPLETE)]


def test_a_scan_carried_out_ends_those_before() -> None:
    """A continual scan that another one follows without a stop is over."""
    passing = Passing()
    first, second = order(1, frames=0), order(2)
    passing.folder.expect(first)
    passing.folder.expect(second)
    passing.folder.answered(second, 0)

    assert passing.folder.take_ended() == [(first, ScanEnd.REPLACED)]
    passing.folder.close()
    assert passing.folder.take_ended() == [(second, ScanEnd.CLOSED)]
    assert not passing.folder.active


def test_orders_that_are_never_answered_are_bounded() -> None:
    """The oldest of many open ones is given up."""
    passing = Passing()
    for number in range(9):
        passing.folder.expect(order(number))

    assert len(passing.folder.take_ended()) == 5
    assert passing.send(*pieces(1, frame_id=3)) == []
    assert seeds_of(passing.send(*pieces(1, frame_id=8))) == [1]


def test_a_contradiction_spoils_one_frame() -> None:
    """A change of depth in a frame, or pixels past its end, end in the next whole frame."""
    passing = Passing()
    passing.folder.expect(order(frames=0))
    beyond = ScanPiece(1, 0, 1000, 8, bytes(PIXELS))

    assert passing.send(pieces(1)[0], pieces(1, bits=16)[1], pieces(1)[2]) == []
    assert passing.send(pieces(2)[0], beyond) == []
    assert seeds_of(passing.send(*pieces(3))) == [3]


def test_a_change_of_depth_between_frames_is_none() -> None:
    """A frame of 16 bits may follow one of 8."""
    passing = Passing()
    passing.folder.expect(order(frames=0))

    assert seeds_of(passing.send(*pieces(1))) == [1]
    assert seeds_of(passing.send(*pieces(2, bits=16)), 16) == [2]


@pytest.mark.parametrize("unfit", [order(line=True), order(rows=32)])
def test_what_is_no_image_is_followed_to_its_end_only(unfit: ScanOrder) -> None:
    """Lines and tiny fields give no frame, but one knows when they are over."""
    passing = Passing()
    passing.folder.expect(unfit)

    frames = passing.send(ScanPiece(1, 0, 0, 8, bytes(unfit.pixels)))

    assert (frames, passing.folder.active) == ([], False)


def test_a_frame_too_large_is_passed_by() -> None:
    """No memory is taken over the bound, whatever the request claims."""
    passing = Passing(max_frame_bytes=PIXELS)
    passing.folder.expect(order())
    passing.folder.expect(order(2))

    assert passing.send(*pieces(1, bits=16)) == []
    assert seeds_of(passing.send(*pieces(1, frame_id=2))) == [1]


def test_other_messages_and_unknown_scans_are_passed_by() -> None:
    """Pictures of the chamber camera, and pieces nobody announced, are none of ours."""
    passing = Passing()
    passing.folder.expect(order())
    passing.stream.receive_data(encode_message(Message("CameraData", bytes(5000))))

    assert passing.send(*pieces(1, frame_id=9)) == []
    assert seeds_of(passing.send(*pieces(2))) == [2]


def test_channels_without_end_take_no_memory() -> None:
    """Pieces of ever new channels are given up on after some."""
    passing = Passing()
    passing.folder.expect(order(frames=0))

    passing.send(*(ScanPiece(1, number, 0, 8, bytes(4)) for number in range(-100, 1000)))

    [scan] = passing.folder._scans
    assert len(scan.assemblers) == len(scan.passed) == 64
