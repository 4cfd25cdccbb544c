"""Where the pixels of a scan lie on the specimen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Raster:
    """A rectangle of a square pixel grid laid over the specimen.

    The grid has its corner at the origin; the rectangle starts ``x`` pixels to the right of it and ``y``
    pixels below. Two rectangles of one grid agree on every pixel that they share.
    """

    origin_x_mm: float
    origin_y_mm: float
    pixel_mm: float
    x: int
    y: int
    columns: int
    rows: int

    @property
    def x_mm(self) -> NDArray[np.float64]:
        """Centres of the columns."""
        centres: NDArray[np.float64] = (
            self.origin_x_mm + (self.x + 0.5 + np.arange(self.columns, dtype=np.float64)) * self.pixel_mm
        )
        return centres

    @property
    def y_mm(self) -> NDArray[np.float64]:
        """Centres of the rows."""
        centres: NDArray[np.float64] = (
            self.origin_y_mm + (self.y + 0.5 + np.arange(self.rows, dtype=np.float64)) * self.pixel_mm
        )
        return centres

    def part(self, x: int, y: int, columns: int, rows: int) -> Raster:
        """Another rectangle of the same grid."""
        return replace(self, x=x, y=y, columns=columns, rows=rows)

    def coarser(self, factor: int) -> Raster:
        """The rectangle of ``factor`` times larger pixels that covers this one."""
        x, y = self.x // factor, self.y // factor
        return Raster(
            self.origin_x_mm,
            self.origin_y_mm,
            self.pixel_mm * factor,
            x,
            y,
            -(-(self.x + self.columns) // factor) - x,
            -(-(self.y + self.rows) // factor) - y,
        )

    def finer(self, factor: int) -> Raster:
        """The same rectangle in pixels ``1 / factor`` as large."""
        return Raster(
            self.origin_x_mm,
            self.origin_y_mm,
            self.pixel_mm / factor,
            self.x * factor,
            self.y * factor,
            self.columns * factor,
            self.rows * factor,
        )
