"""The lens follows the focus surface: to the focus predicted for the next tile, between two tiles.

No scan is taken for it, so nothing proves such a move; it is made only where the prediction is sure, the lens
stands where focusd has left it with the picture in focus, and the step is short. It is written down first and
read back after, as every move of focusd's is; a daemon that dies in the middle of it has the lens put back.
Whether it was right the next tiles tell: they are judged as ever, and what a refocus then finds weighs upon
the next prediction.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace

import structlog

from focusd.config import Config
from focusd.errors import LinkError, MicroscopeError, StoreError, WorkingDistanceNotSetError
from focusd.microscope.interface import Microscope, MicroscopeState
from focusd.records import RefocusRecord
from focusd.service.lens import Lens, MovedByOtherError
from focusd.service.refocus import APPROACH_DEPTHS
from focusd.service.surface import KnownSurface, Place, Surfaces
from focusd.store.database import Store

_log = structlog.get_logger(__name__)

LEFT_SETTING = "lens_left_mm"
LEAST_STEP_DEPTHS = 0.25
"""A shorter move gains nothing."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The focus predicted for a tile, and what became of the wish to go there."""

    x_mm: float
    y_mm: float
    working_distance_mm: float
    standard_deviation_um: float
    points: int
    """What it rests on."""
    applied: bool = False
    """Whether the lens was moved there, ..."""
    readback_mm: float | None = None
    """... and where it stands then."""
    reason: str = ""
    """Why it was not."""


class Follower:
    """Moves the lens to where focus is predicted.

    Args:
        config: The whole configuration.
        store: Where moves are written down, and where the lens was left.
        surfaces: Predict.
    """

    def __init__(self, config: Config, store: Store, surfaces: Surfaces) -> None:
        self._settings = config.surface
        self._may_move = config.surface.move and config.refocus.mode != "advise"
        self._approach_mm = APPROACH_DEPTHS * config.refocus.depth_of_field_um / 1000
        self._tolerance_mm = config.microscope.working_distance_tolerance_um / 1000
        self._store = store
        self._surfaces = surfaces

    async def note_refocus(self, record: RefocusRecord) -> None:
        """Follow from where a refocus has left the lens; not at all while focus is known to be lost.

        If the lens is found anywhere else, somebody has chosen that, and it holds until the next refocus.
        """
        if record.result is None:
            return
        if record.result.is_success:
            await self._leave_at(record.final_working_distance_mm)
        elif record.result.is_failure:
            await self._leave_at(None)

    async def foresee(self, microscope: Microscope, place: Place) -> Foreseen | None:
        """Predict the focus of the next tile, and say why the lens should not go there, if it should not.

        Raises:
            LinkError, StoreError: nothing is known.
        """
        state = await microscope.get_state()
        surface = await self._surfaces.now(state)
        if surface is None:
            return None
        [told] = await self._surfaces.predict(surface, [place])
        foreseen = Foreseen(
            x_mm=place.x_mm,
            y_mm=place.y_mm,
            working_distance_mm=told.working_distance_mm,
            standard_deviation_um=told.standard_deviation_um,
            points=len(surface.points),
        )
        reason = await self._why_not(foreseen, surface, state, microscope.limits_mm)
        return replace(foreseen, reason=reason)

    async def follow(self, microscope: Microscope, foreseen: Foreseen) -> Foreseen:
        """Bring the lens to what was foreseen, or leave it where it stood.

        Raises:
            LinkError: the connection was lost; the restore point is settled at the next connect.
            StoreError: the move could not be written down.
        """
        here_mm = await microscope.get_working_distance()
        entry = await self._store.journal.open(None, here_mm, time.time())
        lens = Lens(
            microscope,
            self._store.journal,
            entry,
            approach_mm=self._approach_mm,
            tolerance_mm=self._tolerance_mm,
        )
        try:
            there_mm = await lens.move(foreseen.working_distance_mm)
            await self._store.journal.close(entry.entry_id, "predicted")
        except LinkError:
            raise
        except StoreError:
            with contextlib.suppress(MovedByOtherError, WorkingDistanceNotSetError):
                await lens.put_back_unrecorded()
            raise
        except (MicroscopeError, MovedByOtherError) as error:
            return await self._give_up(lens, entry.entry_id, foreseen, str(error))
        await self._leave_at(there_mm)
        _log.info(
            "lens_moved_as_predicted",
            x_mm=foreseen.x_mm,
            y_mm=foreseen.y_mm,
            from_mm=here_mm,
            working_distance_mm=there_mm,
            standard_deviation_um=foreseen.standard_deviation_um,
        )
        return replace(foreseen, applied=True, readback_mm=there_mm)

    async def _why_not(
        self,
        foreseen: Foreseen,
        surface: KnownSurface,
        state: MicroscopeState,
        limits_mm: tuple[float, float],
    ) -> str:
        """Say what speaks against the move, ``""`` if nothing does."""
        settings, depth_um = self._settings, surface.depth_of_field_um
        step_um = abs(foreseen.working_distance_mm - state.working_distance_mm) * 1000
        left_mm = await self._store.settings.get(LEFT_SETTING)
        is_ours = (
            isinstance(left_mm, float) and abs(left_mm - state.working_distance_mm) <= self._tolerance_mm
        )
        low_mm, high_mm = limits_mm
        reasons = (
            (not self._may_move, "the configuration says so"),
            (not is_ours, "the lens does not stand where a refocus has left it"),
            (surface.is_doubted, "the focus found last contradicts the surface"),
            (foreseen.points < settings.min_points, f"it rests on less than {settings.min_points} points"),
            (
                foreseen.standard_deviation_um > settings.max_sd_depths * depth_um,
                f"it is not known within {settings.max_sd_depths * depth_um:.3g} um",
            ),
            (not low_mm <= foreseen.working_distance_mm <= high_mm, "it lies outside the limits"),
            (step_um > settings.max_step_um, f"it is farther away than {settings.max_step_um:g} um"),
            (step_um < LEAST_STEP_DEPTHS * depth_um, "the lens is there already"),
        )
        return next((reason for speaks, reason in reasons if speaks), "")

    async def _give_up(self, lens: Lens, entry_id: int, foreseen: Foreseen, reason: str) -> Foreseen:
        """Leave the lens where it stood, or to whoever else has moved it, and do not follow any more."""
        _log.warning("predicted_move_failed", reason=reason)
        await self._leave_at(None)
        outcome = "put_back"
        try:
            await lens.put_back()
        except MovedByOtherError:
            outcome = "left_to_operator"
        except WorkingDistanceNotSetError as error:
            # The entry stays open: it is tried again at the next connect.
            return replace(foreseen, reason=f"{reason}; could not be put back: {error}")
        await self._store.journal.close(entry_id, outcome)
        return replace(foreseen, reason=reason)

    async def _leave_at(self, working_distance_mm: float | None) -> None:
        await self._store.settings.put(LEFT_SETTING, working_distance_mm)
