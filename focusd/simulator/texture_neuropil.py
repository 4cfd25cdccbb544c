"""Stained brain tissue on a block face: the specimen of volume electron microscopy.

Cells of many sizes pressed against each other, dark membranes, mitochondria with cristae, clouds of
vesicles, synapses, a few myelinated axons. At 10 nm pixels a membrane is two or three pixels wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from focusd.simulator.fields import Image, Window, padded, scattered, smooth_field, softened

_CELLS_PER_MPX = 420
_MARGIN_PX = 96


@dataclass(frozen=True, slots=True)
class _Cells:
    """Which cell each pixel belongs to, and how far it is from that cell's membrane in pixels."""

    label: NDArray[np.int32]
    count: int
    depth: Image


def neuropil(rng: np.random.Generator, side: int) -> Image:
    """Draw the tissue from its cells outwards to their organelles."""
    cells = _cells(rng, side)
    tone = rng.normal(164, 9, cells.count).astype(np.float32)
    grey = tone[cells.label] + _cytoplasm(rng, side)
    grey -= _vesicles(rng, cells)
    grey -= _microtubules(rng, cells)
    _mitochondria(rng, cells, grey)
    grey -= 96 * np.exp(-((cells.depth / 1.7) ** 2)) * (1 + 0.15 * smooth_field(rng, side, 12))
    grey -= _synapses(rng, cells)
    grey = _with_myelin(rng, cells, grey)
    return softened(grey, 0.5) + 3 * smooth_field(rng, side, 150)


