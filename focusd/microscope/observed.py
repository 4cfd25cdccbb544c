"""Frames that somebody else takes at the microscope, and drivers that can tell of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from focusd.frame import Frame


@dataclass(frozen=True, slots=True, eq=False)
class ObservedFrame:
    """A frame that the instrument's owner has taken.

    ``name`` is the instrument's own for it. ``is_disturbed`` tells, at the time it is asked, that the frame
    may have been begun before the last scan, move or refocus of focusd had ended: then it shows a focus that
    is not the present one.
    """

    frame: Frame
    name: str
    is_disturbed: Callable[[], bool]


class FrameListener(Protocol):
    """Who is told; from the event loop, in the order in which frames come."""

    def frame_observed(self, observed: ObservedFrame) -> None:
        """Take a frame."""

    def frame_refused(self, reason: str) -> None:
        """Hear of a frame that cannot be taken; its pixels have been read over."""


@runtime_checkable
class TellsFrames(Protocol):
    """A microscope that tells of each frame its owner takes; beside ``Microscope``."""

    async def subscribe(self, listener: FrameListener, *, most_bytes: int) -> None:
        """Tell of frames from now on, as long as the connection lasts.

        Args:
            listener: Who is told. The pixels stay as they are as long as somebody holds them.
            most_bytes: Frames that are larger are refused.

        Raises:
            LinkError: this microscope cannot, or its connection is lost.
        """
        ...
