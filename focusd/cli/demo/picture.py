"""The demo in one picture: a tile before and after, the search, and all tiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from focusd.cli.demo.result import IN_FOCUS_DEPTHS, DemoResult
from focusd.frame import Pixels

_GOOD, _BAD, _ACCENT, _DIM = "#2a7f3f", "#c0392b", "#7d3c98", "#8a8a8a"


def write_picture(result: DemoResult, path: Path) -> None:
    """Draw the demo and write it as PNG.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(12, 8.5), layout="constrained")
    figure.suptitle(_headline(result), fontsize=15, fontweight="bold")
    axes = figure.subplot_mosaic(
        [["before", "after", "curve"], ["tiles", "tiles", "tiles"], ["defocus", "defocus", "defocus"]],
        height_ratios=[2.2, 1, 1],
    )
    if result.rescue is not None:
        record = result.rescue.record
        start, final = record["start_working_distance_mm"], record["final_working_distance_mm"]
        _draw_image(axes["before"], result.rescue.before, f"lost: WD {start:.4f} mm")
        _draw_image(axes["after"], result.rescue.after, f"found again: WD {final:.4f} mm")
        _draw_curve(axes["curve"], record)
    else:
        for name in ("before", "after", "curve"):
            axes[name].axis("off")
        axes["after"].text(0.5, 0.5, "no refocus", ha="center", color=_DIM, fontsize=14)
    _draw_ratios(axes["tiles"], result)
    _draw_defocus(axes["defocus"], result)
    figure.savefig(path, dpi=110, format="png")


def _headline(result: DemoResult) -> str:
    total = len(result.tiles)
    return (
        f"focusd: {result.in_focus} of {total} tiles in focus "
        f"({result.in_focus_untouched} of {total} had the lens stayed where it was)"
    )


def _draw_image(axes: Axes, pixels: Pixels, title: str) -> None:
    side = min(*pixels.shape, 256)
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    axes.imshow(pixels[top : top + side, left : left + side], cmap="gray", interpolation="nearest")
    axes.set_title(title, fontsize=11)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_curve(axes: Axes, record: Mapping[str, Any]) -> None:
    """Sharpness over working distance, with the number of each scan."""
    scans = [scan for scan in record["scans"] if scan["role"] != "verification"]
    verification = [scan for scan in record["scans"] if scan["role"] == "verification"]
    ordered = sorted(scans, key=lambda scan: float(scan["working_distance_mm"]))
    axes.plot(
        [scan["working_distance_mm"] for scan in ordered],
        [scan["sharpness"] for scan in ordered],
        "-o",
        color=_ACCENT,
        label="scans of the search",
    )
    axes.plot(
        [scan["working_distance_mm"] for scan in verification],
        [scan["sharpness"] for scan in verification],
        "*",
        color=_GOOD,
        markersize=16,
        label="fresh scan that proves it",
    )
    for scan in scans:
        place = (scan["working_distance_mm"], scan["sharpness"])
        # Scans near the top lie close together: their numbers go to either side.
        side = -14 if scan["index"] % 2 else 8
        axes.annotate(str(scan["index"] + 1), place, textcoords="offset points", xytext=(side, 4), fontsize=9)
    axes.margins(x=0.12, y=0.15)
    axes.set_title(f"the search: {len(record['scans'])} scans", fontsize=11)
    axes.set_xlabel("working distance (mm)")
    axes.set_ylabel(f"sharpness ({record['metric']})")
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.tick_params(axis="x", labelrotation=30)
    axes.legend(fontsize=8, loc="best")


def _draw_ratios(axes: Axes, result: DemoResult) -> None:
    tiles = [result.tiles[index] for index in sorted(result.tiles)]
    ratios = [np.nan if tile.ratio is None else tile.ratio for tile in tiles]
    numbers = [tile.index + 1 for tile in tiles]
    axes.axhline(1.0, color=_DIM, linewidth=1, label="baseline")
    axes.plot(numbers, ratios, "-o", color="#2c3e50", markersize=4, label="tile, as last taken")
    for number in (tile.index + 1 for tile in tiles if tile.refocused):
        axes.axvline(number, color=_ACCENT, alpha=0.5, linewidth=2)
    axes.plot([], [], color=_ACCENT, alpha=0.5, linewidth=2, label="refocus")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("sharpness / baseline")
    axes.legend(fontsize=8, ncols=3, loc="lower left")


def _draw_defocus(axes: Axes, result: DemoResult) -> None:
    tiles = [result.tiles[index] for index in sorted(result.tiles)]
    numbers = [tile.index + 1 for tile in tiles]
    axes.axhspan(-IN_FOCUS_DEPTHS, IN_FOCUS_DEPTHS, color=_GOOD, alpha=0.15, label="in focus")
    axes.plot(
        numbers,
        [tile.defocus_untouched_depths for tile in tiles],
        color=_BAD,
        linewidth=1,
        label="had the lens stayed",
    )
    axes.plot(
        numbers, [tile.defocus_depths for tile in tiles], "-o", color=_GOOD, markersize=4, label="focusd"
    )
    axes.set_xlabel("tile")
    axes.set_ylabel("true defocus\n(depths of field)")
    axes.legend(fontsize=8, ncols=3, loc="best")
