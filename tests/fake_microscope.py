"""A microscope without a wire: a texture that blurs away from focus, and a memory of every move."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np

from focusd.errors import WorkingDistanceLimitError, WorkingDistanceNotSetError
from focusd.frame import Frame, ImagingConditions, Pixels, ScanRequest, StagePosition
from focusd.microscope.interface import MicroscopeIdentity, MicroscopeState

DEPTH_OF_FIELD_UM = 2.0
REQUEST = ScanRequest(width=192, height=192, dwell_time_us=1.0)


def texture(seed: int = 1, side: int = 192) -> np.ndarray:
    """Make bright discs of many sizes on a dark ground, like gold on carbon."""
    random = np.random.default_rng(seed)
    image = np.full((side, side), 50, np.float32)
    for _ in range(140):
        centre = tuple(int(c) for c in random.integers(0, side, 2))
        cv2.circle(
            image, centre, int(random.integers(2, 9)), float(random.integers(110, 230)), -1, cv2.LINE_AA
        )
    return image


@dataclass
class FakeMicroscope:
    """Stands in for ``focusd.microscope.interface.Microscope``.

    ``before_scan`` and ``before_move`` are called (and may raise, or wait) with the number of the call.
    """

    best_focus_mm: float = 9.0
    working_distance_mm: float = 9.0
    blanked: bool = False
    limits_mm: tuple[float, float] = (4.0, 30.0)
    electrons_per_pixel: float = 40.0
    seed: int = 1
    visited_mm: list[float] = field(default_factory=list)
    scans: int = 0
    before_scan: Callable[[int], object] = lambda _: None
    before_move: Callable[[int], object] = lambda _: None
    stuck: bool = False
    identity: MicroscopeIdentity = field(default_factory=lambda: MicroscopeIdentity("fake"))
    holds: int = 0
    stage: StagePosition | None = field(default_factory=lambda: StagePosition(0.0, 0.0))

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._texture = texture(self.seed)

    async def get_state(self) -> MicroscopeState:
        return MicroscopeState(self.working_distance_mm, stage_position=self.stage)

    async def get_working_distance(self) -> float:
        await asyncio.sleep(0)
        return self.working_distance_mm

    async def set_working_distance(self, working_distance_mm: float) -> float:
        low_mm, high_mm = self.limits_mm
        if not low_mm <= working_distance_mm <= high_mm:
            raise WorkingDistanceLimitError(working_distance_mm, low_mm, high_mm)
        self.visited_mm.append(working_distance_mm)
        await _maybe(self.before_move(len(self.visited_mm)))
        if self.stuck:
            raise WorkingDistanceNotSetError(working_distance_mm, self.working_distance_mm)
        self.working_distance_mm = working_distance_mm
        return working_distance_mm

    @asynccontextmanager
    async def acquisition(self) -> AsyncIterator[None]:
        self.holds += 1
        try:
            yield
        finally:
            self.holds -= 1

    async def scan(self, request: ScanRequest) -> Frame:
        self.scans += 1
        await _maybe(self.before_scan(self.scans))
        await asyncio.sleep(0)
        return Frame(
            pixels=self._image(),
            conditions=ImagingConditions(
                192, 192, 8, request.dwell_time_us, pixel_size_nm=10.0, detector="SE"
            ),
            working_distance_mm=self.working_distance_mm,
            acquired_at=time.time(),
            stage_position=self.stage,
        )

    async def ping(self) -> float:
        return 0.0

    def on_lost(self, callback: Callable[[], object]) -> None:
        pass

    def _image(self) -> Pixels:
        if self.blanked:
            return np.clip(self._random.normal(12, 1, self._texture.shape), 0, 255).astype(np.uint8)
        blur_px = np.hypot(0.6, abs(self.working_distance_mm - self.best_focus_mm) * 1000 / DEPTH_OF_FIELD_UM)
        blurred = cv2.GaussianBlur(
            self._texture, (0, 0), float(blur_px / 2), borderType=cv2.BORDER_REFLECT
        ).astype(np.float64)
        gain = 128 / self.electrons_per_pixel
        counted: Pixels = np.clip(self._random.poisson(blurred / gain) * gain, 0, 255).astype(np.uint8)
        return counted


async def _maybe(waiting: object) -> None:
    if asyncio.iscoroutine(waiting):
        await waiting
