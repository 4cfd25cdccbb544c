"""Rules of frames that a bridge tells of by itself: whole, once each, and none that a client asked for."""

from __future__ import annotations

import asyncio
from typing import Final

from focusd.cli.bridge.bench import Bench, SkippedRuleError, read, success
from focusd.cli.bridge.talk import BrokenRuleError
from focusd.errors import RemoteProtocolError
from focusd.microscope.bridge_images import CLOCK_GRAIN_S
from focusd.protocol.bridge_rpc import Failure
from focusd.protocol.bridge_values import ImageInfo, parse_image, scan_params

_LOOK_S: Final = 0.05
"""Between two looks for frames."""


async def subscription(bench: Bench) -> str:
    """Subscribe, twice: none may come before, and what a client scans is no frame of the owner's."""
    bench.demand_capability("subscribe")
    await bench.state()
    if await _told(bench):
        raise BrokenRuleError("a frame came before subscribe was asked for")
    for _ in range(2):
        success(await bench.ask("subscribe"), "subscribe")
    scanned = await _scan(bench)
    # What it was told as has come before the next answer.
    await bench.state()
    if scanned is None:
        return "no scan was to be had"
    times = scanned.started_at, scanned.finished_at
    if any(
        (params.get("started_at"), params.get("finished_at")) == times for params, _ in await _told(bench)
    ):
        raise BrokenRuleError("a scan that was asked for came as a frame of the owner's too")
    return ""


async def frames(bench: Bench) -> str:
    """Wait for the owner's images: whole, with an id each, dated by the clock of scans."""
    bench.demand_capability("subscribe")
    infos = await _frames(bench)
    if not infos:
        waited = f"in {bench.options.frames_s:g} s" if bench.options.frames_s else "meanwhile"
        raise SkippedRuleError(f"none came {waited}: have the owner acquire some, and wait (--frames)")
    names = [info.frame_id for info in infos]
    if "" in names or len(set(names)) < len(names):
        raise BrokenRuleError(f"each frame needs a frame_id of its own, got {names}")
    scanned = await _scan(bench)
    ahead_s = 0.0 if scanned is None else max(info.finished_at for info in infos) - scanned.finished_at
    if ahead_s > CLOCK_GRAIN_S:
        raise BrokenRuleError(
            f"a frame was finished {ahead_s:.3f} s after a scan that was asked for when it had come: "
            "frames and scans must go by one clock"
        )
    return f"{len(infos)} came"


async def _frames(bench: Bench) -> list[ImageInfo]:
    """Give what has come, after having waited for some."""
    loop = asyncio.get_running_loop()
    until = loop.time() + bench.options.frames_s
    await bench.state()
    while not (told := await _told(bench)) and loop.time() < until:
        await asyncio.sleep(_LOOK_S)
        # They are read with the next answer.
        await bench.state()
    try:
        return [parse_image(params, size, "frame") for params, size in told]
    except RemoteProtocolError as error:
        raise BrokenRuleError(str(error)) from error


async def _told(bench: Bench) -> list[tuple[dict[str, object], int]]:
    """Give parameters and payload size of the frames that have come on the connection."""
    talk = await bench.talk()
    return [(each.params, size) for each, size in talk.notifications if each.method == "frame"]


async def _scan(bench: Bench) -> ImageInfo | None:
    """Scan; ``None`` if that is refused, as while the owner does."""
    request = bench.request
    told = await bench.ask_scan(scan_params(request), beam_time_s=request.beam_time_s)
    if isinstance(told.answer, Failure):
        return None
    size = len(told.payload or b"")
    return read(lambda value: parse_image(value, size), told.answer.value)
