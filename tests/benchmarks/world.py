"""The microscope of a trial: focusd's own simulator, put out of focus by a known amount.

Lengths along the beam are given in D, the depth of field: the defocus that adds one pixel of blur radius.
One and the same trial (field, start, noise) is given to every strategy.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from focusd.frame import Pixels, ScanRegion, ScanRequest
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.detection import ELECTRONS_PER_PA_US, MID_GREY
from focusd.simulator.options import ColumnOptions
from focusd.simulator.presets import seed_column, worn_column
from focusd.simulator.specimen import Specimen
from tests.benchmarks.specimens import specimen

Environment = Literal["std", "rough", "seed"]
ENVIRONMENTS: tuple[Environment, ...] = ("std", "rough", "seed")

DISTANCES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"small": (2.0, 6.0), "medium": (8.0, 16.0), "far": (24.0, 45.0)}
)
"""How far from focus a trial starts, in D."""
DOSES = (200.0, 50.0, 20.0, 8.0, 3.0)
"""Electrons counted a pixel on mid-grey material."""
NO_NOISE = math.inf

SIDE_PX = 512
PIXEL_NM = 10.0
RANGE_DEPTHS = 90.0
"""Travel of the lens: the published call's range of 10 to 100."""
MAX_SCANS = 120
ROUGH_TOLD_TOO_LARGE = 1.3
"""By how much the depth of field that is told in rough mode exceeds the true one."""

_MARGIN_DEPTHS = 4.0
_APPROACH_DEPTHS = 3.0
_NOISE_GREY = 40.0
_LOWERED_MID_GREY = 110.0
_FIELD_MM = 0.02


class OutOfScansError(Exception):
    """A strategy took more scans than anybody would wait for; it ends where the lens stands."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One start from which focus is looked for."""

    environment: Environment
    image: str
    dose: float
    distance: str
    index: int
    seed: int

    def random(self) -> np.random.Generator:
        """Random numbers that depend on nothing but the trial."""
        place = (self.environment, self.image, f"{self.dose:g}", self.distance)
        return np.random.default_rng([self.seed, self.index, *(zlib.crc32(word.encode()) for word in place)])


class Scope:
    """The microscope as a strategy sees it, and, marked *judge*, what only the judge may know.

    Args:
        column: The simulated column, standing at the start.
        side_px: Side of a full frame.
        told_depth_mm: Depth of field that the strategy is told.
        depth_mm: The true one.
        dwell_time_us: Of a full frame's pixel.
        max_scans: Most scans that are borne; any number when ``None``.
    """

    def __init__(
        self,
        column: SimulatedColumn,
        *,
        side_px: int = SIDE_PX,
        told_depth_mm: float,
        depth_mm: float,
        dwell_time_us: float = 1.0,
        max_scans: int | None = MAX_SCANS,
    ) -> None:
        self.column = column
        self.request = ScanRequest(side_px, side_px, dwell_time_us)
        self.depth_mm = told_depth_mm
        self._true_depth_mm = depth_mm
        self._max_scans = max_scans
        self._scans_before = column.scan_count
        self._electrons = 0.0
        self.rendering_cpu_s = 0.0
        """*Judge.* Processor time spent on making the images."""

    @property
    def limits_mm(self) -> tuple[float, float]:
        """Lowest and highest working distance."""
        return self.column.options.limits_mm

    @property
    def working_distance_mm(self) -> float:
        """The readback."""
        return self.column.working_distance_mm

    def move(self, working_distance_mm: float) -> float:
        """Set the working distance, limited as the column does; give the readback."""
        return self.column.set_working_distance(float(working_distance_mm))

    def scan(self, region: ScanRegion | None = None, dwell_time_us: float | None = None) -> Pixels:
        """Take an image of the whole field or of a part of it.

        Raises:
            OutOfScansError: ``max_scans`` have been taken.
        """
        if self._max_scans is not None and self.scans >= self._max_scans:
            raise OutOfScansError
        request = replace(
            self.request, region=region, dwell_time_us=dwell_time_us or self.request.dwell_time_us
        )
        began = time.process_time()
        pixels = self.column.render(request)
        self.rendering_cpu_s += time.process_time() - began
        self._electrons += self.column.scans[-1].electrons
        return pixels

    @property
    def scans(self) -> int:
        """*Judge.* Scans taken."""
        return self.column.scan_count - self._scans_before

    @property
    def dose_frames(self) -> float:
        """*Judge.* Electrons spent, in full frames at full dwell."""
        current = self.column.probe_current_pa * ELECTRONS_PER_PA_US
        frame = current * self.request.dwell_time_us * self.request.width * self.request.height
        return self._electrons / frame

    @property
    def defocus_depths(self) -> float:
        """*Judge.* Distance from focus now, in true D."""
        return self.column.true_defocus_um() / 1000.0 / self._true_depth_mm

    @property
    def is_repeatable_to_depths(self) -> float:
        """*Judge.* How far from each other two settings to one working distance may end: play, jitter."""
        options = self.column.options
        return (options.backlash_um + 2.0 * options.setting_jitter_um) / 1000.0 / self._true_depth_mm


