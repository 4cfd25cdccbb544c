"""A smooth random landscape without end: the same everywhere from its seed, needing no memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_COUNT = 40


class Waves:
    """Sum of plane cosine waves in random directions; mean 0, standard deviation 1, nearly Gaussian.

    Neighbouring values resemble each other within about ``size`` (the correlation is a Gaussian of that
    standard deviation).

    Args:
        size: Distance over which the landscape changes, in the unit its places are given in.
        seed: Any non-negative integers.
    """

    def __init__(self, size: float, *seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._kx, self._ky = rng.normal(0.0, 1.0 / size, (2, _COUNT))
        self._phase = rng.uniform(0.0, 2.0 * np.pi, _COUNT)

    def on_grid(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float32]:
        """Give the values at every (x, y) of a grid, shape ``(len(y), len(x))``.

        A cosine of a sum is two products of cosines and sines, so the grid is one matrix product.
        """
        along = np.outer(x, self._kx) + self._phase
        down = np.outer(y, self._ky)
        rows = np.hstack([np.cos(down), -np.sin(down)]).astype(np.float32)
        columns = np.hstack([np.cos(along), np.sin(along)]).astype(np.float32)
        grid: NDArray[np.float32] = rows @ columns.T
        return grid * np.float32(np.sqrt(2.0 / _COUNT))
