"""How well places of focus and depths of field explain the spectra of some scans.

Ring by ring the noise-corrected power of scan m is ``g_m S |H(f; |z_m - z0| / D)|**2``: z the working
distance, z0 the focus, D the depth of field, S the specimen's power, the same in all scans, and ``g_m`` the
scan's gain, held near one. For each z0, D and shape of the spot the S that fits best is taken in each ring,
never a negative one (profile likelihood), and what is left counts against them:

    log L = 1/2 sum over rings of max(sum_m w G y, 0)**2 / sum_m w G**2

with y the noise-corrected powers, ``G = |H|**2`` and w one over the variance of y. The radius of the beam in
focus needs no place in this: it multiplies all scans alike and so goes into S.

Colour of the noise, a share of each scan's floor that is the same in all scans of a ring, is integrated out:
with ``c`` its amount in each scan, ``k = 1 / (1 + sum_m w c**2)`` and sums over scans of one ring, the two
sums become ``sum w G y - k (sum w c G) (sum w c y)`` and ``sum w G**2 - k (sum w c G)**2``.

Where a lamp flickers, a dye bleaches or light is gathered from far out of focus, the gains are anything, and
only the shapes of the spectra tell of focus. The gains that fit best are then found for each place and depth
of field (``log_likelihood_of_shapes``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from focusd.focus.blur import Floats32, NoiseFree, SpotShape, transfer_rows
from focusd.focus.spectrum import Floats

MODEL_SLACK = 0.12
"""Relative error of a ring's power in this model: no real spot is round, nor a specimen flat or at rest."""
OBJECT_SLACK = 0.1
"""Share of a ring's own scatter from field to field that drift between scans lets in."""
GAIN_SCATTER = 0.05
"""Relative scatter of a whole scan's power: brightness, charging, contamination."""
FREE_GAIN_LOG_SD = 1.5
"""Standard deviation of the logarithm of a scan's power where its gain may be anything ..."""
_FREE_GAIN_SDS = 3.0
"""... and so many of them at most, or a spectrum blurred to nothing would pass for a sharp one, dimmed."""
_FREE_GAIN_ROUNDS = 3
"""Gains and specimen are fitted in turns; they hardly depend on each other."""
CONVERTER_POWER = 1.0 / 12.0
"""Power of rounding to whole grey levels. Where noise does not make it white, it goes with the picture."""
NOISE_COLOUR = 0.05
"""Share of the noise floor by which a ring's noise may differ from it, alike in all scans."""
_LEAST = np.float32(1e-30)


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Places, and depths of field evenly spaced in their logarithm."""

    focus_mm: Floats
    depth_mm: Floats

    def cell(self, place: int, depth: int) -> Grid:
        """Give one cell as a grid."""
        return Grid(self.focus_mm[place : place + 1], self.depth_mm[depth : depth + 1])


class Fit:
    """The scans against every cell of a grid; arrays by cell have the shape (shapes, places, depths).

    Args:
        frames: Spectra of the scans.
        frequency: Of the rings.
        places: Where the scans were taken, in millimetres.
    """

    def __init__(self, frames: NoiseFree, frequency: Floats, places: Floats) -> None:
        self._frames = frames
        self._frequency = frequency
        self._places = places
        self._gain = np.ones((len(places), 1))
        self._whiten()

    def _whiten(self) -> None:
        """Work out what does not depend on the cell: powers as they would be at equal gain, and weights."""
        frames = self._frames
        own = np.square(frames.positive) * (MODEL_SLACK**2 + OBJECT_SLACK / frames.modes) + CONVERTER_POWER**2
        powers, weights = frames.signal / self._gain, np.square(self._gain) / (frames.variance + own)
        coloured = NOISE_COLOUR * frames.floor * weights
        self._powers, self._weights = powers, weights
        self._share = 1.0 / (1.0 + NOISE_COLOUR * (frames.floor * coloured).sum(axis=0))
        self._seen = (coloured * powers).sum(axis=0)
        self._factors = np.stack([weights * powers, weights, coloured], axis=1).astype(np.float32)

    def log_likelihood(self, grid: Grid) -> Floats32:
        """Of each cell, with the gains as they are."""
        return np.array([self._explained(self._transfers(grid, shape)) for shape in SpotShape])

    def log_likelihood_of_shapes(self, grid: Grid) -> Floats32:
        """Of each cell, with the gains that fit it best, and their prior."""
        logged = []
        for shape in SpotShape:
            transfers = self._transfers(grid, shape)
            gains = self._best_gains(transfers)
            explained = self._explained(
                [g[..., np.newaxis] * t for g, t in zip(gains, transfers, strict=True)]
            )
            logged.append(explained - 0.5 * np.square(np.log(gains) / FREE_GAIN_LOG_SD).sum(axis=0))
        return np.array(logged)

    def chi_square(self, log_likelihood: float) -> float:
        """What a cell leaves unexplained, by its log likelihood, for each degree of freedom."""
        whole = (self._weights * np.square(self._powers)).sum(axis=0) - self._share * np.square(self._seen)
        freedom = len(self._frequency) * max(len(self._places) - 1, 1)
        return float(whole.sum() - 2.0 * log_likelihood) / freedom

    def _transfers(self, grid: Grid, shape: SpotShape) -> list[Floats32]:
        """``|H|**2`` of each scan, by place, depth and ring."""
        offset = np.abs(self._places[:, np.newaxis] - grid.focus_mm)[..., np.newaxis] / grid.depth_mm
        rows = transfer_rows(self._frequency, shape)
        return [rows.at(radius) for radius in offset]

    def _explained(self, transfers: Sequence[Floats32]) -> Floats32:
        """What the best specimen explains of the powers, summed over the rings."""
        along, flat, square = (np.zeros_like(transfers[0]) for _ in range(3))
        for transfer, (wy, w, wc) in zip(transfers, self._factors, strict=True):
            along += transfer * wy
            flat += transfer * wc
            square += np.square(transfer) * w
        share = self._share.astype(np.float32)
        along -= flat * (self._share * self._seen).astype(np.float32)
        square -= share * np.square(flat)
        fitted = np.square(np.maximum(along, 0.0)) / np.maximum(square, _LEAST)
        explained: Floats32 = 0.5 * fitted.sum(axis=-1)
        return explained

    def _best_gains(self, transfers: Sequence[Floats32]) -> Floats32:
        """Gains of each scan that fit each cell best, of geometric mean one."""
        gains = np.ones((len(transfers), *transfers[0].shape[:-1]), np.float32)
        most = np.float32(_FREE_GAIN_SDS * FREE_GAIN_LOG_SD)
        for _ in range(_FREE_GAIN_ROUNDS):
            along, square = (np.zeros_like(transfers[0]) for _ in range(2))
            for gain, transfer, (wy, w, _) in zip(gains, transfers, self._factors, strict=True):
                scaled = gain[..., np.newaxis] * transfer
                along += scaled * wy
                square += np.square(scaled) * w
            specimen = np.maximum(along, 0.0) / np.maximum(square, _LEAST)
            for gain, transfer, (wy, w, _) in zip(gains, transfers, self._factors, strict=True):
                expected = transfer * specimen
                told = expected @ wy / np.maximum(np.square(expected) @ w, _LEAST)
                gain[...] = np.maximum(told, np.exp(-2.0 * most))
            logged = np.log(gains)
            logged -= logged.mean(axis=0)
            gains = np.exp(np.clip(logged, -most, most))
        return gains

    def level_gains(self, grid: Grid, cell: Sequence[np.intp]) -> None:
        """Set the gain of each scan to what fits best in a cell, held to one by its prior."""
        shape, place, depth = (int(index) for index in cell)
        there = self._transfers(grid.cell(place, depth), list(SpotShape)[shape])
        transfer = np.array([each[0, 0] for each in there])
        powers, weights = self._powers, self._weights
        specimen = np.maximum((weights * transfer * powers).sum(axis=0), 0.0)
        expected = transfer * specimen / (weights * np.square(transfer)).sum(axis=0)
        stiffness = GAIN_SCATTER**-2
        told = (weights * expected * powers).sum(axis=1) + stiffness
        gain = self._gain[:, 0] * told / ((weights * np.square(expected)).sum(axis=1) + stiffness)
        self._gain = (gain / gain.mean())[:, np.newaxis]
        self._whiten()