def make_scope(trial: Trial) -> Scope:
    """Build the microscope of a trial, focus lost by the trial's distance."""
    random = trial.random()
    low, high = DISTANCES[trial.distance]
    defocus = float(random.uniform(low, high)) * (1.0 if random.integers(2) else -1.0)
    noise_seed = int(random.integers(2**31))
    if trial.environment == "seed":
        options = replace(seed_column(noise_seed), limits_mm=(10.0, 100.0), field_of_view_mm=field_mm())
        depth_mm, told = 10.0, 1.0
    else:
        options, told = physical_column(trial.environment, trial.dose, noise_seed)
        depth_mm = depth_of_field_mm()
        options = _somewhere_in_range(options, defocus, depth_mm, random)
    column = SimulatedColumn(options, specimen(trial.image))
    adapt_contrast(column, trial.dose)
    column.move_stage(*random.uniform(-_FIELD_MM, _FIELD_MM, 2))
    start_mm = options.best_focus_mm + defocus * depth_mm
    # A real lens arrived at the start by focusd's way, from below; so does this one.
    column.set_working_distance(start_mm - _APPROACH_DEPTHS * depth_mm)
    column.set_working_distance(start_mm)
    return Scope(column, told_depth_mm=told * depth_mm, depth_mm=depth_mm)


def physical_column(environment: Environment, dose: float, seed: int) -> tuple[ColumnOptions, float]:
    """Give the column of an environment, and the told depth of field over the true one."""
    options = ColumnOptions(seed=seed)
    told = 1.0
    if environment == "rough":
        # A field of view that breathes would have the simulator interpolate its texture, which softens some
        # scans and not others: no defocus, and no instrument's doing.
        options = replace(worn_column(seed), field_change_percent_per_mm=0.0)
        told = ROUGH_TOLD_TOO_LARGE
    counted = options.detectors[0].detection_yield * ELECTRONS_PER_PA_US
    return (
        replace(
            options,
            field_of_view_mm=field_mm(),
            shot_noise=math.isfinite(dose),
            probe_current_pa=(dose if math.isfinite(dose) else 1000.0) / counted,
        ),
        told,
    )


def field_mm(side_px: int = SIDE_PX) -> float:
    """Field of view of a frame with the benchmark's pixels."""
    return side_px * PIXEL_NM * 1e-6


def depth_of_field_mm() -> float:
    """Depth of field of the benchmark's physical columns."""
    return PIXEL_NM * 1e-6 / (ColumnOptions().half_angle_mrad * 1e-3)


def adapt_contrast(column: SimulatedColumn, dose: float) -> None:
    """Set contrast and brightness as an operator does at low dose, so that shot noise fits into 8 bits."""
    noise_grey = MID_GREY / math.sqrt(dose)
    gain = min(1.0, _NOISE_GREY / noise_grey) if noise_grey else 1.0
    setting = column.settings[column.selected_detector]
    setting.gain_percent = 50.0 + 10.0 * math.log2(gain)
    setting.black_percent = 50.0 + (1.0 - gain) * _LOWERED_MID_GREY / 10.0


def blur_px(defocus_depths: float) -> float:
    """Radius of the beam so far from focus, in pixels; the focused beam has one pixel."""
    return math.hypot(1.0, defocus_depths)


def healthy_scope(
    ground: Specimen,
    *,
    dose: float,
    seed: int,
    side_px: int,
    drift_um_per_hour: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
) -> Scope:
    """Build a microscope without faults, in focus on height zero, that takes any number of scans."""
    options, told = physical_column("std", dose, seed)
    depth_mm = depth_of_field_mm()
    half_mm = RANGE_DEPTHS / 2.0 * depth_mm
    options = replace(
        options,
        field_of_view_mm=field_mm(side_px),
        focus_drift_um_per_hour=drift_um_per_hour,
        limits_mm=(options.best_focus_mm - half_mm, options.best_focus_mm + half_mm),
    )
    column = SimulatedColumn(options, ground, clock=clock)
    adapt_contrast(column, dose)
    return Scope(column, side_px=side_px, told_depth_mm=told * depth_mm, depth_mm=depth_mm, max_scans=None)


def _somewhere_in_range(
    options: ColumnOptions, defocus: float, depth_mm: float, random: np.random.Generator
) -> ColumnOptions:
    """Lay the lens's travel so that focus lies anywhere in it, start and focus well inside."""
    below = _MARGIN_DEPTHS + max(0.0, -defocus)
    above = RANGE_DEPTHS - _MARGIN_DEPTHS - max(0.0, defocus)
    low_mm = options.best_focus_mm - float(random.uniform(below, above)) * depth_mm
    return replace(options, limits_mm=(low_mm, low_mm + RANGE_DEPTHS * depth_mm))
