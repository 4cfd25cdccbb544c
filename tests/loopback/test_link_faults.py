"""The daemon behind a network that fails in every way there is, for both protocols.

Whatever happens to the bytes: the daemon goes on, says so once, comes back by itself, and the lens ends in
focus or where it stood.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from focusd.simulator.bridge_server import BridgeServer
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.sharksem_server import SharkSEMServer
from tests.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.loopback.bench import DEPTH_OF_FIELD_UM, Client, daemon, make_column

START_MM = 9.012
TIMEOUTS = {
    "connect_s": 1.0,
    "request_s": 0.3,
    "settle_s": 1.0,
    "reconnect_max_s": 0.1,
    "ping_interval_s": 0.2,
}
LIMITS_MM = (8.9, 9.1)
BENDS = {
    "late": Fault(delay_s=0.02),
    "in small pieces": Fault(piece_bytes=97),
    "slow": Fault(bytes_per_s=4e6),
}
"""What slows a connection down but loses nothing."""
BREAKS = {
    "silent": Fault(is_silent=True),
    "reset at once": Fault(reset_at=0),
    "reset in an answer": Fault(reset_at=50),
    "reset in a picture": Fault(reset_at=40_000),
    "closed at once": Fault(close_at=0),
    "closed in an answer": Fault(close_at=37),
    "closed in a picture": Fault(close_at=60_000),
    "a header is another": Fault(corrupt_at=2),
    "a length is another": Fault(corrupt_at=17),
    "a piece comes twice": Fault(doubled_at=0),
    "crawling": Fault(bytes_per_s=200.0),
}
DRIVERS = ("sharksem", "bridge")


@asynccontextmanager
async def behind(
    driver: str, column: SimulatedColumn, state: Path, **sections: dict[str, object]
) -> AsyncIterator[tuple[Client, FaultProxy]]:
    """Run simulator, proxy and daemon, and wait until they are connected."""
    server = (BridgeServer if driver == "bridge" else SharkSEMServer)(column, time_scale=0)
    async with server, fault_proxy(server.port, ports=1 if driver == "bridge" else 2) as proxy:
        microscope = {
            "driver": driver,
            "port": proxy.listening_on[0],
            "limits": {"working_distance_mm": list(LIMITS_MM)},
            "timeouts": TIMEOUTS,
        }
        async with daemon(server.port, state, microscope=microscope, **sections) as client:
            await client.until(is_there)
            yield client, proxy


def is_there(status: dict[str, Any]) -> bool:
    """Whether the link is up and the column has been read."""
    return bool(status["link"]["connected"]) and status["column"] is not None


async def until_over(client: Client) -> dict[str, Any]:
    """Wait until no refocus runs any more, and give the last."""
    status = await client.until(lambda status: status["current_refocus"] is None and status["last_refocus"])
    last: dict[str, Any] = status["last_refocus"]
    return last


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("bend", BENDS)
async def test_a_bad_connection_changes_nothing(tmp_path: Path, driver: str, bend: str) -> None:
    """Late, cut up, slow: the same events, the same result."""
    column = make_column(working_distance_mm=START_MM)
    async with behind(driver, column, tmp_path) as (client, proxy):
        proxy.fault = BENDS[bend]
        _, answer = await client.call("POST", "v1/scans")
        status = await client.get("v1/status")

    assert answer["refocus"]["result"] == "refocused"
    assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM
    assert status["link"]["reconnects"] == 0


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("fault", BREAKS)
async def test_a_link_that_breaks_in_a_refocus_leaves_the_lens_as_it_was(
    tmp_path: Path, driver: str, fault: str
) -> None:
    """The refocus ends, the outage is told of once, and when the network is well again all goes on."""
    column = make_column(working_distance_mm=START_MM)
    with capture_logs() as events:
        async with behind(driver, column, tmp_path, scan={"trigger": "request"}) as (client, proxy):
            refocus = asyncio.create_task(client.call("POST", "v1/refocuses?wait=true"))
            await client.until(
                lambda status: status["current_refocus"] and len(status["current_refocus"]["scans"]) >= 2
            )
            proxy.fault = BREAKS[fault]
            await asyncio.wait_for(refocus, 20)
            proxy.fault = Fault()
            last = await until_over(client)
            await client.until(is_there)
            column_mm = column.working_distance_mm
            code, again = await client.call("POST", "v1/refocuses?wait=true")

    outages = [event["event"] for event in events if event["event"] in {"link_up", "link_down"}]
    assert len(outages) <= 5, outages
    assert all(one != other for one, other in itertools.pairwise(outages))
    if last["result"] == "refocused":
        assert abs(column_mm - 9.0) * 1000 < DEPTH_OF_FIELD_UM
    else:
        assert column_mm == pytest.approx(START_MM, abs=1e-6), last
    assert code == 200
    assert again["result"] in {"refocused", "confirmed_in_focus"}, again["reason"]
    assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_peer_that_lost_its_power_is_found_out(tmp_path: Path, driver: str) -> None:
    """Nothing is closed and nothing answers: a ping notices, and new connections are tried."""
    async with behind(driver, make_column(), tmp_path) as (client, proxy):
        before = proxy.connections
        proxy.fault = Fault(is_silent=True)
        status = await client.until(lambda status: not status["link"]["connected"])
        assert "within" in status["link"]["error"]
        proxy.fault = replace(proxy.fault, is_silent=False)
        await client.until(is_there)
        assert proxy.connections > before


@pytest.mark.parametrize("driver", DRIVERS)
async def test_an_outage_costs_two_lines_and_no_busy_loop(tmp_path: Path, driver: str) -> None:
    """Many attempts in vain are not told one by one, and come at intervals."""
    with capture_logs() as events:
        async with behind(driver, make_column(), tmp_path) as (client, proxy):
            proxy.fault = Fault(is_refusing=True)
            proxy.reset_all()
            before = proxy.connections
            await client.until(lambda status: not status["link"]["connected"])
            async with asyncio.timeout(10):
                while proxy.connections < before + 12:
                    await asyncio.sleep(0.01)
            proxy.fault = Fault()
            await client.until(is_there)

    told = [event["event"] for event in events if event["event"].startswith("link_")]
    assert told == ["link_up", "link_down", "link_up", "link_stopped"]
