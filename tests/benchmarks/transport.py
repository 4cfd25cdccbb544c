"""How fast frames come in: focusd's two connections, a bare blocking socket, and ``StreamReader``.

Whoever sends has a process of its own, and so has each way of receiving. Every way asks for one frame and
takes it, again and again; the ways are measured in turns.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, Final

from matplotlib.figure import Figure

from focusd.config import MicroscopeSettings
from focusd.frame import ScanRequest
from focusd.microscope.bridge import connect_bridge
from focusd.microscope.link import call, open_link
from focusd.microscope.sharksem_images import open_images
from focusd.protocol.sharksem_image import ScanAssembler
from tests.benchmarks import naive, path_goals
from tests.benchmarks.path_children import Worker, serving, working
from tests.benchmarks.path_senders import (
    COUNT,
    FRAME_ID,
    PLAIN_HEADER,
    Kind,
    send_bridge,
    send_plain,
    send_scans,
)
from tests.benchmarks.report import Report, trials_of
from tests.benchmarks.tables import Table

RAW: Final = "blocking recv_into"
SHARKSEM: Final = "focusd, SharkSEM"
BRIDGE: Final = "focusd, bridge"
NAIVE: Final = "StreamReader.readexactly"
WARM_UP: Final = 2


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """What is run."""

    rounds: int = 7
    kinds: tuple[Kind, ...] = (Kind(4096), Kind(4096, 16))
    frames: int = 16
    """Frames in a turn."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a turn took."""

    gigabytes_per_s: float
    cpu_s_per_gigabyte: float
    faults: float
    """Page faults a frame."""


class _Meter:
    """Measures this process between ``begin`` and ``reading``."""

    def begin(self) -> None:
        self._faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        self._cpu_s = time.process_time()
        self._since = time.perf_counter()

    def reading(self, kind: Kind, frames: int) -> Reading:
        seconds = time.perf_counter() - self._since
        gigabytes = frames * kind.nbytes / 1e9
        cpu_s = time.process_time() - self._cpu_s
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - self._faults
        return Reading(gigabytes / seconds, cpu_s / gigabytes, faults / frames)


def receive_raw(port: int, kind: Kind, frames: int) -> Reading:
    """Let the system fill one and the same buffer."""
    meter = _Meter()
    place = memoryview(bytearray(PLAIN_HEADER.size + kind.nbytes))
    with socket.create_connection(("127.0.0.1", port)) as sock:
        for number in range(WARM_UP + frames):
            if number == WARM_UP:
                meter.begin()
            sock.sendall(COUNT.pack(1))
            left = place
            while left:
                left = left[sock.recv_into(left) :]
        return meter.reading(kind, frames)


def receive_naive(port: int, kind: Kind, frames: int) -> Reading:
    """Read header and pixels, as streams make it easy."""

    async def receive() -> Reading:
        meter = _Meter()
        async with naive.frames(port, kind) as ask:
            for number in range(WARM_UP + frames):
                if number == WARM_UP:
                    meter.begin()
                async for _ in ask(1):
                    pass
            return meter.reading(kind, frames)

    return asyncio.run(receive())


def receive_scans(port: int, kind: Kind, frames: int) -> Reading:
    """Take scans over both connections of a SharkSEM session."""
    side = kind.side_px
    scan = call("ScScanXY", FRAME_ID, side, side, 0, 0, side - 1, side - 1, 1, 100)

    async def receive() -> Reading:
        meter = _Meter()
        async with (
            open_link("127.0.0.1", port, timeout_s=5) as link,
            open_images(link, connect_timeout_s=5, request_timeout_s=5) as images,
        ):
            for number in range(WARM_UP + frames):
                if number == WARM_UP:
                    meter.begin()
                scanned = ScanAssembler(FRAME_ID, channel=0, bits_per_pixel=kind.bits, shape=(side, side))
                ended = images.expect(scanned)
                await link.exchange(scan, timeout_s=30)
                await ended
                images.ignore()
                if scanned.take_frame() is None:
                    raise RuntimeError(f"{scanned.missing_px} pixels did not come")
            return meter.reading(kind, frames)

    return asyncio.run(receive())


