"""Ways to score a frame, and how they are timed: frames from memory, in turns, by processor time."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from focusd.focus.laplacian import laplacian_variance
from focusd.focus.measure import measure
from focusd.frame import Pixels

OWN: Final = "focusd"
VERDICT: Final = "focusd, all of a verdict"
READ: Final = "memory read"
FORMULA: Final = "published formula"
SCIPY: Final = "scipy.ndimage"
SKIMAGE: Final = "scikit-image"
MONITORED: Final = ("band_ratio", "log_energy")
"""What the monitor asks for by default, beside the published score."""
KINDS: Final = {"uint8": (np.uint8, 255), "uint16": (np.uint16, 65_535), "12 bits": (np.uint16, 4095)}
"""Type and highest grey level of frames."""

Way = Callable[[Pixels], object]


def _formula(pixels: Pixels) -> object:
    return cv2.Laplacian(pixels, cv2.CV_64F).var()


def _scipy(pixels: Pixels) -> object:
    return ndimage.laplace(pixels.astype(np.float64), mode="mirror").var()


def _read(pixels: Pixels) -> object:
    """As fast as numpy reads memory: its sum over whole words."""
    return pixels.reshape(-1).view(np.uint64).sum()


def _verdict(pixels: Pixels) -> object:
    return measure(pixels, MONITORED)


def own_ways() -> dict[str, Way]:
    """Give focusd's own, and the limit that no program beats."""
    return {OWN: laplacian_variance, VERDICT: _verdict, READ: _read}


def peers() -> dict[str, Way]:
    """Give what others use; scikit-image is no dependency of the tests and may be missing."""
    ways: dict[str, Way] = {FORMULA: _formula, SCIPY: _scipy}
    if importlib.util.find_spec("skimage"):
        laplace = importlib.import_module("skimage.filters").laplace
        ways[SKIMAGE] = lambda pixels: laplace(pixels).var()
    return ways


def frames(side_px: int, kind: str, ring_mib: float) -> list[Pixels]:
    """Make frames that differ, of so many MiB together that none is in a cache when its turn comes.

    Noise through a beam of a pixel, with some pixels clipped at either end, as in a micrograph.
    """
    dtype, highest = KINDS[kind]
    count = max(1, round(ring_mib * 2**20 / (side_px**2 * np.dtype(dtype).itemsize)))
    tile: NDArray[Any] = np.random.default_rng(side_px).standard_normal((min(side_px, 2048),) * 2, np.float32)
    tile = cv2.GaussianBlur(tile, (0, 0), 1.0, borderType=cv2.BORDER_REFLECT)
    grey = np.clip(np.rint(highest * (0.5 + 0.16 * tile / tile.std())), 0, highest).astype(dtype)
    repeats = side_px // grey.shape[0]
    whole = np.tile(grey, (repeats, repeats)) if repeats > 1 else grey
    return [np.roll(whole, 5 * index, axis=1) for index in range(count)]


@dataclass(frozen=True, slots=True)
class Timing:
    """Processor time of one way on frames of one kind."""

    way: str
    kind: str
    side_px: int
    times_ms: Sequence[float]

    @property
    def best_ms(self) -> float:
        """Least of all turns: what the work itself takes."""
        return min(self.times_ms)

    @property
    def median_ms(self) -> float:
        """What it took mostly, beside the machine's other work."""
        return median(self.times_ms)

    @property
    def best_ns_per_px(self) -> float:
        """The least by the pixel."""
        return self.best_ms * 1e6 / self.side_px**2


def timed(
    ways: Mapping[str, tuple[Way, int]], side_px: int, kind: str, *, ring_mib: float
) -> Iterator[Timing]:
    """Time ways in turns, each on the next frame of a ring.

    Processor time of this thread is taken, so time in which others had the core does not count; their use of
    caches and memory does, which is why the least of several turns is what to compare.

    Args:
        ways: By name; with the number of turns that each takes part in.
        side_px: Of the frames.
        kind: Of ``KINDS``.
        ring_mib: Size of the ring.
    """
    ring = cycle(frames(side_px, kind, ring_mib))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(max(turns for _, turns in ways.values())):
        for name, (way, turns) in ways.items():
            if turn < turns:
                frame = next(ring)
                since = time.thread_time_ns()
                way(frame)
                times[name].append((time.thread_time_ns() - since) / 1e6)
    for name, spent in times.items():
        yield Timing(name, kind, side_px, spent)
