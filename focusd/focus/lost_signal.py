"""Frames whose signal is too faint to judge, one after another: focus may be lost altogether.

Blur of some twenty depths of field buries even coarse detail, so after a large step every frame is
unjudgeable, and no detector that looks at sharpness would ever see it. An empty part of the specimen looks
different, though: of empty resin 99 frames in 100 stay under 3 standard errors (tiles of 256 px, 8 to 50
electrons a pixel, in simulation), while textures stay above that to about 30 depths of field. So frames
between the two, several in a row where there used to be plenty of signal, are a suspicion, which scans at
other working distances can decide. Under 3 nothing can be told, nor focus searched for: that is an
operator's case.
"""

from __future__ import annotations

from collections import deque
from statistics import median

from focusd.focus.quality import MIN_SIGNAL_TO_NOISE, Quality

FAINT = 3.0
"""Signal-to-noise that empty frames stay under."""
PLENTY = 2.0 * MIN_SIGNAL_TO_NOISE
"""Median signal-to-noise of the judgeable frames from which on content alone does not take it all away."""
FRAMES = 50
"""Recent judgeable frames that count."""


class SignalWatch:
    """Counts faint frames at a condition where there used to be plenty of signal.

    It speaks when their number reaches ``frames``, and again each time it has doubled: a part of the specimen
    that is faint itself costs a few looks however large it is, and a look that failed is not the last.

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
        """Take in a frame; when the signal must be called lost, give the first faint frame.

        Empty frames, and those that cannot be judged for another reason (blank, saturated, half scanned),
        change nothing.
        """
        if quality.judgeable:
            self._usual.append(quality.signal_to_noise)
            self.reset()
        elif quality.reason == "no_signal" and quality.signal_to_noise >= FAINT:
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
