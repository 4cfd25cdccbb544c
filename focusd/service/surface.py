"""Focus over the stage: each refocus that succeeds adds a point; together they tell where focus is elsewhere.

Points count together while the same holds of them: accelerating voltage, detector, pixel size and label, and
height, tilt and rotation of the stage. Any of these may move the focus by more than a depth of field, so what
was found under others is void until the microscope is as it was then. Points older than two days are void:
focus has wandered by more than they can tell. And where two points in a row contradict what those before them
predict, the specimen is another, or has a step: those before are forgotten.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog
from numpy.linalg import LinAlgError

from focusd.config import Config
from focusd.focus.surface import FocusSample, FocusSurface, PredictedFocus, SurfaceFit
from focusd.focus.surface_model import POINT_SD_DEPTHS
from focusd.frame import ImagingConditions, StagePosition
from focusd.microscope.interface import MicroscopeState
from focusd.records import FocusPoint, RefocusRecord, RefocusResult
from focusd.service.depths import Depths
from focusd.store.database import Store

_log = structlog.get_logger(__name__)

MAX_AGE_S = 172_800.0
LONGEST_TRAVEL_MM = 1000.0
"""No stage goes farther."""
DOUBTED_BEYOND_SDS = 4.0
"""A point farther than this from what was predicted contradicts it."""

_UNTOLD_SD_DEPTHS = 0.5
"""Standard deviation of the answer of a search that tells none."""
_HEIGHT_TOLERANCE_DEPTHS = 0.5
_TILT_TOLERANCE_DEG = 0.02
"""Two hundredths of a degree are 3.5 um over a centimetre."""
_ROTATION_TOLERANCE_DEG = 0.1
_VOLTAGE_TOLERANCE = 0.002
_PIXEL_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Place:
    """A place of the stage."""

    x_mm: float
    y_mm: float


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What must be the same for focus to be comparable; what is not known contradicts nothing."""

    label: str
    accelerating_voltage_kv: float | None
    detector: str | None
    pixel_size_nm: float | None
    z_mm: float | None
    tilt_deg: float | None
    rotation_deg: float | None

    def agree(self, other: Circumstances, *, height_tolerance_mm: float) -> bool:
        """Tell whether points found under both count together."""
        if self.label != other.label or not _same_word(self.detector, other.detector):
            return False
        return all(
            _close(mine, theirs, absolute=absolute, relative=relative)
            for mine, theirs, absolute, relative in (
                (self.accelerating_voltage_kv, other.accelerating_voltage_kv, 0.0, _VOLTAGE_TOLERANCE),
                (self.pixel_size_nm, other.pixel_size_nm, 0.0, _PIXEL_TOLERANCE),
                (self.z_mm, other.z_mm, height_tolerance_mm, 0.0),
                (self.tilt_deg, other.tilt_deg, _TILT_TOLERANCE_DEG, 0.0),
                (self.rotation_deg, other.rotation_deg, _ROTATION_TOLERANCE_DEG, 0.0),
            )
        )


@dataclass(frozen=True, slots=True)
class KnownSurface:
    """The surface through the points that count together."""

    condition: str
    """Of the newest point."""
    points: tuple[FocusPoint, ...]
    """Oldest first."""
    depth_of_field_um: float
    fitted: FocusSurface

    @property
    def is_doubted(self) -> bool:
        """Whether the newest point contradicts the others."""
        surprise = self.points[-1].surprise
        return surprise is not None and abs(surprise) > DOUBTED_BEYOND_SDS

    @property
    def fit(self) -> SurfaceFit:
        """What the points say, in figures."""
        return self.fitted.summary