def receive_bridged(port: int, kind: Kind, frames: int) -> Reading:
    """Take scans through a bridge."""
    request = ScanRequest(kind.side_px, kind.side_px, 0.1, kind.bits)
    settings = MicroscopeSettings.model_validate(
        {"driver": "bridge", "port": port, "limits": {"working_distance_mm": [4.0, 30.0]}}
    )

    async def receive() -> Reading:
        meter = _Meter()
        async with connect_bridge(settings) as microscope:
            for number in range(WARM_UP + frames):
                if number == WARM_UP:
                    meter.begin()
                await microscope.scan(request)
            return meter.reading(kind, frames)

    return asyncio.run(receive())


_Receive = Callable[[int, Kind, int], Reading]
_WAYS: Final[dict[str, tuple[_Receive, Callable[..., None]]]] = {
    RAW: (receive_raw, send_plain),
    SHARKSEM: (receive_scans, send_scans),
    BRIDGE: (receive_bridged, send_bridge),
    NAIVE: (receive_naive, send_plain),
}


def run(options: TransportOptions) -> Report:
    """Measure all ways in turns, for each kind of frame."""
    measured = {kind: _measure(kind, options) for kind in options.kinds}
    return Report(
        name="transport",
        tables=(
            *(_table(kind, readings, options) for kind, readings in measured.items()),
            _goals_table(measured),
        ),
        trials=trials_of(measured),
        draw=partial(_draw, measured),
    )


_Measured = dict[str, list[Reading]]


def _measure(kind: Kind, options: TransportOptions) -> _Measured:
    measured: _Measured = {way: [] for way in _WAYS}
    with ExitStack() as stack:
        ports: dict[Any, int] = {}
        workers: dict[str, Worker[Reading]] = {}
        for way, (receive, send) in _WAYS.items():
            if send not in ports:
                ports[send] = stack.enter_context(serving(send, kind))
            workers[way] = stack.enter_context(working(receive))
        for way in list(_WAYS) * options.rounds:
            measured[way].append(workers[way](ports[_WAYS[way][1]], kind, options.frames))
    return measured


def of_raw(measured: _Measured, way: str) -> float:
    """Median over the turns of a way's rate, of the bare socket's in the same turn."""
    pairs = zip(measured[way], measured[RAW], strict=True)
    return median(mine.gigabytes_per_s / raw.gigabytes_per_s for mine, raw in pairs)


def _table(kind: Kind, measured: _Measured, options: TransportOptions) -> Table:
    rows = tuple(
        (
            way,
            median(one.gigabytes_per_s for one in turns),
            max(one.gigabytes_per_s for one in turns),
            of_raw(measured, way),
            median(one.cpu_s_per_gigabyte for one in turns),
            median(one.faults for one in turns),
        )
        for way, turns in measured.items()
    )
    columns = ("way", "GB/s", "best GB/s", "of raw", "CPU s/GB", "page faults a frame")
    note = f"{options.rounds} turns of {options.frames} frames; medians over the turns."
    return Table(f"Frames of {kind} over loopback", columns, rows, note)


def _goals_table(measured: dict[Kind, _Measured]) -> Table:
    return path_goals.goals_table(
        path_goals.OF_RAW.ratio_line(
            f"{way}, {kind}: GB/s, of raw", _rate(readings[way]), _rate(readings[RAW]), of_raw(readings, way)
        )
        for kind, readings in measured.items()
        for way in (SHARKSEM, BRIDGE)
    )


def _rate(turns: Sequence[Reading]) -> float:
    return median(one.gigabytes_per_s for one in turns)


def _draw(measured: dict[Kind, _Measured]) -> Figure:
    figure = Figure(figsize=(11.0, 4.5), layout="constrained")
    many: Sequence[Any] = figure.subplots(1, len(measured), squeeze=False)[0]
    for axes, (kind, readings) in zip(many, measured.items(), strict=True):
        for way, turns in readings.items():
            axes.plot([one.gigabytes_per_s for one in turns], "o-", label=way)
        axes.set(title=str(kind), xlabel="turn", ylabel="GB/s", ylim=(0, None))
    many[0].legend()
    return figure
