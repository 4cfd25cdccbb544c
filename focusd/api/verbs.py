"""What the endpoint may ask of the service: a few verbs, the status, the store. Never the microscope."""

from __future__ import annotations

from typing import Protocol

from focusd.frame import Frame
from focusd.records import Baseline, FrameVerdict, RefocusRecord
from focusd.service.keeper import ScanAnswer
from focusd.service.pending import Due
from focusd.service.status import Status
from focusd.service.surface import Surfaces
from focusd.service.turns import Turns
from focusd.store.database import Store


class Verbs(Protocol):
    """The face that ``focusd.service.supervisor.Supervisor`` shows to HTTP; its docstrings hold."""

    @property
    def store(self) -> Store:
        """What is remembered; only read from here."""
        ...

    @property
    def status(self) -> Status:
        """The present snapshot."""
        ...

    @property
    def is_alive(self) -> bool:
        """Whether the owner of the microscope was heard of when it promised to be."""
        ...

    async def scan(self) -> ScanAnswer:
        """Take and judge one frame now, and refocus if that is due."""
        ...

    @property
    def turns(self) -> Turns:
        """Lets acquisition and refocus take turns."""
        ...

    @property
    def surfaces(self) -> Surfaces:
        """Where focus was found, and where it is expected."""
        ...

    async def judge(self, frame: Frame, *, is_awaited: bool = False) -> tuple[FrameVerdict, Due | None]:
        """Judge a frame that others took; give the verdict, and the refocus that is wanted after it."""
        ...

    async def wait_for_due(self, due: Due, *, timeout_s: float) -> RefocusRecord | None:
        """Wait for a refocus that is wanted."""
        ...

    async def start_refocus(self, *, keep_spectra: bool | None = None) -> RefocusRecord:
        """Queue a refocus and give its record."""
        ...

    async def wait_for_refocus(self, refocus_id: int, *, timeout_s: float | None = None) -> RefocusRecord:
        """Wait for a refocus to end, at most ``timeout_s``; give its record as it stands then."""
        ...

    async def get_refocus(self, refocus_id: int) -> RefocusRecord:
        """Give the record of a refocus as it stands now."""
        ...

    def cancel_refocus(self, refocus_id: int, *, reason: str = "cancelled on request") -> None:
        """End a queued or running refocus within one scan."""
        ...

    async def pause(self, reason: str) -> None:
        """Take the hands off until ``resume``."""
        ...

    async def resume(self) -> None:
        """Go on after a pause, or after giving up."""
        ...

    async def set_working_distance(self, working_distance_mm: float) -> float:
        """Move the lens by an operator's word; give the readback in millimetres."""
        ...

    async def capture_baseline(self) -> Baseline:
        """Make the last judgeable frame the baseline of its imaging condition."""
        ...

    async def put_baseline(self, baseline: Baseline) -> None:
        """Set a baseline by an operator's word."""
        ...

    async def delete_baseline(self, condition: str) -> None:
        """Forget a baseline."""
        ...
