"""What an operator is told of a watched folder."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FolderState(StrEnum):
    """What can be done with the folder."""

    WATCHING = "watching"
    MISSING = "missing"
    """It is not there, or not yet, or its share is not mounted."""
    UNREADABLE = "unreadable"
    NOT_ANSWERING = "not_answering"
    """The file system has been asked and has said nothing for a long time, as a dead share does."""
    STARTING = "starting"


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file that cannot be judged, or an entry of the folder that is none."""

    path: str
    reason: str
    refused_at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """A watched folder at one moment; totals are since focusd started."""

    path: str
    state: FolderState
    since: float
    """Of the state, seconds since 1970."""
    reason: str = ""
    """Why it is not watched."""
    files_judged: int = 0
    files_refused: int = 0
    files_waiting: int = 0
    """Seen, and not judged yet."""
    last_refused: RefusedFile | None = None
    store_error: str = ""
    """Why verdicts cannot be kept, so that no file is judged for now."""
