"""The store as the rest of focusd sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from focusd.store.baselines import Baselines
from focusd.store.file import DatabaseFile, StoreProblem
from focusd.store.files import Files
from focusd.store.focus_points import FocusPoints
from focusd.store.frames import KEEP_DAYS, Frames
from focusd.store.journal import Journal
from focusd.store.references import References
from focusd.store.refocuses import Refocuses
from focusd.store.settings import Settings
from focusd.store.spectra import Spectra

_PROOF_SETTING = "proof_of_room"
_PROOF_BYTES = 65_536


class Store:
    """One state directory, open.

    Attributes:
        frames: Verdicts on frames.
        files: Files of watched folders with which focusd is done.
        refocuses: Refocuses with their scans.
        spectra: Of those scans, where they were asked for.
        baselines: Reference sharpness by imaging condition.
        references: Spectra in focus by imaging condition.
        focus_points: Where on the stage focus was found.
        journal: Restore points.
        settings: Runtime state.
    """

    def __init__(self, file: DatabaseFile, frames: Frames, refocuses: Refocuses) -> None:
        self._file = file
        self.frames = frames
        self.files = Files(file)
        self.refocuses = refocuses
        self.spectra = Spectra(file)
        self.baselines = Baselines(file)
        self.references = References(file)
        self.focus_points = FocusPoints(file)
        self.journal = Journal(file)
        self.settings = Settings(file)

    @property
    def problems(self) -> tuple[StoreProblem, ...]:
        """What was found damaged since the store was opened, oldest first."""
        return tuple(self._file.problems)

    def on_health(self, listener: Callable[[str], object]) -> None:
        """Call ``listener`` with why nothing can be kept, and with ``""`` when something can be again."""
        self._file.on_health = listener

    async def prove_writable(self) -> None:
        """Write about as much as a refocus does, and take it back.

        Raises:
            StoreError: it cannot be written.
        """
        await self.settings.put(_PROOF_SETTING, "-" * _PROOF_BYTES)
        await self.settings.put(_PROOF_SETTING, None)


@asynccontextmanager
async def open_store(
    directory: Path, *, max_frames: int, keep_days: float = KEEP_DAYS
) -> AsyncIterator[Store]:
    """Open the store in ``directory``, made if missing, for as long as the context lasts.

    Args:
        directory: Where.
        max_frames: Verdicts kept.
        keep_days: How long they are kept at most.

    Raises:
        StoreLockedError: another focusd uses the directory.
        StoreError: it cannot be made, written or read, or is of a newer focusd.
    """
    file = DatabaseFile(directory)
    try:
        await file.open()
        frames = await Frames.load(file, max_frames=max_frames, keep_days=keep_days)
        yield Store(file, frames, await Refocuses.load(file))
    finally:
        await file.close()
