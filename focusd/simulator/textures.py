"""Procedural specimens that look like micrographs; every one repeats without a seam."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from focusd.simulator.fields import smooth_field


def _porous(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    field = smooth_field(rng, side, 5) + np.float32(0.5) * smooth_field(rng, side, 16)
    solid = np.clip(0.5 + (field - 0.25) * 8, 0, 1)
    edge = np.exp(-(((field - 0.25) / 0.22) ** 2))
    return 28 + 110 * solid + 80 * edge * solid + 9 * smooth_field(rng, side, 1.2) * solid


_RECIPES = {"gold": _porous, "fibres": _porous, "porous": _porous, "neuropil": _porous, "resin": _porous}
NAMES = tuple(_RECIPES)


@lru_cache(maxsize=8)
def build(name: str, side_px: int, seed: int) -> NDArray[np.float32]:
    """Make a texture: grey levels from 0 to 255, shape ``(side_px, side_px)``, read-only.

    Raises:
        ValueError: ``name`` is not in ``NAMES``, or ``side_px`` is under 256.
    """
    if name not in _RECIPES:
        raise ValueError(f"texture must be one of {', '.join(NAMES)}, got {name!r}")
    if side_px < 256:
        raise ValueError(f"texture_side_px must be at least 256, got {side_px}")
    grey = np.clip(_RECIPES[name](np.random.default_rng((seed, *name.encode())), side_px), 0, 255)
    grey = grey.astype(np.float32)
    grey.flags.writeable = False
    return grey
