"""Pictures of the benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.benchmarks.detect_tally import Tally
from tests.benchmarks.outcomes import Outcome, summarise
from tests.benchmarks.scan_result import IN_FOCUS_DEPTHS, ScanResult
from tests.benchmarks.specimens import BLANK_IMAGES

_OWN, _PUBLISHED, _OTHER = "#1b7f3b", "#c0392b", "#7f8c8d"


def refocus(outcomes: Sequence[Outcome]) -> Figure:
    """Share in focus over scans, a panel for each distance; names stand at the side, in the points' order."""
    seen = [one for one in outcomes if one.image not in BLANK_IMAGES]
    distances = list(dict.fromkeys(one.distance for one in seen))
    figure = Figure(figsize=(6.0 * len(distances), 5.0), layout="constrained")
    panels = figure.subplots(1, len(distances), sharey=True, squeeze=False)[0]
    for panel, distance in zip(panels, distances, strict=True):
        summaries = {
            strategy: summarise([one for one in there if one.strategy == strategy])
            for there in [[one for one in seen if one.distance == distance]]
            for strategy in dict.fromkeys(one.strategy for one in there)
        }
        _points(panel, {name: (one.scans, one.ok_percent) for name, one in summaries.items()})
        panel.set_title(f"start: {distance}")
        panel.set_xlabel("scans")
        panel.set_ylim(-4, 104)
    panels[0].set_ylabel("in focus at the end, %")
    return figure


def _points(panel: Axes, places: Mapping[str, tuple[float, float]]) -> None:
    """Draw points, and a line from each to its name beside the panel."""
    lowest, highest = -2.0, 102.0
    order = sorted(places, key=lambda name: (places[name][1], -places[name][0]))
    step = min(4.0, (highest - lowest) / max(len(order), 1))
    label_y = lowest - step
    for index, name in enumerate(order):
        x, y = places[name]
        room_above = step * (len(order) - 1 - index)
        label_y = min(max(label_y + step, y), highest - room_above)
        colour = _colour(name)
        panel.plot(x, y, "o", color=colour)
        panel.annotate(
            name,
            (x, y),
            xytext=(1.02, label_y),
            textcoords=("axes fraction", "data"),
            va="center",
            fontsize=7,
            color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "alpha": 0.6},
        )


def _colour(strategy: str) -> str:
    if strategy.startswith("focusd"):
        return _OWN
    return _PUBLISHED if strategy.startswith("published") else _OTHER


def detect(tallies: Sequence[Tally]) -> Figure:
    """False alarms against how late a loss of 2 D is noticed, one point for each detector."""
    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    panel = figure.subplots()
    for tally in tallies:
        alarms, delay = max(tally.alarms_per_10000, 0.1), tally.median_delay(2.0)
        panel.plot(alarms, delay, "o", color=_colour(tally.name), markersize=4)
        if "row" not in tally.name or tally.name.startswith("focusd"):
            panel.annotate(tally.name, (alarms, delay), xytext=(4, 3), textcoords="offset points", fontsize=8)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("false alarms per 10,000 tiles")
    panel.set_ylabel("tiles until a step of 2 D is noticed (median)")
    return figure


def scan(results: Sequence[ScanResult]) -> Figure:
    """Distance from focus of every tile, a map for each way."""
    figure = Figure(figsize=(4.0 * len(results), 4.2), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for panel, result in zip(panels, results, strict=True):
        depths = np.abs(result.defocus_depths).reshape(result.side, result.side)
        colours = colormaps["magma_r"].with_extremes(bad="0.85")
        drawn = panel.imshow(depths, vmin=0.0, vmax=4 * IN_FOCUS_DEPTHS, cmap=colours)
        figures = f"{result.in_focus_percent:.0f} % in focus, {result.extra_scans:.2f} extra scans"
        panel.set_title(f"{result.way}\n{figures}")
        panel.set_xticks([])
        panel.set_yticks([])
    figure.colorbar(drawn, ax=list(panels), label="distance from focus, D", shrink=0.8)
    return figure
