"""How soon the microscope is found again, and at what cost; and a peer that says nothing, frozen for real."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from focusd.microscope import bridge, reconnect, sharksem_scan
from focusd.service import supervisor
from focusd.simulator.sharksem_server import SharkSEMServer
from tests.fault_proxy import Fault, fault_proxy
from tests.loopback.bench import Client, daemon, make_column
from tests.loopback.test_link_faults import is_there

LIMITS = {"working_distance_mm": [4.0, 30.0]}
BUSY_S = 1.0
"""What connecting may cost on a busy computer."""


def pauses_at(
    speed: float, taken_s: list[float], fraction: Callable[[], float] = random.random
) -> Callable[..., Iterator[float]]:
    """Give the pauses of the daemon, in so many times less time; they are noted as they would be."""

    def quick(*, cap_s: float) -> Iterator[float]:
        for pause_s in reconnect.backoff(cap_s=cap_s, fraction=fraction):
            taken_s.append(pause_s)
            yield pause_s / speed

    return quick


@pytest.mark.parametrize(("outage_s", "back_within_s", "speed"), [(1.5, 2.0, 1.0), (240.0, 35.0, 160.0)])
async def test_back_soon_after_the_microscope_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outage_s: float, back_within_s: float, speed: float
) -> None:
    """Within 2 s of a short outage and 35 s of a long one, with two lines in the log and no busy loop."""
    monkeypatch.setattr(supervisor, "backoff", pauses_at(speed, [], random.Random(7).random))
    async with (
        SharkSEMServer(make_column(), time_scale=0) as server,
        fault_proxy(server.port, ports=2) as proxy,
    ):
        microscope = {"port": proxy.listening_on[0], "limits": LIMITS}
        with capture_logs() as events:
            async with daemon(server.port, tmp_path, microscope=microscope) as client:
                await client.until(is_there)
                proxy.fault = Fault(is_refusing=True)
                proxy.reset_all()
                await client.until(lambda status: not status["link"]["connected"])
                attempts, cpu_s = proxy.connections, time.process_time()
                await asyncio.sleep(outage_s / speed)
                attempts, cpu_s = proxy.connections - attempts, time.process_time() - cpu_s
                proxy.fault = Fault()
                ended = time.monotonic()
                await client.until(is_there)
                late_s = time.monotonic() - ended

    assert late_s <= back_within_s / speed + BUSY_S
    assert attempts <= 60
    # All that the process does meanwhile: the proxy and the watch over the event loop are in it.
    assert cpu_s < 0.5 * outage_s / speed
    told = [event["event"] for event in events if event["event"].startswith("link_")]
    assert told == ["link_up", "link_down", "link_up", "link_stopped"]


async def test_a_link_that_breaks_whenever_it_is_made_is_tried_ever_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers and hangs up is an outage that goes on, not a new one each time."""
    taken_s: list[float] = []
    monkeypatch.setattr(supervisor, "backoff", pauses_at(100.0, taken_s, fraction=lambda: 1.0))
    async with (
        SharkSEMServer(make_column(), time_scale=0) as server,
        fault_proxy(server.port, ports=2) as proxy,
    ):
        microscope = {"port": proxy.listening_on[0], "limits": LIMITS}
        async with daemon(server.port, tmp_path, microscope=microscope) as client:
            for _ in range(6):
                await client.until(is_there)
                proxy.reset_all()
                await client.until(lambda status: not status["link"]["connected"])

    assert len(taken_s) >= 5
    assert all(one < other for one, other in pairwise(taken_s[:8]))


@asynccontextmanager
async def simulator(protocol: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Run ``focusd simulate`` as a process that can be frozen."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "focusd", "simulate", "--protocol", protocol, "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
    )
    try:
        assert child.stdout is not None
        async with asyncio.timeout(30):
            while line := await child.stdout.readline():
                if found := re.search(rb"127\.0\.0\.1 port (\d+)", line):
                    yield child, int(found[1])
                    break
            else:
                pytest.fail("the simulator has ended")
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGCONT)
            child.kill()
        await child.wait()
        assert child.stdout is not None
        await child.stdout.read()


PING_S, REQUEST_S = 0.2, 0.6
"""8 and 5 by default."""
MARGIN_S = 0.5
"""10 by default."""
FOUND_WITHIN_S = 15.0


@asynccontextmanager
async def at_a_process(
    protocol: str, state: Path
) -> AsyncIterator[tuple[Client, asyncio.subprocess.Process]]:
    """Run a simulator as a process and a daemon in this one, and wait until they are connected."""
    async with simulator(protocol) as (child, port):
        microscope = {
            "driver": protocol,
            "port": port,
            "limits": LIMITS,
            "timeouts": {"ping_interval_s": PING_S, "request_s": REQUEST_S, "reconnect_max_s": 0.2},
        }
        scan: dict[str, object] = {"width": 256, "height": 256, "dwell_time_us": 4.0, "trigger": "request"}
        async with daemon(port, state, microscope=microscope, scan=scan) as client:
            await client.until(is_there)
            yield client, child


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be frozen here")
@pytest.mark.parametrize("protocol", ["sharksem", "bridge"])
async def test_a_frozen_peer_is_found_out_idle_and_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """Its sockets stay open and its kernel acknowledges; the daemon finds out, and goes on when it thaws."""
    for module in (bridge, sharksem_scan):
        monkeypatch.setattr(module, "SCAN_MARGIN_S", MARGIN_S)
    async with at_a_process(protocol, tmp_path) as (client, child):
        idle_s = await frozen(client, child)
        started_mm = (await client.get("v1/status"))["column"]["working_distance_mm"]

        await client.call("POST", "v1/refocuses")
        await client.until(lambda status: len((status["current_refocus"] or {"scans": []})["scans"]) >= 2)
        busy_s = await frozen(client, child)
        status = await client.until(lambda status: status["current_refocus"] is None)

    assert idle_s < PING_S + REQUEST_S + 1.5
    # A scan and a move have their own times, in which there is no sign of life.
    assert busy_s < FOUND_WITHIN_S
    assert status["last_refocus"]["result"] == "link_lost"
    assert abs(status["column"]["working_distance_mm"] - started_mm) < 1e-6


async def frozen(client: Client, child: asyncio.subprocess.Process) -> float:
    """Freeze the simulator until the daemon has found out, and give how long that took."""
    child.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    await client.until(lambda status: not status["link"]["connected"])
    found_s = time.monotonic() - began
    assert (await client.call("GET", "v1/health/live"))[0] == 200
    child.send_signal(signal.SIGCONT)
    await client.until(is_there)
    return found_s
