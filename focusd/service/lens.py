"""The one way a refocus moves the lens: written down first, approached from one side, read back after.

Each place the lens is sent to is durable in the journal before the command goes out, so that after any
crash it can be told whether the lens still stands where focusd put it.
"""

from __future__ import annotations

from focusd.errors import FocusdError, WorkingDistanceNotSetError
from focusd.microscope.interface import Microscope
from focusd.records import RestorePoint
from focusd.store.journal import Journal


class MovedByOtherError(FocusdError):
    """Somebody else moved the lens during a refocus; focusd does not fight over it."""

    def __init__(self, expected_mm: float, found_mm: float) -> None:
        self.expected_mm = expected_mm
        self.found_mm = found_mm
        super().__init__(expected_mm, found_mm)

    def __str__(self) -> str:
        return (
            f"the working distance was changed by somebody else: "
            f"left at {self.expected_mm:.6f} mm, found at {self.found_mm:.6f} mm"
        )


class Lens:
    """Moves the lens on behalf of one journal entry.

    Args:
        microscope: The connected microscope.
        journal: Where places are written down.
        entry: The open restore point.
        approach_mm: How far below a target the lens goes first when it comes from above; the hysteresis
            of a lens is the same each time only if each approach is from the same side.
        tolerance_mm: How far a reading may be from what was left and still count as untouched.
    """

    def __init__(
        self,
        microscope: Microscope,
        journal: Journal,
        entry: RestorePoint,
        *,
        approach_mm: float,
        tolerance_mm: float,
    ) -> None:
        self._microscope = microscope
        self._journal = journal
        self._entry = entry
        self._approach_mm = approach_mm
        self._tolerance_mm = tolerance_mm
        self.readback_mm = entry.original_working_distance_mm
        self._under_way_mm: float | None = None
        self._was_commanded = False

    async def move(self, working_distance_mm: float) -> float:
        """Bring the lens to a working distance and give the readback in millimetres.

        Raises:
            MovedByOtherError: the lens was not where it was left; it is not moved.
            WorkingDistanceLimitError, WorkingDistanceNotSetError, LinkError: as the microscope raises.
            StoreError: the place could not be written down; the lens is not moved.
        """
        await self._check_untouched()
        if working_distance_mm < self.readback_mm:
            below = max(working_distance_mm - self._approach_mm, self._microscope.limits_mm[0])
            if below < working_distance_mm:
                await self._command(below)
        return await self._command(working_distance_mm)

    async def put_back(self) -> float:
        """Bring the lens to where it stood before the refocus.

        Commanded also when a reading says that it stands there after it was sent elsewhere: readings can lie.
        """
        await self._check_untouched()
        if not self._was_commanded:
            return self.readback_mm
        original_mm = self._entry.original_working_distance_mm
        try:
            return await self.move(original_mm)
        except WorkingDistanceNotSetError as error:
            if abs(error.readback_mm - original_mm) > self._tolerance_mm:
                raise
            return error.readback_mm

    async def put_back_unrecorded(self) -> float:
        """Bring the lens back without writing it down, for when the journal cannot be written."""
        await self._check_untouched()
        original_mm = self._entry.original_working_distance_mm
        self.readback_mm = await self._microscope.set_working_distance(original_mm)
        return self.readback_mm

    async def _check_untouched(self) -> None:
        """Read where the lens stands; a move that was broken off may have gone a part of its way."""
        found_mm = await self._microscope.get_working_distance()
        target_mm = self.readback_mm if self._under_way_mm is None else self._under_way_mm
        low_mm, high_mm = sorted((self.readback_mm, target_mm))
        if not low_mm - self._tolerance_mm <= found_mm <= high_mm + self._tolerance_mm:
            raise MovedByOtherError(self.readback_mm, found_mm)
        if self._under_way_mm is not None:
            self.readback_mm, self._under_way_mm = found_mm, None

    async def _command(self, working_distance_mm: float) -> float:
        await self._journal.command(self._entry.entry_id, working_distance_mm)
        self._under_way_mm, self._was_commanded = working_distance_mm, True
        try:
            self.readback_mm = await self._microscope.set_working_distance(working_distance_mm)
            self._under_way_mm = None
        except WorkingDistanceNotSetError as error:
            # The lens stands where nobody asked: remember it, or it would look like an operator's move.
            await self._journal.command(self._entry.entry_id, error.readback_mm)
            self.readback_mm, self._under_way_mm = error.readback_mm, None
            raise
        return self.readback_mm
