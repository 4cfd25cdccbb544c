"""One scan of the simulated column, frozen at its start: rendering it may happen later and elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from focusd.frame import Pixels
from focusd.simulator.detection import MID_GREY, Amplifier, count_electrons, quantised
from focusd.simulator.optics import Blur, Spectrum, seed_blur
from focusd.simulator.options import PsfShape
from focusd.simulator.raster import Raster
from focusd.simulator.specimen import Specimen

_MARGIN_PX = 48
_COARSE_FROM_PX = 32.0
_SLAB_D = 0.5
_SLABS_MAX = 24
_PROBES = 33


class SpectrumCache:
    """Keeps the last scene's spectrum: a search scans one field many times."""

    def __init__(self) -> None:
        # One tuple, replaced whole, so that scans rendered in several threads never see half an entry.
        self._entry: tuple[tuple[object, ...], Spectrum] | None = None

    def get(self, key: tuple[object, ...], build: Callable[[], Spectrum]) -> Spectrum:
        """Give the spectrum of this key, built when it is not the last one."""
        entry = self._entry
        if entry is None or entry[0] != key:
            entry = key, build()
            self._entry = entry
        return entry[1]


@dataclass(frozen=True, slots=True)
class Beam:
    """The beam's shape, at one setting of the column."""

    half_angle_rad: float
    radius_nm: float
    astigmatism_um: float
    astigmatism_angle_rad: float
    shape: PsfShape

    def blur(self, defocus_um: float, pixel_um: float) -> Blur:
        """The footprint so far from focus, in pixels of this size."""
        px_per_um = self.half_angle_rad / pixel_um
        return Blur(
            core_px=self.radius_nm * 1e-3 / pixel_um,
            along_px=abs(defocus_um + self.astigmatism_um / 2) * px_per_um,
            across_px=abs(defocus_um - self.astigmatism_um / 2) * px_per_um,
            angle_rad=self.astigmatism_angle_rad,
            shape=self.shape,
        )


