"""Frames without any signal, one after another: an empty part of the specimen, or focus lost altogether?

Blur of some twenty depths of field buries even coarse detail, so after a large step every frame is
unjudgeable and no detector that looks at sharpness would ever see it. Where frames used to have plenty of
signal, many in a row without any are therefore a suspicion. One frame cannot tell the two apart; scans at
other working distances can, and that is the refocus's part.
"""

from __future__ import annotations

from collections import deque
from statistics import median

from focusd.focus.quality import MIN_SIGNAL_TO_NOISE, Quality

PLENTY = 2.0 * MIN_SIGNAL_TO_NOISE
"""Median signal-to-noise of the judgeable frames from which on content alone does not take it all away."""
FRAMES = 50
"""Recent judgeable frames that count."""


class SignalWatch:
    """Counts frames without signal at a condition where there used to be plenty.

    It speaks when their number reaches ``frames``, and again each time it has doubled: an empty part of the
    specimen costs a few looks however large it is, and a look that failed is not the last.

    Args:
        frames: So many in a row are suspicious; 0 never.
    """

    def __init__(self, frames: int) -> None:
        if frames < 0:
            raise ValueError(f"frames must not be negative, got {frames}")
        self._needed = frames
        self._usual: deque[float] = deque(maxlen=FRAMES)
        self._due = frames
        self._count = 0
        self._first: int | None = None

    def fold(self, frame_id: int, quality: Quality) -> int | None:
        """Take in a frame; when the signal must be called lost, give the first frame without it.

        Frames that cannot be judged for another reason (blank, saturated, half scanned) change nothing.
        """
        if quality.judgeable:
            self._usual.append(quality.signal_to_noise)
            self.reset()
        elif quality.reason == "no_signal":
            self._count += 1
            self._first = frame_id if self._first is None else self._first
            if self._count == self._due and self._usual and median(self._usual) >= PLENTY:
                self._due *= 2
                return self._first
        return None

    def reset(self) -> None:
        """Begin to count anew, e.g. after a refocus."""
        self._due = self._needed
        self._count = 0
        self._first = None
