"""The whole daemon against the simulated microscope, over real TCP and HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from focusd.config import Config
from focusd.daemon import running
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.sharksem_server import SharkSEMServer
from focusd.simulator.specimen import Specimen

SIDE_PX = 256
FIELD_MM = SIDE_PX * 1e-5
"""10 nm pixels: with the simulator's 5 mrad the depth of field is 2 um."""
DEPTH_OF_FIELD_UM = 2.0


def make_column(texture: str = "gold", **options: Any) -> SimulatedColumn:
    """Make a small column over one texture."""
    return SimulatedColumn(
        ColumnOptions(**({"field_of_view_mm": FIELD_MM} | options)),
        Specimen(SpecimenOptions(texture=texture, texture_side_px=512)),
    )


def settings(port: int, state: Path, **sections: dict[str, object]) -> dict[str, Any]:
    """Give settings for a simulated microscope; ``sections`` replace single keys."""
    base: dict[str, dict[str, object]] = {
        "microscope": {"port": port, "limits": {"working_distance_mm": [4.0, 30.0]}},
        "scan": {"width": SIDE_PX, "height": SIDE_PX, "trigger": "request"},
        "refocus": {"depth_of_field_um": DEPTH_OF_FIELD_UM},
        "http": {"port": 0},
        "store": {"directory": str(state)},
    }
    return {name: base.get(name, {}) | sections.get(name, {}) for name in dict.fromkeys([*base, *sections])}


class Client:
    """Talks to the daemon as acquisition software does."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Give status and JSON of one request."""
        async with self._session.request(method, path, json=body) as response:
            return response.status, await response.json(content_type=None)

    async def send(self, method: str, path: str, content: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        """Send bytes as they are, and give status and JSON."""
        async with self._session.request(method, path, data=content, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def get(self, path: str) -> Any:
        """Give the JSON of a GET that must succeed."""
        status, body = await self.call("GET", path)
        assert status == 200, body
        return body

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the status says so, and give it."""
        async with asyncio.timeout(30):
            while True:
                status: dict[str, Any] = await self.get("v1/status")
                if condition(status):
                    return status
                await asyncio.sleep(0.01)


@asynccontextmanager
async def daemon(port: int, state: Path, **sections: dict[str, object]) -> AsyncIterator[Client]:
    """Run the daemon in this process."""
    config = Config.model_validate(settings(port, state, **sections))
    async with running(config) as daemon, aiohttp.ClientSession(daemon.url + "/") as session:
        yield Client(session)


@asynccontextmanager
async def connected(
    column: SimulatedColumn, state: Path, **sections: dict[str, object]
) -> AsyncIterator[Client]:
    """Run simulator and daemon in this process, and wait until they are connected."""
    async with (
        SharkSEMServer(column, time_scale=0) as server,
        daemon(server.port, state, **sections) as client,
    ):
        await client.until(lambda status: status["link"]["connected"] and status["column"] is not None)
        yield client
