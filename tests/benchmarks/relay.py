"""What the relay costs: time added to every control message, and the rate of images, against none.

Microscope, relay and client are three processes on this machine, so that nothing but the relay stands
between; a forwarder that only copies, from threads, shows what any program in between would cost. The ways
are measured in turns, and a rate is compared with the direct one of the same turn: other load comes and
goes. A frame counts when all its bytes have arrived at the client; the relay folds it meanwhile. The
processor time of who stands between is the steadier figure on a busy machine.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from tests.benchmarks import goals
from tests.benchmarks.relay_peer import FRAME_ID, HEADER, Peer, forwarder, microscope, relay, wire_frame
from tests.benchmarks.report import Report
from tests.benchmarks.tables import Table

DIRECT: Final = "direct"
RELAYED: Final = "through the relay"
FORWARDED: Final = "plain forwarder"


@dataclass(frozen=True, slots=True)
class RelayBenchmarkOptions:
    """What is run."""

    rounds: int = 12
    """Turns of all ways."""
    messages: int = 1000
    """Control messages in a turn."""
    side_px: int = 4096
    """Side of a frame."""
    frames: int = 8
    """Frames in a turn."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """Round trips in milliseconds, rates in gigabytes a second and processor seconds, of each turn."""

    round_trips_ms: list[list[float]]
    rates: list[float]
    cpu_s_per_gb: list[float]

    def percentile_ms(self, percent: float) -> float:
        """Median over the turns of a percentile of the round trip."""
        return median(float(np.percentile(turn, percent)) for turn in self.round_trips_ms)

    def figures(self) -> tuple[float, float, float, float, float]:
        """Give a line of the table."""
        usual, best = median(self.rates), max(self.rates)
        return self.percentile_ms(50), self.percentile_ms(99), usual, best, median(self.cpu_s_per_gb)

    def share_of(self, other: _Measured) -> float:
        """Median over the turns of the rate by that of another way."""
        return median(own / theirs for own, theirs in zip(self.rates, other.rates, strict=True))


class _Client:
    """A client as fast as a blocking one gets."""

    def __init__(self, port: int) -> None:
        self._control = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = socket.socket()
        self._data.bind(("127.0.0.1", 0))
        self._ask("TcpRegDataPort", struct.pack("<I", self._data.getsockname()[1]))
        self._data.connect(("127.0.0.1", port + 1))
        self._place = bytearray(1 << 20)

    def round_trips_ms(self, count: int) -> list[float]:
        """Ask for the working distance again and again."""
        times = []
        for _ in range(count):
            since = time.perf_counter()
            self._ask("GetWD")
            times.append((time.perf_counter() - since) * 1000)
        return times

    def rate(self, side_px: int, frames: int) -> float:
        """Take frames as fast as they come; give gigabytes a second."""
        left = frames * len(wire_frame(side_px))
        total = left
        region = (side_px, side_px, 0, 0, side_px - 1, side_px - 1)
        since = time.perf_counter()
        self._ask("ScScanXY", struct.pack("<9I", FRAME_ID, *region, frames, 100))
        while left:
            left -= self._data.recv_into(self._place, min(left, len(self._place)))
        return total / (time.perf_counter() - since) / 1e9

    def close(self) -> None:
        """Close both connections."""
        self._data.close()
        self._control.close()

    def _ask(self, name: str, body: bytes = b"") -> None:
        self._control.sendall(HEADER.pack(name.encode(), len(body), 0, 0, 0, 0) + body)
        _, size, *_ = HEADER.unpack(self._control.recv(HEADER.size, socket.MSG_WAITALL))
        self._control.recv(size, socket.MSG_WAITALL)


def run(options: RelayBenchmarkOptions) -> Report:
    """Measure all ways in turns."""
    measured = {way: _Measured([], [], []) for way in (DIRECT, RELAYED, FORWARDED)}
    with (
        microscope(options.side_px) as direct,
        relay(direct.port) as relayed,
        forwarder(direct.port) as forwarded,
    ):
        for way, peer in ((DIRECT, direct), (RELAYED, relayed), (FORWARDED, forwarded)) * options.rounds:
            with closing(_Client(peer.port)) as client:
                _measure(client, peer, options, measured[way])
    return Report(
        name="relay",
        tables=(_table(measured, options), _goals_table(measured)),
        trials=[{"way": way, **asdict(one)} for way, one in measured.items()],
        draw=partial(_draw, measured),
    )


def _measure(client: _Client, peer: Peer, options: RelayBenchmarkOptions, into: _Measured) -> None:
    """Take one turn; images first, so that no thousand round trips decide on which cores they are met."""
    since_s = peer.cpu_s()
    into.rates.append(client.rate(options.side_px, options.frames))
    gigabytes = options.frames * len(wire_frame(options.side_px)) / 1e9
    into.cpu_s_per_gb.append((peer.cpu_s() - since_s) / gigabytes)
    client.round_trips_ms(options.messages // 10)
    into.round_trips_ms.append(client.round_trips_ms(options.messages))


def _table(measured: dict[str, _Measured], options: RelayBenchmarkOptions) -> Table:
    rows = tuple((way, *one.figures()) for way, one in measured.items())
    columns = ("way", "p50, ms", "p99, ms", "GB/s", "best GB/s", "CPU s/GB")
    note = (
        f"{options.rounds} turns of {options.messages} round trips and {options.frames} frames of "
        f"{options.side_px} x {options.side_px} px; medians over the turns. "
        "Processor time is that of the microscope, the relay and the forwarder."
    )
    return Table("Control messages and images", columns, rows, note)


def _goals_table(measured: dict[str, _Measured]) -> Table:
    direct, *others = (measured[way] for way in (DIRECT, RELAYED, FORWARDED))
    lines = [goals.RELAY_RATE.line(*(one.share_of(direct) for one in others))]
    for goal, percent in ((goals.RELAY_ADDED_P50, 50), (goals.RELAY_ADDED_P99, 99)):
        added = [one.percentile_ms(percent) - direct.percentile_ms(percent) for one in others]
        lines.append(goal.line(*added))
    return Table("Goals", ("quantity", "focusd", FORWARDED, "goal", "verdict"), tuple(lines))


def _draw(measured: dict[str, _Measured]) -> Figure:
    figure = Figure(figsize=(11.0, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for way, one in measured.items():
        times: Sequence[float] = np.sort(np.concatenate(one.round_trips_ms)).tolist()
        left.plot(times, np.linspace(0, 100, len(times)), label=way)
        right.plot(one.rates, "o-", label=way)
    left.set(xscale="log", xlabel="round trip of a control message, ms", ylabel="messages, %")
    right.set(xlabel="turn", ylabel="images, GB/s", ylim=(0, None))
    left.legend()
    return figure
