"""What a refocus sees: each look at the specimen is one scan, measured, and one line of the record."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from focusd.errors import FocusdError, ScanRefusedError
from focusd.focus.compare import SCALES_PX, times_longer
from focusd.focus.measure import Measurement
from focusd.focus.spectrum import RadialSpectrum, log_energy
from focusd.frame import Frame, ImagingConditions, StagePosition
from focusd.microscope.interface import Microscope
from focusd.records import RefocusScan, ScanRole
from focusd.sources.scan import ScanSource

_log = structlog.get_logger(__name__)

_SAME_DWELL = 0.02
"""Dwell times of usual scans differ by no more than this share."""
_TELLING = frozenset({ScanRole.PROBE, ScanRole.SEARCH})
"""Scans that decide where the next one is taken."""


class UnusablePictureError(FocusdError):
    """A picture in the middle of a search that tells nothing: saturated, blank, half scanned."""

    def __init__(self, working_distance_mm: float, reason: str | None) -> None:
        super().__init__(f"the picture at {working_distance_mm:.6f} mm cannot be judged: {reason}")


class Looks:
    """Takes the scans of one refocus.

    Args:
        microscope: The connected microscope.
        source: Knows how a refocus scans.
        measure: Scores an image off the event loop.
        metric: Whose score goes into the record.
        max_scans: Most scans of the run.
        on_scan: Called with each scan.
    """

    def __init__(
        self,
        microscope: Microscope,
        source: ScanSource,
        measure: Callable[[Frame], Awaitable[Measurement]],
        *,
        metric: str,
        max_scans: int,
        on_scan: Callable[[RefocusScan, ImagingConditions], None],
    ) -> None:
        self._microscope = microscope
        self._source = source
        self._measure = measure
        self._metric = metric
        self._on_scan = on_scan
        self._max_scans = max_scans
        self._may_repeat = True
        self._count = 0
        self.conditions: ImagingConditions | None = None
        """Of the usual scans, those that do not last longer."""
        self._only_usual = False
        self.spectra: list[RadialSpectrum] = []
        """Of all scans."""
        self.stage_position: StagePosition | None = None
        """Where the last one was taken, if the microscope tells."""

    async def at_start(
        self, working_distance_mm: float, at_hand: Frame | None, *, tolerance_mm: float
    ) -> Measurement:
        """Look where the lens stands; a frame at hand serves if it was taken in the same way right here."""
        frame = self._source.as_focus_frame(at_hand) if at_hand else None
        if frame is None or frame.working_distance_mm is None:
            return await self.at(working_distance_mm, ScanRole.START)
        if abs(frame.working_distance_mm - working_distance_mm) > tolerance_mm:
            return await self.at(working_distance_mm, ScanRole.START)
        return await self._note(frame, working_distance_mm, ScanRole.START, is_new=False)

    async def at(
        self, working_distance_mm: float, role: ScanRole, *, dwell_factor: float = 1.0
    ) -> Measurement:
        """Scan with the lens as it stands, at the working distance that was read back.

        Args:
            working_distance_mm: Where the lens stands.
            role: What for.
            dwell_factor: How many times as long as usual the beam should rest on a pixel; the source may
                allow less, and the microscope too.

        Raises:
            UnusablePictureError: it tells a search nothing, nor did a second one.
        """
        seen = await self._scan(working_distance_mm, role, dwell_factor)
        if role not in _TELLING or seen.quality.is_searchable:
            return seen
        if self._may_repeat and self._count < self._max_scans:
            # A flash of charging, or a scan that was disturbed: those pass.
            self._may_repeat = False
            seen = await self._scan(working_distance_mm, role, dwell_factor)
        if not seen.quality.is_searchable:
            raise UnusablePictureError(working_distance_mm, seen.quality.reason)
        return seen

    def is_usual(self, measurement: Measurement) -> bool:
        """Tell whether a scan was taken with the usual dwell time, that of the first."""
        return math.isclose(times_longer(measurement.spectrum, self.spectra[0]), 1.0, rel_tol=_SAME_DWELL)

    async def _scan(self, working_distance_mm: float, role: ScanRole, dwell_factor: float) -> Measurement:
        longer = 1.0 if self._only_usual else self._source.allowed(dwell_factor)
        frame = await self._longer(longer) if longer > 1.0 else None
        if frame is None:
            longer, frame = 1.0, await self._source.take_for_focus(self._microscope)
        return await self._note(frame, working_distance_mm, role, is_new=True, dwell_factor=longer)

    async def _longer(self, dwell_factor: float) -> Frame | None:
        """Take a scan that lasts longer; ``None`` if the microscope will not."""
        try:
            return await self._source.take_for_focus(self._microscope, dwell_factor=dwell_factor)
        except ScanRefusedError as error:
            # Perhaps it has no such dwell time. If it is for something else, the usual scan is refused too.
            self._only_usual = True
            _log.warning("longer_scan_refused", dwell_factor=dwell_factor, error=str(error))
            return None

    async def _note(
        self,
        frame: Frame,
        working_distance_mm: float,
        role: ScanRole,
        *,
        is_new: bool,
        dwell_factor: float = 1.0,
    ) -> Measurement:
        asked_us = self._source.focus_request.dwell_time_us * dwell_factor
        dwell_time_us = frame.conditions.dwell_time_us or asked_us
        measurement = await self._measure(frame)
        spectrum = replace(measurement.spectrum, dwell_time_us=dwell_time_us)
        measurement = replace(measurement, spectrum=spectrum)
        self.spectra.append(spectrum)
        self.stage_position = frame.stage_position or self.stage_position
        if self.conditions is None or self.is_usual(measurement):
            self.conditions = frame.conditions
        score = measurement.scores[self._metric]
        energies = {f"{px:g}": log_energy(measurement.spectrum, px) for px in SCALES_PX}
        scan = RefocusScan(
            index=self._count,
            role=role,
            working_distance_mm=working_distance_mm,
            sharpness=score.value,
            sharpness_standard_error=score.standard_error,
            laplacian_variance=measurement.laplacian_variance,
            signal_to_noise=measurement.quality.signal_to_noise,
            beam_time_s=frame.pixels.size * dwell_time_us * 1e-6 if is_new else 0.0,
            dwell_time_us=dwell_time_us,
            region=self._source.focus_request.region,
            energies={px: energy.value for px, energy in energies.items()},
            energy_standard_errors={px: energy.standard_error for px, energy in energies.items()},
            reason=measurement.quality.reason,
        )
        self._count += 1
        self._on_scan(scan, self.conditions)
        return measurement
