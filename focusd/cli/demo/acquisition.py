"""The acquisition software of the demo: moves the stage, asks focusd for each tile, takes lost tiles again.

It talks to the microscope over its own SharkSEM connection and to focusd over HTTP, as a lab's script would.
Only the judge looks into the simulator, to say what was truly in focus.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from focusd.cli.demo.result import DemoResult, Rescue, Tile
from focusd.cli.demo.view import DemoView
from focusd.errors import FocusdError
from focusd.frame import ScanRequest
from focusd.microscope.link import Link, call, optional
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.presets import TileScan

TIMES_TAKEN_AT_MOST = 4
"""A tile is given up after so many takes."""
STATUS_EVERY_S = 0.1
STAGE_DEADLINE_S = 30.0


class DemoError(FocusdError):
    """The demo could not go on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which tiles there are, and how they are scanned; the last row may not be full."""

    tiles: int
    scan: TileScan
    request: ScanRequest

    def place(self, index: int) -> tuple[int, int]:
        """Row and column of a tile; the scan goes to and fro, so that neighbours in time lie side by side."""
        row, column = divmod(index, self.scan.columns)
        return row, column if row % 2 == 0 else self.scan.columns - 1 - column

    def position_mm(self, index: int) -> tuple[float, float]:
        """Stage position of a tile."""
        return self.scan.positions_mm()[index]


class Acquisition:
    """Takes all tiles of the plan and fills in the result.

    Args:
        plan: The tiles.
        column: The simulated column, for the judge only.
        stage: Connection to the microscope.
        http: Session with focusd's base address.
        view: Where progress is shown.
        result: What is filled in.
    """

    def __init__(
        self,
        plan: Plan,
        column: SimulatedColumn,
        stage: Link,
        http: aiohttp.ClientSession,
        *,
        view: DemoView,
        result: DemoResult,
    ) -> None:
        self._plan = plan
        self._column = column
        self._stage = stage
        self._http = http
        self._view = view
        self._result = result
        self._tile_of_frame: dict[int, int] = {}
        self._depth_of_field_um = column.depth_of_field_um(plan.request.width)
        self._untouched_mm = column.best_focus_mm(*plan.position_mm(0))
        result.tile_beam_time_s = plan.request.beam_time_s

    async def prepare(self) -> None:
        """Go to the first tile and wait until focusd is connected to the microscope."""
        await self._go_to(0)
        async with asyncio.timeout(STAGE_DEADLINE_S):
            while (await self._status())["state"] == "disconnected":
                await asyncio.sleep(STATUS_EVERY_S)

    async def capture_baseline(self) -> None:
        """Take one frame and make it the baseline, as an operator does who keeps the lens to himself."""
        await self._scan()
        async with self._http.post("v1/baselines/capture", json={}) as response:
            await _body(response)

    async def run(self) -> None:
        """Take every tile; take again those that focusd found blurred."""
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(self._watch_status())
            due = list(range(self._plan.tiles - 1, -1, -1))
            while due:
                again = await self._take(due.pop())
                due.extend(sorted(again, reverse=True))
            watcher.cancel()
        self._result.finished = True

    async def _take(self, index: int) -> set[int]:
        """Take one tile; give the tiles to take again."""
        await self._go_to(index)
        answer = await self._scan()
        verdict, refocus = answer["verdict"], answer["refocus"]
        self._tile_of_frame[verdict["frame_id"]] = index
        tile = self._judge(index, verdict, refocus)
        self._result.tiles[index] = tile
        self._view.tile(tile)
        if refocus is None:
            # One blurred frame is a suspicion; a second look at the same place decides.
            return self._retakable({index}) if verdict["verdict"] == "suspect" else set()
        self._result.refocuses.append(refocus)
        self._view.refocus(refocus)
        if refocus["result"] not in {"refocused", "confirmed_in_focus"}:
            return set()
        await self._keep_pictures(refocus)
        first = verdict["reacquire_from"] or verdict["frame_id"]
        lost = {tile for frame, tile in self._tile_of_frame.items() if frame >= first}
        return self._retakable(lost)

    def _retakable(self, indices: set[int]) -> set[int]:
        return {i for i in indices if self._result.tiles[i].times_taken < TIMES_TAKEN_AT_MOST}

    def _judge(self, index: int, verdict: Mapping[str, Any], refocus: Mapping[str, Any] | None) -> Tile:
        best_mm = self._column.best_focus_mm(*self._plan.position_mm(index))
        depth_mm = self._depth_of_field_um / 1000
        row, column = self._plan.place(index)
        before = self._result.tiles.get(index)
        tile = Tile(
            index=index,
            row=row,
            column=column,
            verdict=verdict["verdict"],
            ratio=verdict["ratio"],
            working_distance_mm=verdict["working_distance_mm"],
            defocus_depths=(verdict["working_distance_mm"] - best_mm) / depth_mm,
            defocus_untouched_depths=(self._untouched_mm - best_mm) / depth_mm,
            refocused=refocus is not None,
        )
        if before is None:
            return tile
        return replace(tile, refocused=tile.refocused or before.refocused, times_taken=before.times_taken + 1)

    async def _keep_pictures(self, refocus: Mapping[str, Any]) -> None:
        """Keep the pictures of the refocus that came the farthest way, for showing."""
        if refocus["result"] != "refocused":
            return
        kept = self._result.rescue
        if kept is not None and _change_mm(kept.record) >= _change_mm(refocus):
            return
        before = await self._picture(refocus["start_working_distance_mm"])
        after = await self._picture(refocus["final_working_distance_mm"])
        self._result.rescue = Rescue(refocus, before, after)

    async def _picture(self, working_distance_mm: float) -> Any:  # noqa: ANN401 - pixels of either depth
        """Look through the simulator at a working distance; the lens is back before anybody else's turn."""
        present_mm = self._column.working_distance_mm
        self._column.set_working_distance(working_distance_mm)
        exposure = self._column.expose(self._plan.request)
        self._column.set_working_distance(present_mm)
        return await asyncio.to_thread(exposure.render)

    async def _go_to(self, index: int) -> None:
        x_mm, y_mm = self._plan.position_mm(index)
        await self._stage.exchange(
            optional("StgMoveTo", x_mm, y_mm), call("StgIsBusy"), timeout_s=STAGE_DEADLINE_S
        )
        async with asyncio.timeout(STAGE_DEADLINE_S):
            while (await self._stage.exchange(call("StgIsBusy"), timeout_s=STAGE_DEADLINE_S))[
                "StgIsBusy"
            ].integer():
                await asyncio.sleep(0.01)

    async def _scan(self) -> dict[str, Any]:
        async with self._http.post("v1/scans") as response:
            return await _body(response)

    async def _status(self) -> dict[str, Any]:
        async with self._http.get("v1/status") as response:
            return await _body(response)

    async def _watch_status(self) -> None:
        while True:
            self._view.status(await self._status())
            await asyncio.sleep(STATUS_EVERY_S)


def _change_mm(refocus: Mapping[str, Any]) -> float:
    return abs(float(refocus["final_working_distance_mm"]) - float(refocus["start_working_distance_mm"]))


async def _body(response: aiohttp.ClientResponse) -> dict[str, Any]:
    body: dict[str, Any] = await response.json(content_type=None)
    if not response.ok:
        raise DemoError(f"focusd answered {response.status}: {body.get('detail') or body.get('title')}")
    return body
