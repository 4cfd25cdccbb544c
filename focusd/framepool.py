"""Memory for frames, used again when nobody holds it any more.

Fresh memory costs the system a page fault for every 4 KiB that is written for the first time: 24,000 for a
frame of 4096 x 4096 px of 16 bits, which takes longer than to receive it. So memory that held a frame is kept
for the next one of its size.

Rules kept here:

1. Memory is given again only when nothing refers to it: neither the array that ``take`` gave, nor any view or
   ``memoryview`` of it. Python's own count of references is asked, so a reader can never see it change, and
   nobody has to remember to give anything back.
2. No more than ``keep_bytes`` are kept. What is taken beyond them is ordinary memory.
"""

from __future__ import annotations

import sys
import threading
from typing import Final

import numpy as np
from numpy.typing import NDArray

SMALLEST_BYTES: Final = 1 << 18
"""Less than this is ordinary memory: the C library keeps small pieces itself."""
KEEP_BYTES: Final = 1 << 28
MOST_BLOCKS: Final = 64

Bytes = NDArray[np.uint8]


class _Block:
    """A piece of memory that is kept."""

    __slots__ = ("data", "is_stale")

    def __init__(self, size: int) -> None:
        self.data: Bytes = np.empty(size, np.uint8)
        self.is_stale = False


def _references(block: _Block) -> int:
    return sys.getrefcount(block.data)


_NEVER_TAKEN: Final = _Block(1)
"""Shows how many references there are when nobody holds any, as this interpreter counts at this moment."""


class FramePool:
    """Gives memory for frames; may be used from any thread.

    Args:
        keep_bytes: Bound of what is kept, in use or not.
    """

    def __init__(self, *, keep_bytes: int = KEEP_BYTES) -> None:
        self._keep_bytes = keep_bytes
        # The one used last is the last.
        self._blocks: list[_Block] = []
        self._lock = threading.Lock()

    @property
    def kept_bytes(self) -> int:
        """Size of what is kept, in use or not."""
        return sum(block.data.size for block in self._blocks)

    def take(self, nbytes: int) -> Bytes:
        """Give ``nbytes`` of memory, one-dimensional, whatever stands in it; it is freed by forgetting it."""
        if nbytes < SMALLEST_BYTES:
            return np.empty(nbytes, np.uint8)
        # Rounded up, so that files of nearly the same size share it.
        size = -(-nbytes // SMALLEST_BYTES) * SMALLEST_BYTES
        with self._lock:
            block = self._unused(size)
            if block is None:
                block = _Block(size)
                self._make_room(size)
            else:
                self._blocks.remove(block)
                block.is_stale = False
            if self.kept_bytes + size <= self._keep_bytes and len(self._blocks) < MOST_BLOCKS:
                self._blocks.append(block)
            return block.data[:nbytes]

    def let_go(self) -> None:
        """Give memory back to the system that has not been used since the last call."""
        with self._lock:
            self._blocks = [block for block in self._blocks if not (block.is_stale and _is_unused(block))]
            for block in self._blocks:
                block.is_stale = True

    def _unused(self, size: int) -> _Block | None:
        fitting = (block for block in reversed(self._blocks) if block.data.size == size)
        return next((block for block in fitting if _is_unused(block)), None)

    def _make_room(self, size: int) -> None:
        """Forget unused memory, that used longest ago first, until ``size`` more may be kept."""
        for block in [block for block in self._blocks if _is_unused(block)]:
            if self.kept_bytes + size <= self._keep_bytes and len(self._blocks) < MOST_BLOCKS:
                return
            self._blocks.remove(block)


def _is_unused(block: _Block) -> bool:
    return _references(block) == _references(_NEVER_TAKEN)


FRAMES: Final = FramePool()
"""Of the whole process: what one source of frames leaves, the next one uses."""
