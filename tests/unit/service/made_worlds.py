"""Microscopes made up at random, most of them odd, that note and check every move of the lens."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from focusd.errors import ScanRefusedError, WorkingDistanceLimitError, WorkingDistanceNotSetError
from focusd.frame import Frame, ImagingConditions, Pixels, ScanRequest, StagePosition
from tests.fake_microscope import FakeMicroscope, texture

SIDE_PX = 128
DWELL_TIME_US = 1.0
DEPTH_OF_FIELD_UM = 2.0
TEXTURES = 6
KINDS = (
    "plain",
    "flat",
    "two peaks",
    "focus beyond a limit",
    "drift",
    "backlash",
    "blank",
    "gaps",
    "specimen changes",
    "gain changes",
    "stuck",
    "scan refused",
    "operator moves",
    "astigmatic",
)
LEAST_BLUR_PX = 0.6


@dataclass
class World(FakeMicroscope):
    """One made microscope, all of it decided by ``seed``."""

    refused: int = 0
    operator_mm: float | None = None

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        draw = self.random.uniform
        self.kind = KINDS[self.seed % len(KINDS)]
        self.limits_mm = (9.0 - draw(0.02, 0.3), 9.0 + draw(0.02, 0.3))
        span_mm = min(0.09, *(abs(limit - 9.0) for limit in self.limits_mm))
        self.start_mm = self.working_distance_mm = 9.0 + draw(-span_mm, span_mm)
        if self.kind == "focus beyond a limit":
            self.best_focus_mm = self.limits_mm[1] + draw(0.005, 0.05)
        self.second_mm = 9.0 + draw(-0.06, 0.06)
        self.depth_of_field_um = DEPTH_OF_FIELD_UM * draw(0.75, 1.33)
        self.electrons_per_pixel = 10 ** draw(0.5, 2.3)
        self.drift_um = draw(-0.5, 0.5) if self.kind == "drift" else 0.0
        self.backlash_um = draw(0.2, 1.0) if self.kind == "backlash" else 0.0
        self.event_at = int(self.random.integers(1, 6))
        self._lag_mm = 0.0

    @property
    def approach_mm(self) -> float:
        """How far below the nearest place of a search the lens may go to come from one side."""
        return 3.0 * DEPTH_OF_FIELD_UM / 1000

    def blur_px(self, working_distance_mm: float) -> float:
        """Radius of the beam, noise free, at this moment."""
        if self.kind == "flat":
            return 1.5
        away_um = abs(working_distance_mm - self.best_focus_mm - self.scans * self.drift_um / 1000) * 1000
        if self.kind == "two peaks":
            away_um = min(away_um, 3.0 + abs(working_distance_mm - self.second_mm) * 1000)
        return float(np.hypot(LEAST_BLUR_PX, away_um / self.depth_of_field_um))

    async def set_working_distance(self, working_distance_mm: float) -> float:
        low_mm, high_mm = self.limits_mm
        if not low_mm <= working_distance_mm <= high_mm:
            raise WorkingDistanceLimitError(working_distance_mm, low_mm, high_mm)
        self.visited_mm.append(working_distance_mm)
        await asyncio.sleep(0)
        if self.kind == "stuck" and len(self.visited_mm) == self.event_at:
            raise WorkingDistanceNotSetError(working_distance_mm, self.working_distance_mm)
        # The reading is what was asked for; the beam stands short of it by the lens's hysteresis.
        came_from_below = working_distance_mm > self.working_distance_mm
        self._lag_mm = -self.backlash_um / 1000 if came_from_below else self.backlash_um / 1000
        self.working_distance_mm = working_distance_mm
        return working_distance_mm

    async def scan(self, request: ScanRequest) -> Frame:
        self.scans += 1
        await asyncio.sleep(0)
        if self.kind == "scan refused" and self.scans == self.event_at:
            self.refused += 1
            raise ScanRefusedError("the live window scans")
        pixels = self._picture(request)
        rows, columns = pixels.shape
        if self.kind == "operator moves" and self.scans == self.event_at:
            self.operator_mm = self.working_distance_mm = self.start_mm + 0.02 * float(
                self.random.choice([-1, 1])
            )
        return Frame(
            pixels=pixels,
            conditions=ImagingConditions(
                rows, columns, 8, request.dwell_time_us, pixel_size_nm=10.0, detector="SE"
            ),
            working_distance_mm=self.working_distance_mm,
            acquired_at=time.time(),
            stage_position=StagePosition(0.0, 0.0),
        )

    def _picture(self, request: ScanRequest) -> Pixels:
        has_changed = self.kind == "specimen changes" and self.scans >= self.event_at
        ground = _texture((self.seed + has_changed) % TEXTURES)
        if self.kind == "blank":
            ground = np.full_like(ground, 60.0)
        blur_px = self.blur_px(self.working_distance_mm + self._lag_mm) / 2
        across_px = blur_px * 1.6 if self.kind == "astigmatic" else blur_px
        image = cv2.GaussianBlur(
            ground, (0, 0), across_px, sigmaY=blur_px, borderType=cv2.BORDER_REFLECT
        ).astype(np.float64)
        level = 1.5 if self.kind == "gain changes" and self.scans >= self.event_at else 1.0
        gain = 128 / (self.electrons_per_pixel * request.dwell_time_us / DWELL_TIME_US)
        counted = self.random.poisson(np.clip(image, 0, None) / gain) * gain * level
        if self.kind == "gaps" and self.random.uniform() < 0.3:
            counted = counted * 40 + 250
        pixels: Pixels = np.clip(counted, 0, 255).astype(np.uint8)
        if request.region is not None:
            area = request.region
            pixels = pixels[area.y : area.y + area.height, area.x : area.x + area.width]
        return pixels


@cache
def _texture(number: int) -> np.ndarray:
    return texture(number + 1, SIDE_PX)