def _cells(rng: np.random.Generator, side: int) -> _Cells:
    """Divide the plane among scattered seeds, crowded in some places, with wavering borders."""
    crowd = np.exp(0.9 * smooth_field(rng, side, 55))
    places = rng.integers(0, side, (20 * int(_CELLS_PER_MPX * side * side / 2**20), 2))
    weight = crowd[places[:, 1], places[:, 0]].astype(np.float64)
    chosen = rng.choice(len(places), len(places) // 20, replace=False, p=weight / weight.sum())
    seeds = np.ones((side, side), np.uint8)
    seeds[places[chosen, 1], places[chosen, 0]] = 0
    wide = cv2.copyMakeBorder(seeds, _MARGIN_PX, _MARGIN_PX, _MARGIN_PX, _MARGIN_PX, cv2.BORDER_WRAP)
    _, nearest = cv2.distanceTransformWithLabels(wide, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    # The same seed seen again beyond an edge must keep its number, so seeds are numbered by their place.
    at = np.flatnonzero(wide.ravel() == 0)
    rows, columns = (at // wide.shape[1] - _MARGIN_PX) % side, (at % wide.shape[1] - _MARGIN_PX) % side
    number = np.zeros(nearest.max() + 1, np.int64)
    number[nearest.ravel()[at]] = rows * side + columns
    known, compact = np.unique(number, return_inverse=True)
    label = _wavered(rng, compact.astype(np.float32)[nearest], side)
    border = np.ones(label.shape, np.uint8)
    border[:, :-1][label[:, 1:] != label[:, :-1]] = 0
    border[:-1][label[1:] != label[:-1]] = 0
    depth = cv2.GaussianBlur(cv2.distanceTransform(border, cv2.DIST_L2, 5), (0, 0), 1.2)
    inner = slice(_MARGIN_PX, -_MARGIN_PX)
    return _Cells(
        label[inner, inner].astype(np.int32), len(known), depth[inner, inner].astype(np.float32, copy=False)
    )


def _wavered(rng: np.random.Generator, label: Image, side: int) -> Image:
    """Bend straight borders; the bending repeats with the image, so the labels still fit at its edges."""
    bend_x = padded(9 * smooth_field(rng, side, 22) + 3 * smooth_field(rng, side, 8), _MARGIN_PX)
    bend_y = padded(9 * smooth_field(rng, side, 22) + 3 * smooth_field(rng, side, 8), _MARGIN_PX)
    rows, columns = np.indices(label.shape, np.float32)
    return cv2.remap(
        label, columns + bend_x, rows + bend_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float32, copy=False)


def _cytoplasm(rng: np.random.Generator, side: int) -> Image:
    """The grain of stained protein, fine and coarse."""
    return (
        7 * smooth_field(rng, side, 1.1) + 5 * smooth_field(rng, side, 3.5) + 4 * smooth_field(rng, side, 14)
    )


def _places_inside(
    rng: np.random.Generator, cells: _Cells, count: int, depth_px: float, spread: Image
) -> NDArray[np.float64]:
    """Up to ``count`` places deeper than this inside their cells, crowded where ``spread`` is high."""
    side = cells.depth.shape[0]
    places = rng.uniform(0, side, (8 * count, 2))
    columns, rows = places.astype(np.intp).T
    good = (cells.depth[rows, columns] > depth_px) & (spread[rows, columns] > rng.normal(1.0, 0.5, 8 * count))
    chosen: NDArray[np.float64] = places[good][:count]
    return chosen


def _vesicles(rng: np.random.Generator, cells: _Cells) -> Image:
    """Clouds of small dark rings: the transmitter stores of synapses."""
    side = cells.depth.shape[0]
    places = _places_inside(rng, cells, 9000 * side * side // 2**22, 4.0, 1.4 * smooth_field(rng, side, 22))
    distance = np.hypot(*np.mgrid[-4:5, -4:5]).astype(np.float32)
    ring: Image = 44 * np.exp(-(((distance - 2.0) / 0.85) ** 2))
    return np.minimum(scattered(side, places, ring), 62)


def _microtubules(rng: np.random.Generator, cells: _Cells) -> Image:
    """Fine dark dots in the wide cells."""
    side = cells.depth.shape[0]
    places = _places_inside(rng, cells, 6000 * side * side // 2**22, 10.0, 1.2 * smooth_field(rng, side, 40))
    distance = np.hypot(*np.mgrid[-3:4, -3:4]).astype(np.float32)
    dot: Image = 34 * np.exp(-((distance / 1.1) ** 2))
    return scattered(side, places, dot)


def _mitochondria(rng: np.random.Generator, cells: _Cells, grey: Image) -> None:
    """Dark sausages with a membrane and stripes, where a cell is wide enough."""
    side = grey.shape[0]
    everywhere = np.full((side, side), 3.0, np.float32)
    taken = np.zeros((side, side), np.bool_)
    for x, y in _places_inside(rng, cells, 260 * side * side // 2**22, 12.0, everywhere):
        half_width = min(0.75 * float(cells.depth[int(y), int(x)]), rng.uniform(10, 19))
        half_length = half_width * rng.uniform(1.1, 2.3)
        angle = rng.uniform(0, np.pi)
        window = Window(side, x, y, half_length + 4)
        if taken[window.index].any():
            continue
        taken[window.index] = True
        along = window.dx * np.cos(angle) + window.dy * np.sin(angle)
        across = window.dy * np.cos(angle) - window.dx * np.sin(angle)
        ellipse = np.sqrt((along / half_length) ** 2 + (across / half_width) ** 2)
        inside = (1 - ellipse) * half_width
        filled = np.clip(inside + 0.5, 0, 1) * (cells.depth[window.index] > 2)
        stripes = np.sin(along * 0.95 + 0.09 * across * across / half_width + rng.uniform(0, 6.3))
        wall = np.exp(-(((inside - 1) / 1.6) ** 2))
        dark = 44 + 17 * stripes * np.clip((inside - 2) / 2, 0, 1) + 40 * wall
        grey[window.index] -= filled * dark


def _synapses(rng: np.random.Generator, cells: _Cells) -> Image:
    """Dark thickenings of the membrane."""
    side = cells.depth.shape[0]
    places = rng.uniform(0, side, (40_000 * side * side // 2**22, 2))
    columns, rows = places.astype(np.intp).T
    on_membrane = places[cells.depth[rows, columns] < 1.5][: 260 * side * side // 2**22]
    distance = np.hypot(*np.mgrid[-28:29, -28:29]).astype(np.float32)
    spots = scattered(side, on_membrane, np.exp(-((distance / 11) ** 4)))
    thick: Image = 70 * np.minimum(spots, 1) * np.exp(-((cells.depth / 4.2) ** 2))
    return thick


def _with_myelin(rng: np.random.Generator, cells: _Cells, grey: Image) -> Image:
    """Wrap a few cells in dark layers of myelin."""
    wrapped = (rng.uniform(0, 1, cells.count) < 0.012).astype(np.float32)[cells.label]
    layers = 46 + 16 * np.sin(2 * np.pi * cells.depth / 3.6)
    sheath = wrapped * np.clip(9.0 - cells.depth, 0, 1)
    wound: Image = grey * (1 - sheath) + layers * sheath
    return wound