class Surfaces:
    """Keeps the points and fits surfaces through them.

    Args:
        config: The whole configuration.
        store: Where points are kept.
        wall_clock: Seconds since 1970.
    """

    def __init__(self, config: Config, store: Store, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._scan = config.scan
        self._store = store
        self._depths = Depths(store, config.refocus.depth_of_field_um)
        self._wall_clock = wall_clock
        self._points: Sequence[FocusPoint] | None = None
        """Those of the store, once they have been read, until one is added or forgotten."""
        self._recent: deque[KnownSurface] = deque(maxlen=4)

    async def learn(
        self, record: RefocusRecord, conditions: ImagingConditions, stage: StagePosition | None
    ) -> None:
        """Take in a refocus that succeeded; one at an unknown place tells nothing.

        Raises:
            StoreError: the point could not be kept.
        """
        found_mm = _found_mm(record)
        if stage is None or stage.x_mm is None or stage.y_mm is None or found_mm is None:
            return
        if max(abs(stage.x_mm), abs(stage.y_mm)) > LONGEST_TRAVEL_MM:
            return
        depth_um = (await self._depths.known(conditions.key)).depth_of_field_um
        point = FocusPoint(
            point_id=0,
            refocus_id=record.refocus_id,
            found_at=self._wall_clock(),
            x_mm=stage.x_mm,
            y_mm=stage.y_mm,
            stage_position=stage,
            working_distance_mm=found_mm,
            standard_deviation_um=record.focus_sd_um or _UNTOLD_SD_DEPTHS * depth_um,
            conditions=conditions,
        )
        await self._add(point)

    async def now(self, state: MicroscopeState | None) -> KnownSurface | None:
        """Give the surface that holds for the microscope as it is, or for the newest point if it is away."""
        points = await self._fresh()
        if not points:
            return None
        wanted = self._of_point(points[-1]) if state is None else self._of_state(state)
        return await self._surface(await self._alike(points, wanted))

    async def all(self) -> list[KnownSurface]:
        """Give all surfaces, that of the newest point first."""
        left, surfaces = await self._fresh(), []
        while left:
            alike = await self._alike(left, self._of_point(left[-1]))
            surface = await self._surface(alike)
            surfaces += [surface] if surface is not None else []
            taken = {point.point_id for point in alike}
            left = [point for point in left if point.point_id not in taken]
        return surfaces

    async def predict(
        self, surface: KnownSurface, places: Sequence[Place], at: float | None = None
    ) -> list[PredictedFocus]:
        """Say where focus is at some places, now or at a time in seconds since 1970."""
        when = self._wall_clock() if at is None else at
        rows = [(place.x_mm, place.y_mm) for place in places]
        return await asyncio.to_thread(surface.fitted.predict_all, rows, when)

    async def clear(self) -> int:
        """Forget all points by an operator's word; tell how many there were."""
        cleared = await self._store.focus_points.clear()
        self._points = None
        _log.info("focus_surface_cleared", points=cleared)
        return cleared

    async def _add(self, point: FocusPoint) -> None:
        """Keep a point, with how far it is from what was predicted; forget what two in a row contradict."""
        earlier = await self._alike(await self._fresh(), self._of_point(point))
        newest = await self._surface(earlier)
        is_second = newest is not None and newest.is_doubted
        trusted = earlier[:-1] if is_second else earlier
        surprise = await self._surprise(point, await self._surface(trusted))
        if is_second and surprise is not None and abs(surprise) > DOUBTED_BEYOND_SDS:
            await self._store.focus_points.delete(trusted)
            _log.warning("focus_surface_started_afresh", points_forgotten=len(trusted))
            surprise = None
        kept = await self._store.focus_points.append(replace(point, surprise=surprise))
        self._points = None
        _log.info(
            "focus_point_added",
            point_id=kept.point_id,
            x_mm=kept.x_mm,
            y_mm=kept.y_mm,
            working_distance_mm=kept.working_distance_mm,
            standard_deviation_um=kept.standard_deviation_um,
            surprise=surprise,
        )

    async def _surprise(self, point: FocusPoint, surface: KnownSurface | None) -> float | None:
        """Give a point's distance from what was predicted, in standard deviations."""
        if surface is None:
            return None
        [told] = await self.predict(surface, [Place(point.x_mm, point.y_mm)], point.found_at)
        off_um = (point.working_distance_mm - told.working_distance_mm) * 1000.0
        own_um = math.hypot(point.standard_deviation_um, POINT_SD_DEPTHS * surface.depth_of_field_um)
        return off_um / math.hypot(told.standard_deviation_um, own_um)

    async def _fresh(self) -> list[FocusPoint]:
        if self._points is None:
            self._points = await self._store.focus_points.list()
        oldest = self._wall_clock() - MAX_AGE_S
        return [point for point in self._points if point.found_at >= oldest]

    async def _alike(self, points: Sequence[FocusPoint], wanted: Circumstances) -> list[FocusPoint]:
        heights_mm = {}
        for key in {point.conditions.key for point in points}:
            depth_um = (await self._depths.known(key)).depth_of_field_um
            heights_mm[key] = _HEIGHT_TOLERANCE_DEPTHS * depth_um / 1000.0
        return [
            point
            for point in points
            if self._of_point(point).agree(wanted, height_tolerance_mm=heights_mm[point.conditions.key])
        ]

    async def _surface(self, points: Sequence[FocusPoint]) -> KnownSurface | None:
        """Fit the surface through points, unless that was just done; ``None`` if it cannot be."""
        if not points:
            return None
        newest = points[-1].conditions
        depth_um = (await self._depths.known(newest.key)).depth_of_field_um
        for known in self._recent:
            if known.points == tuple(points) and known.depth_of_field_um == depth_um:
                return known
        # The refocus may have looked at a part of the frame; relief is as steep as the whole of it bears.
        pixel_nm = newest.pixel_size_nm
        field_mm = pixel_nm * 1e-6 * self._scan.width if pixel_nm else None
        samples = [
            FocusSample(one.x_mm, one.y_mm, one.found_at, one.working_distance_mm, one.standard_deviation_um)
            for one in points
        ]
        tilt_deg = points[-1].stage_position.tilt_deg or 0.0
        try:
            fitted = await asyncio.to_thread(
                FocusSurface.fit, samples, depth_of_field_um=depth_um, field_mm=field_mm, tilt_deg=tilt_deg
            )
        except (ValueError, LinAlgError) as error:
            # Numbers beyond all reason, from a microscope or a bridge: no surface, and no harm.
            _log.warning("focus_surface_not_fitted", points=len(points), error=str(error))
            return None
        surface = KnownSurface(newest.key, tuple(points), depth_um, fitted)
        self._recent.append(surface)
        return surface

    def _of_point(self, point: FocusPoint) -> Circumstances:
        conditions, stage = point.conditions, point.stage_position
        return Circumstances(
            label=conditions.label,
            accelerating_voltage_kv=conditions.accelerating_voltage_kv,
            detector=conditions.detector,
            pixel_size_nm=conditions.pixel_size_nm,
            z_mm=stage.z_mm,
            tilt_deg=stage.tilt_deg,
            rotation_deg=stage.rotation_deg,
        )

    def _of_state(self, state: MicroscopeState) -> Circumstances:
        stage = state.stage_position or StagePosition()
        field_um = state.field_of_view_um
        return Circumstances(
            label=self._scan.label,
            accelerating_voltage_kv=state.accelerating_voltage_kv,
            detector=state.detector,
            pixel_size_nm=field_um * 1000.0 / self._scan.width if field_um else None,
            z_mm=stage.z_mm,
            tilt_deg=stage.tilt_deg,
            rotation_deg=stage.rotation_deg,
        )


def _found_mm(record: RefocusRecord) -> float | None:
    """Where focus is: where the lens went, or would have gone where it stayed because it was near enough."""
    if record.result is RefocusResult.CONFIRMED_IN_FOCUS and record.focus_mm is not None:
        return record.focus_mm
    return record.final_working_distance_mm


def _same_word(mine: str | None, theirs: str | None) -> bool:
    return mine is None or theirs is None or mine == theirs


def _close(mine: float | None, theirs: float | None, *, absolute: float, relative: float) -> bool:
    if mine is None or theirs is None:
        return True
    return math.isclose(mine, theirs, rel_tol=relative, abs_tol=absolute)
