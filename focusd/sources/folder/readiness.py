"""Which files are complete, from what was seen of them and when. No I/O and no clock.

A file is ready when its size and the time of its last change have stayed the same for ``settle_s``, or when
it appeared whole: then its inode was changed after its content for the last time, as renaming a finished
file does and writing does not. Being ready is a guess that the reader confirms; what it refuses is tried
again with growing pauses until the file has not changed for ``give_up_s``.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from focusd.frame import FrameFile


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file as it was seen."""

    file: FrameFile
    path: str
    """As the system knows it, for opening it."""
    inode_changed_ns: int
    """Last change of name, rights or content, by the same clock as ``file.mtime_ns``."""


def age(sighting: Sighting) -> tuple[int, str]:
    """Sort files by this into the order in which they were written."""
    return sighting.file.mtime_ns, sighting.file.path


@dataclass(slots=True)
class _Candidate:
    """A file that is not done with."""

    sighting: Sighting
    unchanged_since_s: float
    due_s: float
    tries: int = 0
    named: bool = False


class Readiness:
    """Gathers sightings and tells what is ready; times are monotonic seconds of the caller's.

    Args:
        settle_s: How long a file must stay the same.
        give_up_s: How long one that cannot be read is given.
        trusts_renames: Whether a file that appeared whole is ready at once; not on a network share, where
            the times of a file that is being written may come late.
    """

    def __init__(self, *, settle_s: float, give_up_s: float, trusts_renames: bool) -> None:
        self._settle_s = settle_s
        self._give_up_s = max(give_up_s, settle_s)
        self._trusts_renames = trusts_renames
        self._candidates: dict[str, _Candidate] = {}

    def __len__(self) -> int:
        return len(self._candidates)

    def see(self, sightings: Iterable[Sighting], now_s: float) -> None:
        """Take in files that are not done with as they are now."""
        for sighting in sightings:
            known = self._candidates.get(sighting.file.path)
            if known is not None and known.sighting.file == sighting.file:
                continue
            is_whole = known is None and self._trusts_renames and _appeared_whole(sighting)
            due_s = now_s + (0.0 if is_whole else self._wait_s(sighting))
            self._candidates[sighting.file.path] = _Candidate(sighting, now_s, due_s)

    def keep(self, left: Iterable[str]) -> list[str]:
        """Be done with all files but these, and give the paths of those that were candidates."""
        kept = set(left)
        dropped = [path for path in self._candidates if path not in kept]
        for path in dropped:
            del self._candidates[path]
        return dropped

    def drop(self, path: str) -> bool:
        """Be done with a file; tell whether it was a candidate."""
        return self._candidates.pop(path, None) is not None

    def ready(self, now_s: float, limit: int) -> list[Sighting]:
        """Give up to ``limit`` files that may be read now, in the order in which they were written."""
        due = (one.sighting for one in self._candidates.values() if one.due_s <= now_s)
        return heapq.nsmallest(limit, due, key=age)

    def is_last_try(self, path: str, now_s: float) -> bool:
        """Tell whether a file that could not be read has had all the time it is given."""
        candidate = self._candidates[path]
        return now_s - candidate.unchanged_since_s >= self._give_up_s

    def postpone(self, path: str, now_s: float) -> None:
        """Try a file again later: soon at first, then ever less often."""
        candidate = self._candidates[path]
        candidate.tries += 1
        pause_s = min(self._settle_s * 2.0**candidate.tries, self._give_up_s)
        last_s = candidate.unchanged_since_s + self._give_up_s
        due_s = now_s + max(pause_s, MIN_PAUSE_S)
        candidate.due_s = min(due_s, last_s) if last_s > now_s else due_s

    def name(self, path: str) -> bool:
        """Tell whether a file that stays unreadable has yet to be named, which then has been done."""
        candidate = self._candidates[path]
        named, candidate.named = candidate.named, True
        return not named

    def next_due_s(self) -> float | None:
        """When the next file may be ready; ``None`` if there is none."""
        return min((candidate.due_s for candidate in self._candidates.values()), default=None)

    def _wait_s(self, sighting: Sighting) -> float:
        """An empty file may have been made just now, by whoever is about to fill it."""
        return self._settle_s if sighting.file.size_bytes > 0 else self._give_up_s


MIN_PAUSE_S = 0.1
"""Least pause before a file is tried again."""


def _appeared_whole(sighting: Sighting) -> bool:
    return sighting.file.size_bytes > 0 and sighting.inode_changed_ns > sighting.file.mtime_ns
