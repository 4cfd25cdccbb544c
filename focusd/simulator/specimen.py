"""The specimen: a texture without end, empty patches of resin, and a height at every place."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from focusd.imagefile import read_image
from focusd.simulator import textures
from focusd.simulator.options import SpecimenOptions
from focusd.simulator.raster import Raster
from focusd.simulator.relief import Relief
from focusd.simulator.waves import Waves

_RESIN_SIDE_PX = 512
_PATCH_EDGE_MM = 2e-4
_OVERSAMPLE_ABOVE = 1.1
_CUBIC_REACH = 2


class Surface:
    """A grey image that goes on for ever, readable at any pixel size.

    Each level of a pyramid halves the one before, so a coarse scan reads averages and does not alias.

    Args:
        grey: Grey levels from 0 to 255, shape ``(rows, columns)``; its middle lies at (0, 0).
        pixel_mm: Side of one pixel on the specimen.
        mirrored: Whether the image is mirrored at its edges, or repeats because its edges fit.
    """

    def __init__(self, grey: NDArray[np.float32], pixel_mm: float, *, mirrored: bool) -> None:
        self._levels = [grey]
        while max(self._levels[-1].shape) > 1:
            rows, columns = self._levels[-1].shape
            size = (max(1, columns // 2), max(1, rows // 2))
            half = cv2.resize(self._levels[-1], size, interpolation=cv2.INTER_AREA)
            self._levels.append(half.astype(np.float32, copy=False))
        self._pixel_mm = pixel_mm
        self._mirrored = mirrored
        self.mean = float(grey.mean())

    def sample(self, raster: Raster) -> NDArray[np.float32]:
        """Read the grey levels under a raster.

        Where the pixels have the size of the image's own they are taken as they are, from the nearest
        place (as if the stage moved in steps of one pixel): interpolation would soften some scans and not
        others, and pass for a change of focus.
        """
        ratio = raster.pixel_mm / self._pixel_mm
        if math.isclose(ratio, 1.0, rel_tol=1e-6):
            return self._taken(raster)
        level = max(0, min(math.floor(math.log2(ratio)), len(self._levels) - 1))
        if ratio / 2**level <= _OVERSAMPLE_ABOVE:
            return self._interpolated(raster, level)
        twice = self._interpolated(raster.finer(2), level)
        mean: NDArray[np.float32] = cv2.resize(
            twice, (raster.columns, raster.rows), interpolation=cv2.INTER_AREA
        ).astype(np.float32, copy=False)
        return mean

    def _taken(self, raster: Raster) -> NDArray[np.float32]:
        rows, columns = self._levels[0].shape
        left = round(raster.origin_x_mm / self._pixel_mm + columns / 2) + raster.x
        top = round(raster.origin_y_mm / self._pixel_mm + rows / 2) + raster.y
        return self._cut(0, left, top, raster.columns, raster.rows)

    def _cut(self, level: int, left: int, top: int, columns: int, rows: int) -> NDArray[np.float32]:
        """A rectangle of a level's own pixels, which may lie anywhere."""
        image = self._levels[level]
        lines = image.take(self._folded(top, rows, image.shape[0]), axis=0)
        return lines.take(self._folded(left, columns, image.shape[1]), axis=1)

    def _folded(self, start: int, count: int, side: int) -> NDArray[np.intp]:
        index = np.arange(start, start + count)
        if not self._mirrored:
            return index % side
        index %= 2 * side
        return np.minimum(index, 2 * side - 1 - index)

    def _interpolated(self, raster: Raster, level: int) -> NDArray[np.float32]:
        """Read between a level's pixels.

        The pixels in question are cut out first: bicubic ``cv2.warpAffine`` reads wrong ones where it has
        to wrap round more than once (OpenCV 5.0.0).
        """
        rows, columns = self._levels[level].shape
        if rows == columns == 1:
            return np.full((raster.rows, raster.columns), self.mean, np.float32)
        sx = columns / self._levels[0].shape[1] / self._pixel_mm
        sy = rows / self._levels[0].shape[0] / self._pixel_mm
        step_x, step_y = sx * raster.pixel_mm, sy * raster.pixel_mm
        left = (raster.origin_x_mm + (raster.x + 0.5) * raster.pixel_mm) * sx + columns / 2 - 0.5
        top = (raster.origin_y_mm + (raster.y + 0.5) * raster.pixel_mm) * sy + rows / 2 - 0.5
        first_x, first_y = math.floor(left) - _CUBIC_REACH, math.floor(top) - _CUBIC_REACH
        needed = self._cut(
            level,
            first_x,
            first_y,
            math.ceil(raster.columns * step_x) + 2 * _CUBIC_REACH + 1,
            math.ceil(raster.rows * step_y) + 2 * _CUBIC_REACH + 1,
        )
        matrix = np.array([[step_x, 0.0, left - first_x], [0.0, step_y, top - first_y]])
        size = (raster.columns, raster.rows)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        read = cv2.warpAffine(needed, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return read.astype(np.float32, copy=False)


class Specimen:
    """What lies under the beam.

    Args:
        options: The specimen's description.

    Raises:
        ImageError: ``options.image`` cannot be read as an image.
        ValueError: ``options.texture`` is unknown.
    """

    def __init__(self, options: SpecimenOptions | None = None) -> None:
        self.options = options or SpecimenOptions()
        pixel_mm = self.options.texture_pixel_nm * 1e-6
        if self.options.image is None:
            grey = textures.build(self.options.texture, self.options.texture_side_px, self.options.seed)
            self._surface = Surface(grey, pixel_mm, mirrored=False)
        else:
            self._surface = Surface(grey_of(self.options.image), pixel_mm, mirrored=True)
        self._contrast = Waves(self.options.patch_size_mm, self.options.seed, 2)
        self._emptiness = Waves(self.options.patch_size_mm, self.options.seed, 3)
        self._empty_below = float(ndtri(self.options.blank_fraction))
        self._resin = (
            Surface(textures.build("resin", _RESIN_SIDE_PX, self.options.seed), pixel_mm, mirrored=False)
            if self.options.blank_fraction
            else None
        )
        self.relief = Relief(self.options)

    def grey(self, raster: Raster) -> NDArray[np.float32]:
        """Grey levels from 0 to 255 under a raster, as a beam without any width would see them."""
        seen = self._surface.sample(raster)
        if self.options.contrast_variation_percent:
            mean = np.float32(self._surface.mean)
            variation = np.float32(self.options.contrast_variation_percent / 100.0)
            factor = np.exp(variation * self._contrast.on_grid(raster.x_mm, raster.y_mm))
            seen = np.clip(mean + (seen - mean) * factor, 0.0, 255.0)
        if self._resin is not None:
            seen = self._with_resin(seen, self._resin, raster)
        return seen

    def _with_resin(self, seen: NDArray[np.float32], resin: Surface, raster: Raster) -> NDArray[np.float32]:
        """Lay resin over the places where the emptiness lies in its lowest part."""
        edge = _PATCH_EDGE_MM / self.options.patch_size_mm
        field = self._emptiness.on_grid(raster.x_mm, raster.y_mm)
        share = np.clip((self._empty_below - field) / np.float32(edge) + 0.5, 0.0, 1.0)
        if not share.any():
            return seen
        mixed: NDArray[np.float32] = seen + share * (resin.sample(raster) - seen)
        return mixed


def grey_of(path: Path) -> NDArray[np.float32]:
    """Read an image file as grey from 0 to 255, whichever depth it has.

    Raises:
        ImageError: the file is no image that focusd reads; the message begins with its path.
    """
    pixels = read_image(path)
    return pixels.astype(np.float32) * np.float32(255.0 / np.iinfo(pixels.dtype).max)
