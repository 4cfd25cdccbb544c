"""The simulated electron column and stage: the state that all sessions of a server share.

What a client may do is a plain attribute or a method; nothing raises for a value out of range, because the
real instruments limit silently and leave the reading back to the client. What only a judge may know (where
the focus truly is, what was commanded when) is marked *judge*: the daemon has no way to it.

The column does no I/O and owns no time: it reads the clock it was given. Changing its state is cheap and
belongs to one thread; ``expose`` freezes everything a scan depends on, so the costly
``Exposure.render`` may run in another thread meanwhile.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from focusd.frame import Pixels, ScanRequest, StagePosition
from focusd.simulator.detection import ELECTRONS_PER_PA_US, Amplifier
from focusd.simulator.exposure import Beam, Exposure, PhysicalScene, SeedExposure, SpectrumCache
from focusd.simulator.optics import SEED_PX_PER_MM
from focusd.simulator.options import ColumnOptions, Detector
from focusd.simulator.raster import Raster
from focusd.simulator.specimen import Specimen

_LOG_LENGTH = 100_000
_NOISE, _GAIN, _POSITION, _SETTING = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Move:
    """One commanded working distance."""

    at_s: float
    """Time of the column's clock."""
    requested_mm: float
    """What the client asked for."""
    set_mm: float
    """What it became within the limits."""


@dataclass(frozen=True, slots=True)
class ScanEntry:
    """One scan that was begun."""

    at_s: float
    request: ScanRequest
    working_distance_mm: float
    defocus_um: float
    """Distance from focus at the middle of the field."""
    electrons: float
    """Electrons of the beam that the specimen takes, all pixels together."""


@dataclass(slots=True)
class DetectorSetting:
    """Contrast and brightness of one detector, in percent; 50 and 50 leave the signal as it is."""

    gain_percent: float = 50.0
    black_percent: float = 50.0

    def amplifier(self, readout_noise_grey: float) -> Amplifier:
        """Ten percent double the gain or move the picture by a hundred grey levels."""
        return Amplifier(
            gain=2.0 ** ((self.gain_percent - 50.0) / 10.0),
            offset_grey=(self.black_percent - 50.0) * 10.0,
            readout_noise_grey=readout_noise_grey,
        )


