"""The state of the link as a client sees it: a microscope that hangs is not one that is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from focusd.simulator.bridge_server import BridgeServer
from focusd.simulator.sharksem_server import SharkSEMServer
from tests.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.loopback.bench import Client, daemon, make_column
from tests.loopback.test_link_faults import is_there

TIMEOUTS = {"connect_s": 1.0, "request_s": 1.0, "reconnect_max_s": 0.1, "ping_interval_s": 0.1}
SOURCES: list[tuple[str, str, dict[str, dict[str, object]]]] = [
    ("sharksem", "scan", {}),
    ("sharksem", "push", {}),
    ("sharksem", "relay", {"relay": {"listen": "127.0.0.1:0"}}),
    ("sharksem", "folder", {}),
    ("bridge", "scan", {}),
    ("bridge", "push", {}),
    ("bridge", "stream", {}),
]


@asynccontextmanager
async def behind(
    driver: str,
    source: str,
    state: Path,
    sections: dict[str, dict[str, object]],
    *,
    request_s: float = TIMEOUTS["request_s"],
) -> AsyncIterator[tuple[Client, FaultProxy]]:
    """Run simulator, proxy and daemon, and wait until they are connected."""
    column = make_column()
    server = (BridgeServer if driver == "bridge" else SharkSEMServer)(column, time_scale=0)
    frames: dict[str, object] = {"source": source}
    if source == "folder":
        (state / "frames").mkdir()
        sections = {"folder": {"path": str(state / "frames")}}
    async with server, fault_proxy(server.port, ports=1 if driver == "bridge" else 2) as proxy:
        microscope = {
            "driver": driver,
            "port": proxy.listening_on[0],
            "limits": {"working_distance_mm": [4.0, 30.0]},
            "timeouts": TIMEOUTS | {"request_s": request_s},
        }
        async with daemon(server.port, state, microscope=microscope, frames=frames, **sections) as client:
            await client.until(is_there)
            yield client, proxy


def names(events: list[Any]) -> list[str]:
    """What was told of the link."""
    return [event["event"] for event in events if event["event"].startswith("link_")]


@pytest.mark.parametrize(("driver", "source", "sections"), SOURCES)
async def test_a_hanging_microscope_is_unresponsive_then_disconnected(
    tmp_path: Path, driver: str, source: str, sections: dict[str, dict[str, object]]
) -> None:
    """Wherever frames come from, an idle link is asked for a sign of life; HTTP answers all the while."""
    with capture_logs() as events:
        async with behind(driver, source, tmp_path, sections) as (client, proxy):
            proxy.fault = Fault(is_silent=True)
            began = time.monotonic()
            hangs = await client.until(lambda status: status["link"]["state"] != "connected")
            gone = await client.until(lambda status: status["link"]["state"] == "disconnected")
            found_s = time.monotonic() - began
            live, _ = await client.call("GET", "v1/health/live")
            proxy.fault = Fault()
            back = await client.until(is_there)

    assert (hangs["link"]["state"], hangs["link"]["connected"]) == ("unresponsive", True)
    assert hangs["state"] != "disconnected"
    assert gone["link"]["connected"] is False
    assert "within 1 s" in gone["link"]["error"]
    assert live == 200
    assert back["link"]["state"] == "connected"
    # An interval between signs of life, a deadline, and some time for a busy computer.
    assert found_s < TIMEOUTS["ping_interval_s"] + TIMEOUTS["request_s"] + 2.0
    told = ["link_up", "link_unresponsive", "link_down", "link_up", "link_stopped"]
    assert names(events) == told


async def test_one_that_answers_after_all_was_never_away(tmp_path: Path) -> None:
    """A pause is told of once at its begin and once at its end; nothing is connected anew."""
    with capture_logs() as events:
        async with behind("sharksem", "push", tmp_path, {}, request_s=2.0) as (client, proxy):
            # On the way there, and on the way back.
            proxy.fault = Fault(delay_s=0.6)
            await client.until(lambda status: status["link"]["state"] == "unresponsive")
            proxy.fault = Fault()
            status = await client.until(lambda status: status["link"]["state"] == "connected")

    assert status["link"]["reconnects"] == 0
    assert proxy.connections == 2
    told = [name for name in names(events) if name not in {"link_unresponsive", "link_responsive"}]
    assert told == ["link_up", "link_stopped"]
    assert names(events).count("link_unresponsive") == names(events).count("link_responsive") <= 2


async def test_refocus_on_a_hanging_microscope_is_told_of_too(tmp_path: Path) -> None:
    """In the middle of a refocus as when idle."""
    async with behind("sharksem", "push", tmp_path, {}) as (client, proxy):
        refocus = asyncio.create_task(client.call("POST", "v1/refocuses?wait=true"))
        await client.until(lambda status: status["current_refocus"] is not None)
        proxy.fault = Fault(is_silent=True)
        status = await client.until(lambda status: status["link"]["state"] != "connected")
        proxy.fault = Fault()
        await refocus

    assert status["link"]["state"] == "unresponsive"
