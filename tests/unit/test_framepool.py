"""Memory of frames is used again, and never while anybody can look at it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from focusd.frame import checked_pixels
from focusd.framepool import SMALLEST_BYTES, FramePool

SIZE = 4 * SMALLEST_BYTES


def address(data: np.ndarray) -> int:
    """Tell where an array lies."""
    return int(data.__array_interface__["data"][0])


def test_forgotten_memory_is_given_again() -> None:
    """The next frame of the size lies where the last one lay."""
    pool = FramePool()
    first = pool.take(SIZE)
    place = address(first)
    del first

    assert address(pool.take(SIZE)) == place
    assert pool.kept_bytes == SIZE


HOLDERS = {
    "the array": lambda data: data,
    "a slice": lambda data: data[5:9],
    "an image": lambda data: checked_pixels(data.reshape(1024, -1)),
    "pixels of 16 bits": lambda data: data.view("<u2").reshape(1024, -1)[3:7],
    "a memoryview": lambda data: data.data[7:9],
    "an array of a buffer": lambda data: np.frombuffer(data.data, np.uint8),
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_whatever_is_left_of_a_frame_keeps_its_memory(holder: object) -> None:
    """A view of a view of the memory is enough; when that goes too, the memory is free."""
    assert callable(holder)
    pool = FramePool()
    data = pool.take(SIZE)
    place = address(data)
    held = holder(data)
    del data

    other = pool.take(SIZE)
    assert address(other) != place
    del held
    assert address(pool.take(SIZE)) == place


def test_no_more_is_kept_than_allowed() -> None:
    """Memory beyond the bound is ordinary, and unused memory of another size makes room."""
    pool = FramePool(keep_bytes=2 * SIZE)

    taken = [pool.take(SIZE) for _ in range(4)]
    assert pool.kept_bytes == 2 * SIZE
    del taken
    large = pool.take(2 * SIZE)

    assert pool.kept_bytes == large.size == 2 * SIZE


def test_small_pieces_are_not_kept() -> None:
    """The C library keeps those by itself."""
    pool = FramePool()

    assert pool.take(100).shape == (100,)
    assert pool.kept_bytes == 0


def test_sizes_that_are_nearly_the_same_share_memory() -> None:
    """Image files differ by a few bytes, and give exactly what was asked for."""
    pool = FramePool()
    place = address(pool.take(SIZE - 1))

    again = pool.take(SIZE - 1000)

    assert (address(again), again.size) == (place, SIZE - 1000)


def test_memory_that_is_not_used_goes_back_to_the_system() -> None:
    """What nobody took between two calls is let go; what somebody holds never is."""
    pool = FramePool()
    held, unused = pool.take(SIZE), pool.take(2 * SIZE)
    del unused

    pool.let_go()
    assert pool.kept_bytes == 3 * SIZE
    pool.let_go()

    assert pool.kept_bytes == held.size


def test_threads_never_share_memory() -> None:
    """Whoever takes memory in whatever thread has it alone until it is forgotten."""
    pool = FramePool()
    mixed = []

    def work(mark: int) -> None:
        for _ in range(200):
            mine = pool.take(SMALLEST_BYTES)
            mine[:] = mark
            if not (mine == mark).all():
                mixed.append(mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert mixed == []
    assert pool.kept_bytes <= 2 * len(threads) * SMALLEST_BYTES