class SimulatedColumn:
    """A scanning electron microscope without its network.

    Args:
        options: The column; defaults are a microscope in good health.
        specimen: What lies under the beam; by default the default specimen.
        clock: Gives seconds that never go back; drifts run on it from the moment of construction.

    Attributes:
        beam_on: Whether the high voltage is on.
        blanked: Whether the blanker keeps the beam off the specimen.
        accelerating_voltage_kv: Accelerating voltage.
        probe_current_pa: Beam current.
        field_of_view_setting_mm: Field of view as commanded; ``field_of_view_mm`` is what it becomes.
        image_shift_mm: Shift of the beam along x and along y.
        stigmator_percent: Stigmator along 0 and along 45 degrees.
        selected_detector: Number of the detector that ``expose`` uses unless told otherwise.
        settings: Contrast and brightness by detector number.
        moves: *Judge.* Every commanded working distance, oldest first; the last 100,000.
        scans: *Judge.* Every scan begun, oldest first; the last 100,000.
    """

    def __init__(
        self,
        options: ColumnOptions | None = None,
        specimen: Specimen | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options or ColumnOptions()
        self.specimen = specimen or Specimen()
        self._clock = clock
        self._started_s = clock()
        self.beam_on = True
        self.blanked = False
        self.accelerating_voltage_kv = self.options.accelerating_voltage_kv
        self.probe_current_pa = self.options.probe_current_pa
        self.field_of_view_setting_mm = self.options.field_of_view_mm
        self.image_shift_mm = (0.0, 0.0)
        self.stigmator_percent = (0.0, 0.0)
        self.selected_detector = self.options.detectors[0].number
        self.settings = {detector.number: DetectorSetting() for detector in self.options.detectors}
        self.moves: deque[Move] = deque(maxlen=_LOG_LENGTH)
        self.scans: deque[ScanEntry] = deque(maxlen=_LOG_LENGTH)
        self._move_count = 0
        self._scan_count = 0
        self._cache = SpectrumCache()
        self._working_distance_mm = self._limited(self.options.working_distance_mm)
        self._lens_mm = self._working_distance_mm
        self._setting_error_um = 0.0
        self._stage = (0.0, 0.0, 0.0, 0.0, 0.0)

    # The lens

    @property
    def working_distance_mm(self) -> float:
        """The readback: what was commanded last, within the limits."""
        return self._working_distance_mm

    def set_working_distance(self, working_distance_mm: float) -> float:
        """Move the lens; give the readback. Out of range goes to the limit, NaN nowhere."""
        if math.isnan(working_distance_mm):
            return self._working_distance_mm
        self._working_distance_mm = self._limited(working_distance_mm)
        self._move_count += 1
        self.moves.append(Move(self._clock(), working_distance_mm, self._working_distance_mm))
        play_mm = self.options.backlash_um * 1e-3 / 2
        self._lens_mm = min(
            max(self._lens_mm, self._working_distance_mm - play_mm), self._working_distance_mm + play_mm
        )
        self._setting_error_um = self.options.setting_jitter_um * self._random(_SETTING, self._move_count)
        return self._working_distance_mm

    def _limited(self, working_distance_mm: float) -> float:
        low, high = self.options.limits_mm
        return min(max(working_distance_mm, low), high)

    @property
    def actual_working_distance_mm(self) -> float:
        """*Judge.* Where the lens truly focuses, play and jitter included."""
        return self._lens_mm + self._setting_error_um * 1e-3

    @property
    def field_of_view_mm(self) -> float:
        """Width of the scan window; the working distance changes it slightly, as on a real column."""
        above_mm = self._working_distance_mm - self.options.best_focus_mm
        return self.field_of_view_setting_mm * (
            1.0 + self.options.field_change_percent_per_mm / 100.0 * above_mm
        )

    # The stage

    @property
    def stage_position(self) -> StagePosition:
        """Where the stage stands."""
        return StagePosition(*self._stage)

    def move_stage(
        self,
        x_mm: float | None = None,
        y_mm: float | None = None,
        z_mm: float | None = None,
        rotation_deg: float | None = None,
        tilt_deg: float | None = None,
    ) -> StagePosition:
        """Move at once; axes left out stay, and the travel is limited silently.

        Raising z brings the specimen nearer the lens. Tilt turns about the horizontal line through the
        middle of the field. Rotation is stored and shows no effect.
        """
        low, high = self.options.stage_limits_mm
        x, y, z, rotation, tilt = self._stage

        def travelled(target: float | None, present: float, least: float, most: float) -> float:
            if target is None or math.isnan(target):
                return present
            return min(max(target, least), most)

        self._stage = (
            travelled(x_mm, x, low, high),
            travelled(y_mm, y, low, high),
            travelled(z_mm, z, low, high),
            travelled(rotation_deg, rotation, -360.0, 360.0),
            travelled(tilt_deg, tilt, -60.0, 60.0),
        )
        return self.stage_position

    # What the judge knows

    @property
    def scan_count(self) -> int:
        """Scans begun since the start."""
        return self._scan_count

    def best_focus_mm(self, x_mm: float | None = None, y_mm: float | None = None) -> float:
        """*Judge.* The working distance that focuses here, or at this place of the stage, now."""
        x, y, z, *_ = self._stage
        height_um = self.specimen.relief.height_um(
            (x if x_mm is None else x_mm) + self.image_shift_mm[0],
            (y if y_mm is None else y_mm) + self.image_shift_mm[1],
        )
        drift_um = self.options.focus_drift_um_per_hour * self._hours
        return self.options.best_focus_mm - z + (drift_um - height_um) * 1e-3

    def true_defocus_um(self, x_mm: float | None = None, y_mm: float | None = None) -> float:
        """*Judge.* How much too long the working distance is, at the middle of the field."""
        return (self.actual_working_distance_mm - self.best_focus_mm(x_mm, y_mm)) * 1e3

    def depth_of_field_um(self, columns: int) -> float:
        """*Judge.* Defocus that adds one pixel of blur to a scan with so many columns."""
        if self.options.optics == "seed":
            return 1e3 / SEED_PX_PER_MM
        return self.field_of_view_mm * 1e6 / columns / self.options.half_angle_mrad

    @property
    def _hours(self) -> float:
        return (self._clock() - self._started_s) / 3600.0

    # The scan

    @property
    def detectors(self) -> tuple[Detector, ...]:
        """Detectors that may be selected."""
        return self.options.detectors

    def render(self, request: ScanRequest, detector_number: int | None = None) -> Pixels:
        """Scan and give the image: ``expose(...).render()`` at once."""
        return self.expose(request, detector_number).render()

    def expose(self, request: ScanRequest, detector_number: int | None = None) -> Exposure | SeedExposure:
        """Begin a scan: freeze what it depends on, and count it.

        Args:
            request: The scan; ``region`` must lie inside ``width`` x ``height``.
            detector_number: Which detector; the selected one when not given, the first when unknown.

        Returns:
            The scan, whose ``render`` makes the image (the same one each time).
        """
        self._scan_count += 1
        # The field of view is the width of the window; a window that is not square is cut or extended below.
        frame, raster = self._rasters(request)
        rows, columns = request.shape
        dose = request.dwell_time_us * self.probe_current_pa * ELECTRONS_PER_PA_US * self._beam_reaches
        self.scans.append(
            ScanEntry(
                self._clock(),
                request,
                self._working_distance_mm,
                self.true_defocus_um(),
                dose * rows * columns,
            )
        )
        if self.options.optics == "seed":
            return SeedExposure(
                specimen=self.specimen,
                frame=frame,
                raster=raster,
                working_distance_mm=self.actual_working_distance_mm,
                best_focus_mm=self.best_focus_mm(),
                bits_per_pixel=request.bits_per_pixel,
                beam_on=self._beam_reaches,
            )
        detector = self._detector(detector_number)
        return Exposure(
            scene=self._scene(frame, raster) if self._beam_reaches else None,
            shape=request.shape,
            mid_grey_electrons=dose * detector.detection_yield if self.options.shot_noise else 0.0,
            signal_gain=self._signal_gain(),
            amplifier=self.settings[detector.number].amplifier(self.options.readout_noise_grey),
            bits_per_pixel=request.bits_per_pixel,
            seed=(self.options.seed, _NOISE, self._scan_count, detector.number),
        )

    @property
    def _beam_reaches(self) -> bool:
        return self.beam_on and not self.blanked and self.probe_current_pa > 0

    def _detector(self, number: int | None) -> Detector:
        wanted = self.selected_detector if number is None else number
        return next((d for d in self.detectors if d.number == wanted), self.detectors[0])

    def _rasters(self, request: ScanRequest) -> tuple[Raster, Raster]:
        pixel_mm = self.field_of_view_mm / request.width
        jitter_mm = self.options.position_jitter_nm * 1e-6
        x, y, *_ = self._stage
        frame = Raster(
            x
            + self.image_shift_mm[0]
            + jitter_mm * self._random(_POSITION, self._scan_count, 0)
            - request.width * pixel_mm / 2,
            y
            + self.image_shift_mm[1]
            + jitter_mm * self._random(_POSITION, self._scan_count, 1)
            - request.height * pixel_mm / 2,
            pixel_mm,
            0,
            0,
            request.width,
            request.height,
        )
        region = request.region
        if region is None:
            return frame, frame
        return frame, frame.part(region.x, region.y, region.width, region.height)

    def _scene(self, frame: Raster, raster: Raster) -> PhysicalScene:
        middle_height_um = self.specimen.relief.height_um(
            self._stage[0] + self.image_shift_mm[0], self._stage[1] + self.image_shift_mm[1]
        )
        return PhysicalScene(
            specimen=self.specimen,
            frame=frame,
            raster=raster,
            beam=self._beam(),
            defocus_at_zero_um=self.true_defocus_um() - middle_height_um,
            slope=math.tan(math.radians(self._stage[4])),
            cache=self._cache,
        )

    def _beam(self) -> Beam:
        """Astigmatism and stigmators add as vectors at twice their angle."""
        own = self.options.astigmatism_um
        angle = math.radians(2.0 * self.options.astigmatism_angle_deg)
        added = self.options.stigmator_um_per_percent
        x = own * math.cos(angle) + added * self.stigmator_percent[0]
        y = own * math.sin(angle) + added * self.stigmator_percent[1]
        return Beam(
            half_angle_rad=self.options.half_angle_mrad * 1e-3,
            radius_nm=self.options.beam_radius_nm,
            astigmatism_um=math.hypot(x, y),
            astigmatism_angle_rad=math.atan2(y, x) / 2.0,
            shape=self.options.psf,
        )

    def _signal_gain(self) -> float:
        drift = 1.0 + self.options.brightness_drift_percent_per_hour / 100.0 * self._hours
        jitter = 1.0 + self.options.gain_jitter_percent / 100.0 * self._random(_GAIN, self._scan_count)
        return max(drift * jitter, 0.0)

    def _random(self, *purpose: int) -> float:
        """A standard normal number that depends on nothing but the seed and the purpose."""
        return float(np.random.default_rng((self.options.seed, *purpose)).standard_normal())
