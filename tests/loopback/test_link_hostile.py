"""The daemon and a hostile microscope: every fault when idle, in a refocus, and while connecting.

Each time: the lens is commanded nothing outside its limits and stands where it did at the end, no more memory
is taken than a few images, one line names the error, and when the microscope behaves again all goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from structlog.testing import capture_logs

from tests.loopback.bench import Client, daemon
from tests.loopback.test_link_faults import is_there
from tests.unit.microscope import scripted_bridge, scripted_server
from tests.unit.microscope.hostile_answers import BRIDGE, SHARKSEM, Hostile
from tests.unit.microscope.scripted_bridge import ScriptedBridge
from tests.unit.microscope.scripted_server import ScriptedServer

Server: TypeAlias = ScriptedServer | ScriptedBridge

START_MM = 9.0
LIMITS_MM = (8.9, 9.1)
MOST_MIB = 256
ASKED = {"sharksem": "GetWD", "bridge": "get_state"}
FAULTS = {"sharksem": SHARKSEM, "bridge": BRIDGE}
TIMEOUTS = {
    "connect_s": 1.0,
    "request_s": 0.25,
    "settle_s": 0.5,
    "reconnect_max_s": 0.02,
    "ping_interval_s": 0.02,
}


@asynccontextmanager
async def serving(driver: str) -> AsyncIterator[Server]:
    """Run a scripted microscope."""
    if driver == "sharksem":
        async with scripted_server.serving(ScriptedServer(working_distance_mm=START_MM)) as server:
            yield server
    else:
        async with scripted_bridge.serving(ScriptedBridge(working_distance_mm=START_MM)) as bridge:
            yield bridge


class Trial:
    """One daemon, one microscope, and one fault after the other."""

    def __init__(self, driver: str, client: Client, server: Server) -> None:
        self.client = client
        self.server = server
        self._asked = ASKED[driver]

    async def when_idle(self, hostile: Hostile) -> None:
        """Say it to the next sign of life."""
        self._say(hostile)
        await self._until_noticed(hostile)

    async def when_connecting(self, hostile: Hostile) -> None:
        """Say it to the first questions of a new connection."""
        self._say(hostile)
        self._hang_up()
        await self._until_noticed(hostile)

    async def in_a_refocus(self, hostile: Hostile) -> None:
        """Say it when the first scan has been asked for."""
        running = await self._scanning()
        self._say(hostile)
        status, body = await asyncio.wait_for(running, 20)
        assert (status, bool(body.get("reason"))) == (200, True), (hostile.name, body)
        assert body["result"] not in {"refocused", "internal_error", None}, (hostile.name, body)

    async def _scanning(self) -> asyncio.Task[tuple[int, Any]]:
        """Start a refocus and wait for its first scan.

        What a slow fault still says on the new connection may end that once more, and the refocus with it.
        """
        scan = self.server.event("ScScanXY" if isinstance(self.server, ScriptedServer) else "scan")
        async with asyncio.timeout(20):
            while True:
                scan.clear()
                running = asyncio.create_task(self.client.call("POST", "v1/refocuses?wait=true"))
                scanning = asyncio.create_task(scan.wait())
                await asyncio.wait({running, scanning}, return_when=asyncio.FIRST_COMPLETED)
                scanning.cancel()
                if scan.is_set():
                    return running
                await self.client.until(is_there)

    async def recovered(self, hostile: Hostile) -> None:
        """Behave again; all goes on, the lens is where it was, and its commands were in order."""
        self.server.misbehave.clear()
        async with asyncio.timeout(20):
            while True:
                before = len(self.server.calls)
                status = await self.client.until(is_there)
                await self.client.until(lambda _, before=before: len(self.server.calls) > before)  # type: ignore[misc]  # bound now
                if is_there(status) and status["current_refocus"] is None:
                    status = await self.client.get("v1/status")
                    if is_there(status) and status["link"]["state"] == "connected":
                        break
        low_mm, high_mm = LIMITS_MM
        assert all(low_mm <= move_mm <= high_mm for move_mm in self.server.moves), hostile.name
        assert self.server.working_distance_mm == pytest.approx(START_MM, abs=1e-6), hostile.name
        assert (await self.client.call("GET", "v1/health/live"))[0] == 200

    def _say(self, hostile: Hostile) -> None:
        self.server.misbehave[self._asked] = hostile.fault

    def _hang_up(self) -> None:
        writer = self.server.control if isinstance(self.server, ScriptedServer) else self.server.writer
        assert writer is not None
        writer.transport.abort()

    async def _until_noticed(self, hostile: Hostile) -> None:
        if hostile.breaks:
            status = await self.client.until(lambda status: not status["link"]["connected"])
            error = status["link"]["error"]
            assert error, hostile.name
            assert error.isprintable(), (hostile.name, error)
        else:
            asked = len(self.server.calls)
            await self.client.until(lambda _: len(self.server.calls) >= asked + 3)


class PeakMemory:
    """The most memory that this process held at a time, as the kernel counts it."""

    def __enter__(self) -> PeakMemory:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._base_mib = self._peak_mib()
        return self

    def __exit__(self, *_: object) -> None:
        self.grown_mib = self._peak_mib() - self._base_mib

    @staticmethod
    def _peak_mib() -> float:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def can_measure() -> bool:
    """Whether the peak can be set back."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


@pytest.mark.skipif(not can_measure(), reason="the peak of memory cannot be measured here")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("phase", ["idle", "refocus", "connecting"])
@pytest.mark.parametrize("driver", ["sharksem", "bridge"])
async def test_no_fault_moves_the_lens_wrongly(tmp_path: Path, driver: str, phase: str) -> None:
    """At least 30 faults in each phase, one after the other, on one daemon."""
    faults = FAULTS[driver]
    assert len(faults) >= 30
    with capture_logs() as events, PeakMemory() as memory:
        async with serving(driver) as server:
            microscope = {
                "driver": driver,
                "port": server.port,
                "limits": {"working_distance_mm": list(LIMITS_MM)},
                "timeouts": TIMEOUTS,
            }
            scan: dict[str, object] = {"width": 64, "height": 64, "dwell_time_us": 1.0, "trigger": "request"}
            http: dict[str, object] = {"port": 0, "max_changes_per_s": 1000}
            async with daemon(server.port, tmp_path, microscope=microscope, scan=scan, http=http) as client:
                await client.until(is_there)
                trial = Trial(driver, client, server)
                does = {
                    "idle": trial.when_idle,
                    "refocus": trial.in_a_refocus,
                    "connecting": trial.when_connecting,
                }[phase]
                for hostile in faults:
                    await does(hostile)
                    await trial.recovered(hostile)
    changes = [event for event in events if event["event"] in {"link_up", "link_down"}]
    assert all(one["event"] != other["event"] for one, other in pairwise(changes))
    lost = [event["error"] for event in changes if event["event"] == "link_down"]
    assert len(lost) <= 3 * len(faults)
    assert all(error and error.isprintable() for error in lost), lost
    assert memory.grown_mib < MOST_MIB
