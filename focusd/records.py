"""What focusd remembers: verdicts on frames, refocuses with their evidence, baselines, restore points.

Frozen values with units in their names; the store keeps them, the API shows them, the service makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from focusd.focus.spectrum import RadialSpectrum
from focusd.frame import FrameFile, ImagingConditions, ScanRegion, StagePosition


class Verdict(StrEnum):
    """What was found of one frame."""

    LEARNING = "learning"
    """No baseline yet."""
    IN_FOCUS = "in_focus"
    SUSPECT = "suspect"
    """Below the baseline, but not often enough to act on."""
    OUT_OF_FOCUS = "out_of_focus"
    UNJUDGEABLE = "unjudgeable"
    """Says nothing about focus: it neither triggers nor teaches."""


@dataclass(frozen=True, slots=True)
class FrameVerdict:
    """One frame as it was judged.

    ``sharpness`` is the drift metric's score, ``None`` if unjudgeable. ``baseline_sharpness`` is what it was
    compared with: the stored baseline, following the content of the specimen, but never under 0.8 of it.
    ``reason`` says why a frame is unjudgeable, and of another what is odd about it: ``gain_changed``,
    ``lost_signal``.
    """

    frame_id: int
    acquired_at: float
    verdict: Verdict
    condition: str
    reason: str | None
    metric: str
    sharpness: float | None
    sharpness_standard_error: float | None
    baseline_sharpness: float | None
    ratio: float | None
    laplacian_variance: float | None
    signal_to_noise: float | None
    saturated_fraction: float | None
    working_distance_mm: float | None
    stage_position: StagePosition | None
    reacquire_from: int | None = None
    """When out of focus: the first frame of the run of frames below the baseline."""
    mean_level: float | None = None
    """Mean grey level."""
    contrast: float | None = None
    """Standard deviation of the grey levels over the converter's range."""
    dark_fraction: float | None = None
    """Share of the pixels at zero."""
    file: str | None = None
    """File that the frame was read from, in a watched folder."""
    kept: bool = True
    """Whether it outlives focusd: not, when the disk was full or could not be written."""


class FileOutcome(StrEnum):
    """What became of a file in a watched folder."""

    JUDGED = "judged"
    SKIPPED = "skipped"
    """It was there before focusd was first told to watch."""
    REFUSED = "refused"
    """It is no image that can be judged."""
    READING = "reading"
    """It is being read, or focusd ended while it was."""
    BEGUN = "begun"
    """No file but the folder itself: focusd has begun to watch it."""


@dataclass(frozen=True, slots=True)
class FileNote:
    """What is known of a file in a watched folder as long as its size and time stay the same."""

    file: FrameFile
    outcome: FileOutcome
    noted_at: float
    """Seconds since 1970."""
    frame_id: int | None = None
    """The verdict on it."""
    reason: str = ""
    """Why it was refused."""
    tries: int = 0
    """How many runs of focusd have begun to read it, where none has come to an end with it."""


class RefocusResult(StrEnum):
    """How a refocus ended."""

    REFOCUSED = "refocused"
    CONFIRMED_IN_FOCUS = "confirmed_in_focus"
    NO_PEAK = "no_peak"
    EDGE_OF_RANGE = "edge_of_range"
    WORSE_THAN_START = "worse_than_start"
    CANCELLED = "cancelled"
    LINK_LOST = "link_lost"
    BUDGET_EXCEEDED = "budget_exceeded"
    LIMITS = "limits"
    WD_NOT_SETTABLE = "wd_not_settable"
    SCAN_FAILED = "scan_failed"
    """The microscope refused a scan or gave only a part of it."""
    INTERNAL_ERROR = "internal_error"
    """A fault of focusd's own, which the log tells of; the lens was put back."""

    NOT_FOCUS_RELATED = "not_focus_related"
    """A probe showed that the picture changed for another reason than focus."""
    BLIND = "blind"
    """A probe could not tell: there is too little to see here."""

    @property
    def is_failure(self) -> bool:
        """Whether focus was looked for in earnest, and not found."""
        harmless = {RefocusResult.NOT_FOCUS_RELATED, RefocusResult.BLIND, RefocusResult.CANCELLED}
        return not self.is_success and self not in harmless

    @property
    def is_success(self) -> bool:
        """Whether the picture is known to be in focus afterwards."""
        return self in {RefocusResult.REFOCUSED, RefocusResult.CONFIRMED_IN_FOCUS}


class RefocusTrigger(StrEnum):
    """Why a refocus was started."""

    DRIFT = "drift"
    BLIND_ALARMS = "blind_alarms"
    """Alarm upon alarm at places with too little to see: focus may be lost altogether."""
    FIRST_FRAME = "first_frame"
    REQUEST = "request"


class ScanRole(StrEnum):
    """What a scan of a refocus was taken for."""

    START = "start"
    PROBE = "probe"
    """To find out whether focus is the matter."""
    SEARCH = "search"
    VERIFICATION = "verification"


