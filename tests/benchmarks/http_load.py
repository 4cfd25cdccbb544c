"""Frames by ``POST /v1/frames``, and how long the status takes meanwhile, against a naive aiohttp server.

The servers, who sends frames, and fifty who poll the status are processes of their own. Sender and pollers
keep their connections and speak HTTP over plain sockets: they take little of what is to be measured.
"""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from tests.benchmarks import naive, path_goals
from tests.benchmarks.http_servers import serve_daemon, serve_score
from tests.benchmarks.path_children import Server, Worker, server, working
from tests.benchmarks.path_senders import Kind, picture
from tests.benchmarks.report import Report
from tests.benchmarks.tables import Table

VERDICT: Final = "focusd, full verdict"
SCORE: Final = "focusd, score only"
NAIVE: Final = "naive server"
FRAME: Final = Kind(4096)
POLL_S: Final = 0.1
"""Pause of a poller between two questions."""


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """What is run."""

    rounds: int = 5
    kind: Kind = FRAME
    post_s: float = 2.0
    """How long frames are sent in a turn, ..."""
    poll_s: float = 4.0
    """... and how long they are while the status is asked for."""
    clients: int = 50


@dataclass(frozen=True, slots=True)
class Reading:
    """What a turn gave."""

    posts_per_s: float
    cpu_ms: float
    """Processor time of the server, a frame."""
    status_p50_ms: float
    status_p99_ms: float
    answers: int
    """Of the status."""


def post(port: int, kind: Kind, seconds: float) -> tuple[int, float]:
    """Send frames one after the other; give how many were judged, and in how many seconds."""
    side, body = kind.side_px, picture(kind).tobytes()
    head = (
        f"POST /v1/frames?shape={side},{side}&dtype=uint{kind.bits} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    judged = 0
    with socket.create_connection(("127.0.0.1", port)) as sock, sock.makefile("rb") as answers:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        since = time.perf_counter()
        while judged == 0 or time.perf_counter() - since < seconds:
            sock.sendall(head)
            sock.sendall(body)
            status = answers.readline()
            if b" 200 " not in status:
                raise RuntimeError(f"a frame was answered {status!r}")
            length = 0
            while (line := answers.readline()) not in {b"\r\n", b""}:
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answers.read(length)
            judged += 1
        return judged, time.perf_counter() - since


def poll(port: int, clients: int, seconds: float) -> list[float]:
    """Ask for the status from many connections; give how long each answer took, in milliseconds."""

    async def ask(number: int, times_ms: list[float]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(POLL_S * number / clients)
        until = time.perf_counter() + seconds
        while (since := time.perf_counter()) < until:
            writer.write(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            times_ms.append((time.perf_counter() - since) * 1000)
            await asyncio.sleep(POLL_S)
        writer.close()
        await writer.wait_closed()

    async def ask_all() -> list[float]:
        times_ms: list[float] = []
        await asyncio.gather(*(ask(number, times_ms) for number in range(clients)))
        return times_ms

    return asyncio.run(ask_all())


def run(options: HttpOptions) -> Report:
    """Measure all servers in turns."""
    measured: _Measured = {VERDICT: [], SCORE: [], NAIVE: []}
    with ExitStack() as stack:
        servers = {
            VERDICT: stack.enter_context(server(serve_daemon)),
            SCORE: stack.enter_context(server(serve_score)),
            NAIVE: stack.enter_context(server(naive.serve_http, options.kind)),
        }
        poster = stack.enter_context(working(post))
        poller = stack.enter_context(working(poll))
        for way in list(measured) * options.rounds:
            measured[way].append(_turn(servers[way], poster, poller, options))
    return Report(
        name="http",
        tables=(_table(measured, options), _goals_table(measured, options.kind)),
        trials=[{"way": way, **asdict(one)} for way, turns in measured.items() for one in turns],
        draw=partial(_draw, measured),
    )


_Measured = dict[str, list[Reading]]


def _turn(
    one: Server,
    poster: Worker[tuple[int, float]],
    poller: Worker[list[float]],
    options: HttpOptions,
) -> Reading:
    cpu_s = one.cpu_s
    judged, seconds = poster(one.port, options.kind, options.post_s)
    cpu_ms = 1000 * (one.cpu_s - cpu_s) / judged
    flow = threading.Thread(target=poster, args=(one.port, options.kind, options.poll_s + 2 * POLL_S))
    flow.start()
    times_ms = poller(one.port, options.clients, options.poll_s)
    flow.join()
    return Reading(
        posts_per_s=judged / seconds,
        cpu_ms=cpu_ms,
        status_p50_ms=float(np.percentile(times_ms, 50)),
        status_p99_ms=float(np.percentile(times_ms, 99)),
        answers=len(times_ms),
    )


def of_naive(measured: _Measured, way: str) -> float:
    """Median over the turns of a way's rate of frames, of the naive server's in the same turn."""
    pairs = zip(measured[way], measured[NAIVE], strict=True)
    return median(mine.posts_per_s / other.posts_per_s for mine, other in pairs)


def _middle(turns: Sequence[Reading], figure: Callable[[Reading], float]) -> float:
    return median(figure(one) for one in turns)


def _table(measured: _Measured, options: HttpOptions) -> Table:
    rows = tuple(
        (
            way,
            _middle(turns, lambda one: one.posts_per_s),
            max(one.posts_per_s for one in turns),
            of_naive(measured, way),
            _middle(turns, lambda one: one.cpu_ms),
            _cpu_of(measured, NAIVE) / _cpu_of(measured, way),
            _middle(turns, lambda one: one.status_p50_ms),
            _middle(turns, lambda one: one.status_p99_ms),
        )
        for way, turns in measured.items()
    )
    columns = (
        *("server", "frames/s", "best", "of naive", "CPU ms", "naive CPU"),
        *("status p50, ms", "status p99, ms"),
    )
    note = (
        f"{options.rounds} turns; medians over the turns. CPU: of the server, a frame; naive CPU: how "
        f"many times as much the naive server takes. The status is asked "
        f"for by {options.clients} clients, each {1 / POLL_S:.0f} times a second, while frames flow."
    )
    return Table(f"Frames of {options.kind} over HTTP", columns, rows, note)


def _cpu_of(measured: _Measured, way: str) -> float:
    """The least of the turns: work does not vary, what disturbs it does."""
    return min(one.cpu_ms for one in measured[way]) or math.nan


def _goals_table(measured: _Measured, kind: Kind) -> Table:
    rates = {way: _middle(turns, lambda one: one.posts_per_s) for way, turns in measured.items()}
    waits = {way: _middle(turns, lambda one: one.status_p99_ms) for way, turns in measured.items()}
    return path_goals.goals_table(
        [
            *(
                path_goals.POSTS_OF_NAIVE.ratio_line(
                    f"{way}, POST of {kind}: frames/s", rates[way], rates[NAIVE], of_naive(measured, way)
                )
                for way in (SCORE, VERDICT)
            ),
            path_goals.STATUS_P99_MS.line(f"{VERDICT}: status p99, ms", waits[VERDICT], waits[NAIVE]),
        ]
    )


def _draw(measured: _Measured) -> Figure:
    figure = Figure(figsize=(11.0, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for way, turns in measured.items():
        left.plot([one.posts_per_s for one in turns], "o-", label=way)
        right.plot([one.status_p99_ms for one in turns], "o-", label=way)
    left.set(xlabel="turn", ylabel="frames/s", ylim=(0, None))
    right.set(xlabel="turn", ylabel="status p99, ms", ylim=(0, None))
    left.legend()
    return figure
