"""Whether a microscope's frames come once each and in their order, by the names it gives them.

Where the names are whole numbers that count up by one, those that never came are counted too.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

REMEMBERED: Final = 256
"""Names; a frame that comes again later than so many others is taken for a new one."""
LONGEST_GAP: Final = 1000
"""Numbers farther apart were not counted by one: they begin anew."""
_MOST_DIGITS: Final = 18


@dataclass(slots=True)
class FrameOrder:
    """Follows the names of frames.

    Attributes:
        missing: Frames that were skipped, and have not come later.
        late: Frames that came after one with a higher number.
        repeated: Frames that came again.
    """

    missing: int = 0
    late: int = 0
    repeated: int = 0
    _last: int | None = field(default=None, init=False)
    _recent: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED), init=False)

    def is_new(self, name: str) -> bool:
        """Take note of the next frame; tell whether it has not come before. One without a name is new."""
        if not name:
            return True
        if name in self._recent:
            self.repeated += 1
            return False
        self._recent.append(name)
        if name.isascii() and name.isdecimal() and len(name) <= _MOST_DIGITS:
            self._count(int(name))
        return True

    def begin_anew(self) -> None:
        """Forget the names: a new connection may be to a program that was started again."""
        self._last = None
        self._recent.clear()

    def _count(self, number: int) -> None:
        step = 1 if self._last is None else number - self._last
        if -REMEMBERED < step < 0:
            self.late += 1
            self.missing = max(self.missing - 1, 0)
            return
        if 1 < step <= LONGEST_GAP:
            self.missing += step - 1
        self._last = number