@dataclass(frozen=True, slots=True)
class PhysicalScene:
    """What the specimen looks like through the beam, before any noise."""

    specimen: Specimen
    frame: Raster
    """The whole field of view; its ``columns`` and ``rows`` are those of the request."""
    raster: Raster
    """The part of it that is scanned."""
    beam: Beam
    defocus_at_zero_um: float
    """Defocus of height zero at the middle of the field."""
    slope: float
    """Rise of the surface down the image because the stage is tilted: tangent of the angle."""
    cache: SpectrumCache

    def grey(self) -> NDArray[np.float32]:
        """Blurred grey levels, shape of the scanned part.

        A field at several heights is cut into slabs half a depth of field thick; each is seen through its
        own beam, and neighbouring slabs are blended linearly.
        """
        probes = self._defocus_um(
            np.linspace(self.raster.x_mm[0], self.raster.x_mm[-1], _PROBES),
            np.linspace(self.raster.y_mm[0], self.raster.y_mm[-1], _PROBES),
        )
        depth_um = self.raster.pixel_mm * 1e3 / self.beam.half_angle_rad
        if np.ptp(probes) < _SLAB_D * depth_um:
            return self._through(float(probes.mean()))
        return self._in_slabs(depth_um)

    def _defocus_um(self, x_mm: NDArray[np.float64], y_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        height = self.specimen.relief.on_grid(x_mm, y_mm) + self.defocus_at_zero_um
        if self.slope:
            middle_mm = self.frame.origin_y_mm + self.frame.rows * self.frame.pixel_mm / 2
            height += (self.slope * 1e3 * (y_mm - middle_mm))[:, np.newaxis]
        return height

    def _in_slabs(self, depth_um: float) -> NDArray[np.float32]:
        defocus = self._defocus_um(self.raster.x_mm, self.raster.y_mm)
        low, high = float(defocus.min()), float(defocus.max())
        count = min(_SLABS_MAX, max(2, math.ceil((high - low) / (_SLAB_D * depth_um)) + 1))
        level = ((defocus - low) * ((count - 1) / max(high - low, 1e-12))).astype(np.float32)
        seen = np.zeros(defocus.shape, np.float32)
        for index, slab_um in enumerate(np.linspace(low, high, count)):
            weight = np.clip(1.0 - np.abs(level - np.float32(index)), 0.0, 1.0)
            if weight.any():
                seen += weight * self._through(float(slab_um))
        return seen

    def _through(self, defocus_um: float) -> NDArray[np.float32]:
        """The scanned part as if all of it were so far from focus.

        A beam of many pixels leaves nothing fine to see, so such an image is made of larger pixels and
        read smoothly: a blur of a thousand pixels costs less than one of ten.
        """
        blur = self.beam.blur(defocus_um, self.raster.pixel_mm * 1e3)
        narrow_px = math.hypot(blur.core_px, min(blur.along_px, blur.across_px))
        factor = 2 ** max(0, math.floor(math.log2(max(narrow_px, 1.0) / _COARSE_FROM_PX)) + 1)
        blur = blur.scaled(1.0 / factor)
        margin = max(_MARGIN_PX, math.ceil(blur.extent_px / 16 + 1) * 16)
        inner = self.raster if factor == 1 else self.raster.coarser(factor)
        outer = inner.part(
            inner.x - margin,
            inner.y - margin,
            fft.next_fast_len(inner.columns + 2 * margin, real=True),
            fft.next_fast_len(inner.rows + 2 * margin, real=True),
        )
        spectrum = self.cache.get((self.specimen, outer), lambda: Spectrum(self.specimen.grey(outer)))
        seen = spectrum.through(blur)
        if factor == 1:
            return seen[margin : margin + inner.rows, margin : margin + inner.columns]
        return self._enlarged(seen, outer, factor)

    def _enlarged(self, seen: NDArray[np.float32], outer: Raster, factor: int) -> NDArray[np.float32]:
        scale = 1.0 / factor
        matrix = np.array(
            [
                [scale, 0.0, (self.raster.x + 0.5) * scale - 0.5 - outer.x],
                [0.0, scale, (self.raster.y + 0.5) * scale - 0.5 - outer.y],
            ]
        )
        size = (self.raster.columns, self.raster.rows)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(seen, matrix, size, flags=flags).astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class Exposure:
    """A scan of the physical optics: scene, dose and detector as they stood when it began."""

    scene: PhysicalScene | None
    """``None`` where no beam reaches the specimen."""
    shape: tuple[int, int]
    mid_grey_electrons: float
    """Electrons counted a pixel on mid-grey material; 0 leaves shot noise out."""
    signal_gain: float
    amplifier: Amplifier
    bits_per_pixel: int
    seed: tuple[int, ...]

    def render(self) -> Pixels:
        """Make the image: uint8 or uint16, the same each time it is called."""
        rng = np.random.default_rng(self.seed)
        signal = np.zeros(self.shape, np.float32) if self.scene is None else self.scene.grey()
        if self.scene is not None:
            signal = np.maximum(signal * np.float32(self.signal_gain), 0.0)
            if self.mid_grey_electrons:
                per_grey = np.float32(self.mid_grey_electrons / MID_GREY)
                signal = count_electrons(signal * per_grey, rng) / per_grey
        return quantised(self.amplifier.amplified(signal, rng), self.bits_per_pixel)


@dataclass(frozen=True, slots=True)
class SeedExposure:
    """A scan of the published reference model."""

    specimen: Specimen
    frame: Raster
    raster: Raster
    working_distance_mm: float
    best_focus_mm: float
    bits_per_pixel: int
    beam_on: bool

    def render(self) -> Pixels:
        """Make the image; a region is cut from the whole frame, whose borders the model reflects."""
        image = quantised(self.specimen.grey(self.frame), self.bits_per_pixel)
        blurred = seed_blur(image, self.working_distance_mm, self.best_focus_mm)
        if not self.beam_on:
            blurred = np.zeros_like(blurred)
        part = self.raster
        return blurred[part.y : part.y + part.rows, part.x : part.x + part.columns].copy()
