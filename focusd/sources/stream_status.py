"""What an operator is told of the frames that a microscope tells of by itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """The stream at one moment; totals are since focusd started, over all connections."""

    is_subscribed: bool = False
    """Whether the microscope has promised to tell of its owner's frames."""
    frames: int = 0
    """Told of, ..."""
    frames_waiting: int = 0
    """... of which so many wait to be judged, ..."""
    frames_dropped: int = 0
    """... never were because newer ones came, ..."""
    frames_set_aside: int = 0
    """... were begun before a refocus, a move or a scan of focusd had ended, ..."""
    frames_refused: int = 0
    """... are no images that can be judged, ..."""
    frames_repeated: int = 0
    """... or came before."""
    frames_late: int = 0
    """Came after one with a higher number; judged all the same."""
    frames_missing: int = 0
    """Skipped by the numbers of the others: the bridge may have dropped them."""
    last_frame: str = ""
    """The microscope's name of the frame that was judged last."""
    last_refused: str = ""
    """Why the last one was refused."""
    store_error: str = ""
    """Why verdicts cannot be kept, so that frames are lost for now."""
