"""Two clients of a daemon's relay, one of which dies in the middle of a frame: the other notices nothing."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from focusd.simulator.options import ColumnOptions
from focusd.simulator.sharksem_server import SharkSEMServer
from tests.loopback.bench import daemon
from tests.loopback.doomed_client import begin, doomed
from tests.loopback.plain_client import PlainClient, wait_for
from tests.loopback.sharksem_rig import server

SIDE_PX = 256
TILES = 4
DWELL_NS = 2000
PATIENCE_S = 1.0
"""What a neighbour's end may cost at most; deadlines and lingering are 2 s and more."""

Kill = Callable[[], None]


class TimedClient(PlainClient):
    """A client that remembers the longest it had to wait for a message."""

    def __init__(self, port: int) -> None:
        self.longest_wait_s = 0.0
        super().__init__(port)

    def message(self) -> tuple[tuple[bytes, int, int, int, int, int], bytes]:
        """Read the next message and take the time."""
        with self._timed():
            return super().message()

    def piece(self) -> tuple[int, int, int, int, bytes]:
        """Read the next piece and take the time."""
        with self._timed():
            return super().piece()

    @contextmanager
    def _timed(self) -> Iterator[None]:
        since_s = time.monotonic()
        yield
        self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - since_s)


def microscope() -> SharkSEMServer:
    """Give one without noise, so that a tile looks the same whenever it is taken."""
    return server(time_scale=1.0, options=ColumnOptions(shot_noise=False, readout_noise_grey=0.0))


@asynccontextmanager
async def relayed(rig: SharkSEMServer, state: Path) -> AsyncIterator[int]:
    """Run microscope and daemon; give the relay's port."""
    sections: dict[str, dict[str, object]] = {
        "frames": {"source": "relay"},
        "relay": {"listen": "127.0.0.1:0"},
        "baseline": {"policy": "manual"},
    }
    async with rig, daemon(rig.port, state, **sections) as client:
        status = await client.until(lambda status: status["column"] is not None)
        yield int(status["relay"]["address"].rpartition(":")[2])


def tiles(client: TimedClient, in_the_middle: Kill = lambda: None) -> list[bytes]:
    """Take different parts of the field; something happens in the middle of the second."""
    client.send("DtEnable", 0, 1, 8)
    taken = []
    for number in range(TILES):
        field_px, left = 2 * SIDE_PX, number * 20
        region = (field_px, field_px, left, 0, left + SIDE_PX - 1, SIDE_PX - 1)
        assert client.whole("ScScanXY", number + 1, *region, 1, DWELL_NS) == 0
        first = client.piece()[4]
        assert len(first) < SIDE_PX * SIDE_PX
        if number == 1:
            in_the_middle()
        while len(first) < SIDE_PX * SIDE_PX:
            first += client.piece()[4]
        taken.append(first)
        client.send("ScStopScan")
    return taken


def wait_idle(client: PlainClient) -> None:
    """Wait until nobody scans."""
    while client.whole("IsBusy", 0x100):
        time.sleep(0.002)


@contextmanager
def killed(port: int, frames: int) -> Iterator[Kill]:
    """Run a client as a process that SIGKILL ends."""
    with doomed(port, frames) as process:

        def kill() -> None:
            process.kill()
            assert process.wait() == -signal.SIGKILL

        yield kill


@contextmanager
def reset(port: int, frames: int) -> Iterator[Kill]:
    """Run a client whose connections are reset, as by a system that is started again."""
    client = begin(port, frames)

    def kill() -> None:
        for each in (client.control, client.data):
            assert each is not None
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    try:
        yield kill
    finally:
        client.close()


WAYS = pytest.mark.parametrize("doom", [killed, reset])
Doom = Callable[[int, int], AbstractContextManager[Kill]]


async def directly() -> tuple[list[bytes], float]:
    """Give the tiles without relay or neighbour, and the longest wait."""

    def scene(port: int) -> tuple[list[bytes], float]:
        with TimedClient(port) as client:
            return tiles(client), client.longest_wait_s

    async with microscope() as rig:
        return await asyncio.to_thread(scene, rig.port)


@WAYS
async def test_a_client_that_dies_while_the_other_scans(doom: Doom, tmp_path: Path) -> None:
    """It has read half of its frame; the other's frames and their timing are as if it had been alone."""
    rig = microscope()

    def scene(port: int) -> tuple[list[bytes], float]:
        with TimedClient(port) as other, doom(port, 1) as kill:
            wait_idle(other)
            sessions = len(rig.sessions)
            taken = tiles(other, kill)
            wait_for(lambda: len(rig.sessions) == sessions - 1)
            return taken, other.longest_wait_s

    async with relayed(rig, tmp_path) as port:
        taken, longest_wait_s = await asyncio.to_thread(scene, port)
    expected, usual_wait_s = await directly()

    assert taken == expected
    assert len(set(taken)) == TILES
    assert longest_wait_s < usual_wait_s + PATIENCE_S


@WAYS
async def test_a_client_that_dies_while_the_microscope_scans_for_it(doom: Doom, tmp_path: Path) -> None:
    """The other is answered all the time, its session stays, and the microscope is soon free for it."""
    rig = microscope()

    def scene(port: int) -> tuple[list[bytes], float]:
        with TimedClient(port) as other, doom(port, 0) as kill:
            assert other.whole("IsBusy", 0x100)
            sessions = len(rig.sessions)
            kill()
            since_s = time.monotonic()
            while len(rig.sessions) == sessions:
                assert other.number("GetWD") == 9.0
                assert time.monotonic() - since_s < 5.0
            assert len(rig.sessions) == sessions - 1
            wait_idle(other)
            return tiles(other), other.longest_wait_s

    async with relayed(rig, tmp_path) as port:
        taken, longest_wait_s = await asyncio.to_thread(scene, port)
    expected, usual_wait_s = await directly()

    assert taken == expected
    assert longest_wait_s < usual_wait_s + PATIENCE_S
