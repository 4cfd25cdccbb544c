"""The demo as people see it: live on a terminal, one line a tile otherwise."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from focusd.cli.demo.result import DemoResult, Tile

_BARS = " ▁▂▃▄▅▆▇█"
_MARKS = {True: ("■", "green"), False: ("■", "red")}


class DemoView:
    """Shows the demo's progress.

    Args:
        console: Where to.
        result: What is filled in as the demo goes.
        title: One line above it all.
    """

    def __init__(self, console: Console, result: DemoResult, title: str) -> None:
        self._console = console
        self._result = result
        self._title = title
        self._events: deque[Text] = deque(maxlen=9)
        self._status: Mapping[str, Any] = {}
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the view on the screen for the length of a ``with`` block."""
        if not self._console.is_terminal:
            self._console.print(self._title)
            yield
            return
        with Live(self._render(), console=self._console, refresh_per_second=8) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def status(self, status: Mapping[str, Any]) -> None:
        """Show a new snapshot of the daemon."""
        self._status = status
        self._refresh()

    def tile(self, tile: Tile) -> None:
        """Tell of a tile that was taken."""
        colour = {"in_focus": "green", "suspect": "yellow", "out_of_focus": "red"}.get(tile.verdict, "cyan")
        ratio = "" if tile.ratio is None else f"{tile.ratio:6.2f} of the baseline"
        line = (
            f"tile {tile.index + 1:3d}  {tile.verdict:12s} {ratio:24s} WD {tile.working_distance_mm:.4f} mm"
        )
        self._tell(Text(line, style=colour))

    def refocus(self, record: Mapping[str, Any]) -> None:
        """Tell of a refocus that has ended."""
        start, final = record["start_working_distance_mm"], record["final_working_distance_mm"]
        moved = "" if start is None or final is None else f"{start:.4f} -> {final:.4f} mm"
        line = f"refocus   {record['result']:20s} {moved}  {len(record['scans'])} scans"
        self._tell(Text(line, style="bold magenta"))

    def note(self, text: str) -> None:
        """Tell something else."""
        self._tell(Text(text, style="dim"))

    def _tell(self, line: Text) -> None:
        if self._live is None:
            self._console.print(line)
        else:
            self._events.append(line)
            self._refresh()

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._render())

    def _render(self) -> RenderableType:
        top = Table.grid(padding=(0, 3))
        top.add_row(Panel(self._map(), title="tiles", border_style="dim"), self._state())
        events = Group(*self._events)
        return Group(Text(self._title, style="bold"), top, Panel(events, title="events", border_style="dim"))

    def _map(self) -> Text:
        """Draw every tile: green in focus, red blurred, as the simulator knows."""
        text = Text()
        by_place = {(tile.row, tile.column): tile for tile in self._result.tiles.values()}
        for row in range(self._result.rows):
            for column in range(self._result.columns):
                tile = by_place.get((row, column))
                mark, colour = _MARKS[tile.in_focus] if tile else ("·", "dim")
                text.append(f"{mark} ", style=colour)
            text.append("\n")
        return text

    def _state(self) -> RenderableType:
        status = self._status
        state = str(status.get("state", "starting"))
        colour = {"monitoring": "green", "suspect": "yellow", "refocusing": "magenta"}.get(state, "cyan")
        column = status.get("column") or {}
        working_distance_mm = column.get("working_distance_mm")
        lines: list[RenderableType] = [Text(state.upper(), style=f"bold {colour}")]
        if working_distance_mm is not None:
            lines.append(Text(f"working distance {working_distance_mm:.4f} mm"))
        lines.append(Text(f"in focus {self._result.in_focus} of {len(self._result.tiles)} tiles so far"))
        refocus = status.get("current_refocus") or status.get("last_refocus")
        if refocus and refocus["scans"]:
            running = status.get("current_refocus") is not None
            word = "running" if running else str(refocus["result"])
            lines.append(Text(f"refocus {word}: {len(refocus['scans'])} scans", style="magenta"))
            lines.append(Text(_curve(refocus["scans"]), style="magenta"))
        return Group(*lines)


def _curve(scans: list[Mapping[str, Any]]) -> str:
    """Draw sharpness over working distance with one bar a scan, in order of working distance."""
    ordered = sorted(scans, key=lambda scan: float(scan["working_distance_mm"]))
    top = max(float(scan["sharpness"]) for scan in ordered)
    if top <= 0:
        return ""
    levels = (max(0.0, float(scan["sharpness"]) / top) ** 0.5 for scan in ordered)
    bars = "".join(_BARS[round(level * (len(_BARS) - 1))] for level in levels)
    low, high = ordered[0]["working_distance_mm"], ordered[-1]["working_distance_mm"]
    return f"{low:.4f} {bars} {high:.4f} mm"
