"""Everything that can be chosen about the simulated microscope and its specimen.

Lengths across the specimen follow the scan: ``x`` to the right, ``y`` down, (0, 0) under the beam when the
stage stands at zero. Heights grow towards the lens, so a higher place is in focus at a shorter working
distance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Literal

Optics = Literal["physical", "seed"]
PsfShape = Literal["disk", "gaussian"]


@dataclass(frozen=True, slots=True)
class Detector:
    """One electron detector of the column."""

    number: int
    """What a client selects it by; need not be consecutive."""
    name: str
    detection_yield: float
    """Electrons counted for every electron of the beam on mid-grey (128) material."""


DETECTORS = (
    Detector(number=1, name="SE", detection_yield=0.10),
    Detector(number=4, name="BSE", detection_yield=0.04),
)


@dataclass(frozen=True, slots=True)
class ColumnOptions:
    """The simulated column, and what is wrong with it.

    Raises:
        ValueError: a value with which nothing could be rendered; the message names it.
    """

    optics: Optics = "physical"
    """``physical``: blur grows smoothly from the beam's own size. ``seed``: the published reference model,
    a disk of ``round(abs(wd - best_focus) * 0.1)`` px and neither noise nor drift of brightness."""
    psf: PsfShape = "disk"
    """Shape of the defocused beam (``physical`` only); both shapes have the same second moment."""
    best_focus_mm: float = 9.0
    """Working distance that focuses on height zero with the stage at z = 0."""
    working_distance_mm: float = 9.0
    """Working distance at the start."""
    limits_mm: tuple[float, float] = (4.0, 30.0)
    """Lowest and highest working distance; the column limits silently, as real ones do."""
    half_angle_mrad: float = 5.0
    """Half angle of the beam at the specimen: the depth of field is the pixel size over this."""
    beam_radius_nm: float = 10.0
    """Radius of the focused beam (twice its standard deviation); one pixel at the default field of view."""
    astigmatism_um: float = 0.0
    """Distance along the beam between the two line foci."""
    astigmatism_angle_deg: float = 0.0
    """Direction across the specimen in which the beam focuses at the shorter working distance."""
    stigmator_um_per_percent: float = 0.5
    """Distance between line foci that one percent of stigmator adds."""
    backlash_um: float = 0.0
    """Hysteresis of the lens: the focus follows the setpoint with this much play."""
    setting_jitter_um: float = 0.0
    """Standard deviation of where the lens really goes at each setting."""
    focus_drift_um_per_hour: float = 0.0
    """Slow growth of the working distance that focuses."""
    field_of_view_mm: float = 0.01024
    """Width of the scan at the start: 10 nm pixels at 1024 columns."""
    field_change_percent_per_mm: float = 0.0
    """Growth of the field of view for each millimetre of working distance above the best focus."""
    accelerating_voltage_kv: float = 5.0
    """Accelerating voltage at the start."""
    probe_current_pa: float = 100.0
    """Beam current at the start: 624 electrons a pixel in 1 us."""
    detectors: tuple[Detector, ...] = DETECTORS
    """Detectors, the first one selected at the start."""
    shot_noise: bool = True
    """Whether electrons are counted one by one (Poisson) or seen as their mean."""
    readout_noise_grey: float = 1.0
    """Standard deviation of the amplifier's noise, in grey levels of 255."""
    brightness_drift_percent_per_hour: float = 0.0
    """Slow change of the signal, as of charging or an ageing detector."""
    gain_jitter_percent: float = 0.0
    """Standard deviation of the signal from one scan to the next."""
    position_jitter_nm: float = 0.0
    """Standard deviation of where each scan lies, along x and along y."""
    stage_limits_mm: tuple[float, float] = (-50.0, 50.0)
    """How far the stage goes along x, y and z."""
    seed: int = 1
    """Decides every random number; two columns with the same options and history give the same images."""

    def __post_init__(self) -> None:
        low, high = self.limits_mm
        _demand(low < high, f"limits_mm must be low below high, got {low:g} and {high:g}")
        _demand(self.half_angle_mrad > 0, f"half_angle_mrad must be above 0, got {self.half_angle_mrad:g}")
        _demand(self.field_of_view_mm > 0, f"field_of_view_mm must be above 0, got {self.field_of_view_mm:g}")
        _demand(len(self.detectors) > 0, "detectors must name at least one")
        _demand(self.seed >= 0, f"seed must not be negative, got {self.seed}")


@dataclass(frozen=True, slots=True)
class Plateau:
    """A rectangle of the specimen that stands higher, with sheer edges; sides may be infinite."""

    height_um: float
    left_mm: float = -inf
    top_mm: float = -inf
    right_mm: float = inf
    bottom_mm: float = inf


@dataclass(frozen=True, slots=True)
class SpecimenOptions:
    """What lies under the beam: a texture without end on a surface with relief.

    Raises:
        ValueError: a value that means nothing; the message names it.
    """

    texture: str = "neuropil"
    """Procedural texture: one of ``focusd.simulator.textures.NAMES``."""
    image: Path | None = None
    """An image file in place of the procedural texture, mirrored at its edges."""
    texture_pixel_nm: float = 10.0
    """Size of the texture's own pixels; scans with this pixel size see the texture unresampled."""
    texture_side_px: int = 2048
    """Side of the procedural texture, which repeats after that; at least 256."""
    tilt_um_per_mm: tuple[float, float] = (0.0, 0.0)
    """Rise of the surface along x and along y."""
    bumps_um: float = 0.0
    """Standard deviation of smooth bumps."""
    bump_size_mm: float = 0.05
    """Distance over which the bumps change."""
    plateaus: tuple[Plateau, ...] = field(default=())
    """Steps of the surface."""
    contrast_variation_percent: float = 0.0
    """Standard deviation of the texture's contrast from place to place."""
    blank_fraction: float = 0.0
    """Share of the area that is empty resin, from 0 to 1."""
    patch_size_mm: float = 0.03
    """Distance over which contrast and emptiness change."""
    seed: int = 1
    """Decides texture and relief."""

    def __post_init__(self) -> None:
        for name in ("texture_pixel_nm", "bump_size_mm", "patch_size_mm"):
            value = getattr(self, name)
            _demand(value > 0, f"{name} must be above 0, got {value:g}")
        _demand(0 <= self.blank_fraction <= 1, f"blank_fraction must be 0 to 1, got {self.blank_fraction:g}")
        _demand(self.seed >= 0, f"seed must not be negative, got {self.seed}")


def _demand(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
