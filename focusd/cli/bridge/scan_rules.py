"""Rules of images: the right shape, the right part, fresh, and with the state they were taken in."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from focusd.cli.bridge.bench import Bench, Scanned, refusal
from focusd.cli.bridge.talk import BrokenRuleError
from focusd.frame import ScanRegion
from focusd.microscope.bridge_images import StalenessCheck
from focusd.protocol.bridge_values import scan_params

_SCANS_IN_A_ROW: Final = 3


async def image(bench: Bench) -> str:
    """Scan the whole field."""
    state = await bench.state()
    scanned = await bench.scan(bench.request)
    in_state_mm = scanned.info.state.working_distance_mm
    bench.check_reached(state.working_distance_mm, in_state_mm, "the working distance of the image's state")
    rows, columns = scanned.info.shape
    return f"{rows} x {columns}, {scanned.info.dtype}{_flat(scanned)}"


async def not_square(bench: Bench) -> str:
    """Scan a field of other proportions: rows come first in shape."""
    side = bench.options.side_px
    await bench.scan(replace(bench.request, width=side, height=side * 3 // 4))
    return ""


async def region(bench: Bench) -> str:
    """Scan a part of the field."""
    side = bench.options.side_px
    part = ScanRegion(side // 4, side // 8, side // 2, side // 2 + side // 8)
    scanned = await bench.scan(replace(bench.request, region=part))
    rows, columns = scanned.info.shape
    return f"{rows} x {columns} of {side} x {side}"


async def region_outside(bench: Bench) -> str:
    """Ask for a part that lies beyond the field; it must be an error, and the next scan must be whole."""
    request = bench.request
    side = bench.options.side_px
    outside = {"x": side // 2, "y": 0, "width": side, "height": side}
    told = await bench.ask_scan(scan_params(request) | {"region": outside}, beam_time_s=request.beam_time_s)
    refusal(told, "a region beyond the field")
    await bench.scan(request)
    return ""


async def fresh(bench: Bench) -> str:
    """Scan several times: each image must be begun after it was asked for, and after the one before."""
    staleness = StalenessCheck()
    before: Scanned | None = None
    for _ in range(_SCANS_IN_A_ROW):
        scanned = await bench.scan(bench.request)
        problem = staleness.judge(scanned.info, sent_at=scanned.told.sent_at, came_at=scanned.told.came_at)
        if not problem and before is not None and scanned.info.started_at < before.info.finished_at:
            problem = "an image was begun before the one before it was finished"
        if problem:
            raise BrokenRuleError(problem)
        before = scanned
    return ""


async def averaging(bench: Bench) -> str:
    """Ask for the mean of two frames: one image comes."""
    await bench.scan(bench.request, frames=2)
    return ""


def _flat(scanned: Scanned) -> str:
    """Say so if all pixels are one grey: no fault of the bridge, but perhaps of the beam."""
    return "; all pixels are the same" if len(set(scanned.payload[:4096])) == 1 else ""
