"""The specimen: a texture without end, empty patches of resin, and a height at every place."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from focusd.errors import ImageError
from focusd.simulator import textures
from focusd.simulator.options import SpecimenOptions
from focusd.simulator.raster import Raster
from focusd.simulator.relief import Relief
from focusd.simulator.waves import Waves

_RESIN_SIDE_PX = 512
_PATCH_EDGE_MM = 2e-4
_OVERSAMPLE_ABOVE = 1.1
_SMALLEST_LEVEL_PX = 4
_GREY_OF_BGR = np.array([0.114, 0.587, 0.299], np.float32)


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
        while min(self._levels[-1].shape) >= 2 * _SMALLEST_LEVEL_PX:
            rows, columns = self._levels[-1].shape
            half = cv2.resize(self._levels[-1], (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
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
        lines = self._levels[0].take(self._folded(top, raster.rows, rows), axis=0)
        return lines.take(self._folded(left, raster.columns, columns), axis=1)

    def _folded(self, start: int, count: int, side: int) -> NDArray[np.intp]:
        index = np.arange(start, start + count)
        if not self._mirrored:
            return index % side
        index %= 2 * side
        return np.minimum(index, 2 * side - 1 - index)

    def _interpolated(self, raster: Raster, level: int) -> NDArray[np.float32]:
        image = self._levels[level]
        rows, columns = image.shape
        sx = columns / self._levels[0].shape[1] / self._pixel_mm
        sy = rows / self._levels[0].shape[0] / self._pixel_mm
        left = (raster.origin_x_mm + (raster.x + 0.5) * raster.pixel_mm) * sx + columns / 2 - 0.5
        top = (raster.origin_y_mm + (raster.y + 0.5) * raster.pixel_mm) * sy + rows / 2 - 0.5
        period = 2 if self._mirrored else 1
        matrix = np.array(
            [
                [sx * raster.pixel_mm, 0.0, left % (period * columns)],
                [0.0, sy * raster.pixel_mm, top % (period * rows)],
            ]
        )
        read: NDArray[np.float32] = cv2.warpAffine(
            image,
            matrix,
            (raster.columns, raster.rows),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT if self._mirrored else cv2.BORDER_WRAP,
        ).astype(np.float32, copy=False)
        return read


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
            self._surface = Surface(read_grey(self.options.image), pixel_mm, mirrored=True)
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


def read_grey(path: Path) -> NDArray[np.float32]:
    """Read an image file (PNG, TIFF, JPEG, ...; grey or colour) as grey from 0 to 255.

    8 and 16 bits keep their scale; other depths are stretched from their least to their largest value.

    Raises:
        ImageError: the file is missing, is no image, or holds values that are no numbers.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except cv2.error as error:
        raise ImageError(f"{path}: cannot be decoded as an image: {error.err}") from error
    if image is None:
        raise ImageError(f"{path}: is no image that can be decoded")
    grey = image.astype(np.float32)
    if grey.ndim == 3:
        grey = grey[..., 0] if grey.shape[2] < 3 else grey[..., :3] @ _GREY_OF_BGR
    if not np.isfinite(grey).all():
        raise ImageError(f"{path}: holds values that are no numbers")
    if image.dtype == np.uint8:
        return grey
    if image.dtype == np.uint16:
        return grey / np.float32(257.0)
    low, high = float(grey.min()), float(grey.max())
    return (grey - np.float32(low)) * np.float32(255.0 / max(high - low, 1e-12))
