"""Textures of surfaces seen by secondary electrons: gold on carbon, fibres, a porous solid.

A surface is bright where it is steep, because more secondary electrons escape there (the yield grows as
one over the cosine of the slope), bright at its edges, brighter on the side that faces the detector, and
dark in its depths. Source: Goldstein et al., Scanning Electron Microscopy and X-Ray Microanalysis, chapter
on image contrast.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from focusd.simulator.fields import Image, Window, slopes, smooth_field, softened

_PARTICLES_PER_MPX = 2600
_PX_PER_FIBRE = 15


def gold(rng: np.random.Generator, side: int) -> Image:
    """Gold islands of all sizes on a carbon film: the usual specimen for testing resolution."""
    height = np.zeros((side, side), np.float32)
    metal = np.zeros((side, side), np.float32)
    count = int(_PARTICLES_PER_MPX * side * side / 2**20)
    radii = np.clip(rng.lognormal(1.35, 0.62, count), 1.3, 24.0)
    crowd = smooth_field(rng, side, 60)
    placed = 0
    while placed < count:
        x, y = rng.uniform(0, side, 2)
        if crowd[int(y), int(x)] > rng.normal(-0.2, 0.8):
            _island(rng, height, metal, x, y, float(radii[placed]))
            placed += 1
    grain = smooth_field(rng, side, 1.3)
    carbon = 42 + 4.5 * smooth_field(rng, side, 2.2) + 5 * smooth_field(rng, side, 90)
    lit = 138 + _relief_shade(height, gain=46, side_light=14) + 5 * grain
    return carbon * (1 - metal) + lit * metal


def _island(rng: np.random.Generator, height: Image, metal: Image, x: float, y: float, radius: float) -> None:
    """Raise one rounded, slightly angular dome."""
    window = Window(height.shape[0], x, y, 1.5 * radius + 2)
    angle = np.arctan2(window.dy, window.dx)
    corners = rng.integers(4, 8)
    outline = 1 + 0.13 * np.cos(2 * angle + rng.uniform(0, 6.3))
    outline += 0.3 / corners * np.cos(corners * angle + rng.uniform(0, 6.3))
    distance = np.hypot(window.dx, window.dy) / outline
    dome = 0.75 * np.sqrt(np.maximum(radius * radius - distance * distance, 0.0))
    height[window.index] = np.maximum(height[window.index], dome)
    metal[window.index] = np.maximum(metal[window.index], np.clip(radius - distance + 0.5, 0.0, 1.0))


def _relief_shade(height: Image, *, gain: float, side_light: float) -> Image:
    """Brightness of slopes: one over the cosine, and a little more towards the upper left."""
    right, down = slopes(softened(height, 0.7))
    steep = np.sqrt(1 + right * right + down * down)
    shade: Image = gain * np.minimum(steep - 1, 1.8) + side_light * (right + down) / steep
    return shade


def fibres(rng: np.random.Generator, side: int) -> Image:
    """A mat of smooth fibres that cross over one another and sink into the dark."""
    canvas = np.full((side, side), 16, np.uint8)
    # Longer fibres cover more, so their number grows with the side and not with the area.
    for depth in np.linspace(0.0, 1.0, side // _PX_PER_FIBRE):
        width = float(np.clip(rng.lognormal(2.35, 0.45), 4.0, 34.0))
        _fibre(canvas, _wavy_line(rng, side), width, 0.22 + 0.78 * depth)
    grey = softened(canvas.astype(np.float32), 0.6)
    rough = 1 + 0.035 * smooth_field(rng, side, 1.2) + 0.03 * smooth_field(rng, side, 7)
    return grey * rough + 2 * smooth_field(rng, side, 30)


def _wavy_line(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    """A gently bent line longer than the image is wide."""
    along = np.linspace(-0.9 * side, 0.9 * side, 160)
    bend = sum(
        rng.normal(0, 0.05)
        * side
        / wave
        * np.sin(2 * np.pi * wave * along / (1.8 * side) + rng.uniform(0, 6.3))
        for wave in (1, 2, 3, 5)
    )
    angle = rng.normal(0.5, 0.75)
    x = along * np.cos(angle) - bend * np.sin(angle) + rng.uniform(0, side)
    y = along * np.sin(angle) + bend * np.cos(angle) + rng.uniform(0, side)
    return np.column_stack([x, y])


def _fibre(canvas: NDArray[np.uint8], line: NDArray[np.float64], width: float, light: float) -> None:
    """Draw a cylinder from its shadow inwards: bright edges, darker middle."""
    side = canvas.shape[0]
    steps = np.linspace(1.0, 0.0, 8)[:-1]
    strokes = [(width + 5, 9.0 * light)]
    strokes += [(width * s, light * (96 + 120 * s**4)) for s in steps]
    low, high = line.min(axis=0) - width, line.max(axis=0) + width
    for shift_x in range(int(np.floor(-high[0] / side)) + 1, int(np.ceil(1 - low[0] / side))):
        for shift_y in range(int(np.floor(-high[1] / side)) + 1, int(np.ceil(1 - low[1] / side))):
            points = np.rint((line + np.array([shift_x, shift_y]) * side) * 16).astype(np.int32)
            for thickness, grey in strokes:
                cv2.polylines(canvas, [points], False, grey, max(1, round(thickness)), cv2.LINE_AA, 4)


def porous(rng: np.random.Generator, side: int) -> Image:
    """An open sponge: rounded struts with bright rims, more struts below, and the dark behind them.

    Struts run where either of two random fields passes through zero, so they join into one network.
    """
    grey: Image = np.full((side, side), 12.0, np.float32)
    rough = smooth_field(rng, side, 5)
    grain = 5 * smooth_field(rng, side, 1.1) + 4 * smooth_field(rng, side, 3)
    for light, size_px, thickness in ((0.42, 26, 0.40), (1.0, 32, 0.36)):
        first, second = (np.abs(smooth_field(rng, side, size_px)) for _ in range(2))
        above = np.float32(thickness) - np.minimum(first, second) + np.float32(0.035) * rough
        solid: Image = np.clip(0.5 + above * size_px * 0.8, 0.0, 1.0)
        shadow: Image = np.clip(1 + above * 1.5, 0.3, 1.0)
        lit = np.float32(light) * (_strut(above, 1.5 * size_px) + grain)
        grey = (grey * shadow * (1 - solid) + lit * solid).astype(np.float32, copy=False)
    return grey + 3 * smooth_field(rng, side, 120)


def _strut(above: Image, height_px: float) -> Image:
    """The lit surface of a rounded solid whose edge lies where ``above`` is zero."""
    height = np.float32(height_px) * np.sqrt(np.maximum(above, 0.0))
    rim = np.exp(-((np.maximum(above, 0.0) / 0.05) ** 2))
    lit: Image = 104 + _relief_shade(height, gain=38, side_light=30) + 40 * rim
    return lit
