"""The daemon as a process: what it leaves behind when it is killed or stopped in the middle of a refocus."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from focusd.simulator.column import SimulatedColumn
from focusd.simulator.sharksem_server import SharkSEMServer
from tests.loopback.bench import make_column

START_MM = 9.012


def write_config(folder: Path, port: int) -> Path:
    """Write a configuration for a slow simulated microscope."""
    path = folder / "focusd.toml"
    path.write_text(
        f"""
        [microscope]
        port = {port}
        limits.working_distance_mm = [4.0, 30.0]
        [scan]
        width = 256
        height = 256
        dwell_time_us = 4.0
        interval_s = 0.0
        [http]
        port = 0
        """,
        encoding="utf-8",
    )
    return path


@asynccontextmanager
async def process(config: Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``focusd run`` as a process; it is killed at the end if it still runs."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "focusd",
        "run",
        "-c",
        str(config),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
        # The transport of the pipe is closed only when the pipe has been read to its end.
        assert child.stderr is not None
        await child.stderr.read()


async def until_event(child: asyncio.subprocess.Process, *names: str) -> dict[str, object]:
    """Read the log up to one of some events, and give it; every line must be JSON."""
    assert child.stderr is not None
    async with asyncio.timeout(30):
        while line := await child.stderr.readline():
            event: dict[str, object] = json.loads(line)
            if event["event"] in names:
                return event
    pytest.fail(f"the process ended before {' or '.join(names)}")


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has come true in the simulator."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def is_away(column: SimulatedColumn) -> bool:
    """Whether the lens stands where a refocus has sent it."""
    return abs(column.working_distance_mm - START_MM) > 1e-6


async def test_killed_in_the_middle_of_a_refocus_the_next_start_puts_back(tmp_path: Path) -> None:
    """After kill -9 with the lens away, a new daemon puts it back before anything else."""
    column = make_column(working_distance_mm=START_MM)
    async with SharkSEMServer(column, time_scale=1) as server:
        config = write_config(tmp_path, server.port)
        async with process(config) as child:
            await until_event(child, "refocus_started")
            await until(lambda: is_away(column))
            child.kill()
            await child.wait()
        assert is_away(column)
        moves = len(column.moves)

        async with process(config) as child:
            settled = await until_event(child, "restore_point_settled")

        assert settled["outcome"] == "put_back"
        assert column.moves[moves].set_mm == pytest.approx(START_MM, abs=1e-9)


async def test_an_operator_who_moved_meanwhile_is_not_fought(tmp_path: Path) -> None:
    """If the lens was moved by somebody while the daemon was dead, it stays there."""
    column = make_column(working_distance_mm=START_MM)
    async with SharkSEMServer(column, time_scale=1) as server:
        config = write_config(tmp_path, server.port)
        async with process(config) as child:
            await until_event(child, "refocus_started")
            await until(lambda: is_away(column))
            child.kill()
            await child.wait()
        column.set_working_distance(12.5)

        async with process(config) as child:
            settled = await until_event(child, "restore_point_settled")
            assert settled["outcome"] == "left_to_operator"
            assert column.working_distance_mm == 12.5


async def test_stopped_in_the_middle_of_a_refocus_it_puts_back_and_exits_zero(tmp_path: Path) -> None:
    """SIGTERM ends the refocus, puts the lens back, closes the link, and the exit status is 0."""
    column = make_column(working_distance_mm=START_MM)
    async with SharkSEMServer(column, time_scale=1) as server:
        config = write_config(tmp_path, server.port)
        async with process(config) as child:
            await until_event(child, "refocus_started")
            await until(lambda: is_away(column))
            child.send_signal(signal.SIGTERM)
            finished = await until_event(child, "refocus_finished")
            async with asyncio.timeout(10):
                status = await child.wait()

    assert finished["result"] == "cancelled"
    assert status == 0
    assert column.working_distance_mm == pytest.approx(START_MM, abs=1e-9)


async def test_systemd_is_told_of_ready_progress_and_stop(tmp_path: Path) -> None:
    """READY comes when HTTP listens, though no microscope answers; then state, watchdog, and STOPPING."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        loop = asyncio.get_running_loop()

        async def until_told(word: str) -> list[str]:
            told: list[str] = []
            async with asyncio.timeout(20):
                while not any(line.startswith(word) for line in told):
                    told += (await loop.sock_recv(manager, 4096)).decode().splitlines()
            return told

        config = write_config(tmp_path, port=1)
        async with process(config, NOTIFY_SOCKET=address, WATCHDOG_USEC="600000") as child:
            told = await until_told("READY=1")
            told += await until_told("WATCHDOG=1")
            told += await until_told("WATCHDOG=1")
            child.send_signal(signal.SIGTERM)
            told += await until_told("STOPPING=1")
            assert await child.wait() == 0

    assert told.index("READY=1") < told.index("WATCHDOG=1") < told.index("STOPPING=1")


async def test_a_bad_configuration_ends_with_78(tmp_path: Path) -> None:
    """A restart cannot mend it, and systemd is told so by the exit status."""
    config = write_config(tmp_path, port=1)
    config.write_text(config.read_text(encoding="utf-8").replace("256", "25"), encoding="utf-8")

    async with process(config) as child:
        assert child.stderr is not None
        said = (await child.stderr.read()).decode()
        assert await child.wait() == 78

    assert "scan.width must be greater than or equal to 64" in said
    assert "Traceback" not in said
