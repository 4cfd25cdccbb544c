"""Procedural specimens that look like micrographs; every one repeats without a seam."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from focusd.simulator.fields import Image, smooth_field
from focusd.simulator.texture_neuropil import neuropil
from focusd.simulator.texture_surfaces import fibres, gold, porous

SMALLEST_SIDE_PX = 256


def resin(rng: np.random.Generator, side: int) -> Image:
    """Embedding resin without specimen: next to nothing to see."""
    return 176 + 1.1 * smooth_field(rng, side, 1.5) + 1.2 * smooth_field(rng, side, 25)


_RECIPES: dict[str, Callable[[np.random.Generator, int], Image]] = {
    "gold": gold,
    "fibres": fibres,
    "porous": porous,
    "neuropil": neuropil,
    "resin": resin,
}
NAMES = tuple(_RECIPES)


@lru_cache(maxsize=8)
def build(name: str, side_px: int, seed: int) -> Image:
    """Make a texture: grey levels from 0 to 255, shape ``(side_px, side_px)``, read-only.

    Raises:
        ValueError: ``name`` is not in ``NAMES``, or ``side_px`` is under 256.
    """
    if name not in _RECIPES:
        raise ValueError(f"texture must be one of {', '.join(NAMES)}, got {name!r}")
    if side_px < SMALLEST_SIDE_PX:
        raise ValueError(f"texture_side_px must be at least {SMALLEST_SIDE_PX}, got {side_px}")
    drawn = _RECIPES[name](np.random.default_rng((seed, *name.encode())), side_px)
    grey = np.clip(drawn, 0, 255).astype(np.float32)
    grey.flags.writeable = False
    return grey
