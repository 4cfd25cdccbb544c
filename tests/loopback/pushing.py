"""A daemon in a process of its own that is sent frames and has no microscope: a verdict needs none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.loopback.test_process import process, until_event


@dataclass(frozen=True)
class Pushing:
    """The daemon, and a session with it."""

    child: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    port: int


@asynccontextmanager
async def pushing(home: Path) -> AsyncIterator[Pushing]:
    """Run the daemon for the length of a ``with`` block; unless it was killed, it must end well."""
    config = home / "focusd.toml"
    config.write_text(
        """
        [microscope]
        port = 1
        limits.working_distance_mm = [4.0, 30.0]
        [frames]
        source = "push"
        [baseline]
        policy = "manual"
        [http]
        port = 0
        max_changes_per_s = 1000
        """,
        encoding="utf-8",
    )
    async with process(config, FOCUSD__STORE__DIRECTORY=str(home / "state")) as child:
        url = str((await until_event(child, "started"))["url"])
        assert child.stderr is not None
        drain = asyncio.create_task(child.stderr.read())
        async with aiohttp.ClientSession(url + "/") as session:
            yield Pushing(child, session, int(url.rsplit(":", 1)[1]))
        if child.returncode is None:
            child.terminate()
            assert await child.wait() == 0
        await drain