@dataclass(frozen=True, slots=True)
class RefocusScan:
    """One image taken during a refocus."""

    index: int
    role: ScanRole
    working_distance_mm: float
    sharpness: float
    sharpness_standard_error: float
    laplacian_variance: float
    signal_to_noise: float
    beam_time_s: float
    """Seconds of beam it cost; 0 for the frame that raised the alarm, which had been taken anyway."""
    dwell_time_us: float | None = None
    region: ScanRegion | None = None
    """Part of the raster that was scanned; ``None`` for all of it."""
    energies: Mapping[str, float] = field(default_factory=dict)
    """Noise-corrected energy by scale in pixels, e.g. ``{"2": 10.5}`` ..."""
    energy_standard_errors: Mapping[str, float] = field(default_factory=dict)
    """... and how far each would scatter if the same field were scanned again."""
    reason: str | None = None
    """Why it cannot be judged, e.g. ``saturated``; ``None`` if it can."""


@dataclass(frozen=True, slots=True)
class RefocusRecord:
    """One refocus with its evidence; ``result`` is ``None`` while it runs."""

    refocus_id: int
    trigger: RefocusTrigger
    method: str
    metric: str
    condition: str
    started_at: float
    start_working_distance_mm: float | None
    """``None`` until its turn has come."""
    max_scans: int
    frame_id: int | None = None
    result: RefocusResult | None = None
    reason: str = ""
    final_working_distance_mm: float | None = None
    duration_s: float | None = None
    gain: float | None = None
    """Sharpness of the verification scan over that of the start."""
    focus_mm: float | None = None
    """Where the search believes focus to be (mean of its posterior) ..."""
    focus_sd_um: float | None = None
    """... and how surely (standard deviation)."""
    depth_of_field_um: float | None = None
    """Depth of field as this run saw it."""
    probability_nearer: float | None = None
    """That the end is nearer to focus than the start."""
    z_score: float | None = None
    """By how many standard errors the end was the sharper."""
    probability_lost: float | None = None
    """That focus is more than a depth of field away from the start, by the probe."""
    frame_beam_time_s: float | None = None
    """Beam time of one frame of the specimen, for comparison."""
    scans: tuple[RefocusScan, ...] = ()
    keep_spectra: bool = False
    """Whether the spectrum of each scan is kept, as ``RefocusSpectra``."""

    @property
    def beam_time_s(self) -> float:
        """Seconds the beam spent on this refocus's scans."""
        return sum(scan.beam_time_s for scan in self.scans)

    @property
    def dose_frames(self) -> float | None:
        """What it cost the specimen, in frames."""
        return self.beam_time_s / self.frame_beam_time_s if self.frame_beam_time_s else None


@dataclass(frozen=True, slots=True)
class StoredSpectrum:
    """A radially averaged power spectrum as it is kept; see ``focusd.focus.spectrum.RadialSpectrum``."""

    frequency_cycles_per_px: tuple[float, ...]
    """Of each ring, rising."""
    power: tuple[float, ...]
    """Mean power of each ring, squared grey levels."""
    modes: tuple[float, ...]
    """Independent modes in each ring."""
    corner_power: float
    """Mean power beyond 0.5 cycles per pixel: the noise floor."""

    @classmethod
    def of(cls, spectrum: RadialSpectrum) -> StoredSpectrum:
        """Take over a measured spectrum."""
        return cls(
            frequency_cycles_per_px=tuple(spectrum.frequency.tolist()),
            power=tuple(spectrum.power.tolist()),
            modes=tuple(spectrum.modes.tolist()),
            corner_power=float(spectrum.corner_power),
        )

    def restored(self) -> RadialSpectrum:
        """Give the spectrum for measuring with."""
        return RadialSpectrum(
            frequency=np.array(self.frequency_cycles_per_px),
            power=np.array(self.power),
            modes=np.array(self.modes),
            corner_power=self.corner_power,
        )


@dataclass(frozen=True, slots=True)
class RefocusSpectra:
    """The spectra of a refocus's scans, in their order; kept beside the record because they are long."""

    refocus_id: int
    spectra: tuple[StoredSpectrum, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """Reference sharpness of one imaging condition, by metric name."""

    conditions: ImagingConditions
    sharpness: Mapping[str, float]
    source: str
    """``refocus``, ``learned`` or ``operator``."""
    created_at: float
    frames: int
    working_distance_mm: float | None = None

    @property
    def condition(self) -> str:
        """Name of the imaging condition."""
        return self.conditions.key


@dataclass(frozen=True, slots=True)
class Reference:
    """How a picture in focus looks, scanned as a refocus scans; the newest of its imaging condition."""

    conditions: ImagingConditions
    spectrum: StoredSpectrum
    created_at: float

    @property
    def condition(self) -> str:
        """Name of the imaging condition."""
        return self.conditions.key


@dataclass(frozen=True, slots=True)
class FocusPoint:
    """Where focus was found by one refocus."""

    point_id: int
    refocus_id: int
    found_at: float
    """Seconds since 1970."""
    x_mm: float
    y_mm: float
    stage_position: StagePosition
    """All axes; focus at other heights, tilts and rotations is another."""
    working_distance_mm: float
    standard_deviation_um: float
    conditions: ImagingConditions
    """Of the refocus's scans."""
    surprise: float | None = None
    """Its distance from what earlier points had predicted, in standard deviations; ``None`` for the first."""


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """Where the lens stood before focusd moved it, and every place it was sent since."""

    entry_id: int
    refocus_id: int | None
    """``None`` for a move to a predicted focus."""
    original_working_distance_mm: float
    opened_at: float
    commanded_mm: tuple[float, ...] = field(default=())
    best_working_distance_mm: float | None = None
