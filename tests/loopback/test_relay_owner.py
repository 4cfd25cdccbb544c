"""An owner of the relay that mends the focus between two tiles of a script that knows nothing of it."""

from __future__ import annotations

import asyncio

import numpy as np

from focusd.config import Limits, MicroscopeSettings
from focusd.focus.laplacian import laplacian_variance
from focusd.frame import ScanRequest
from focusd.microscope.sharksem import connect_sharksem
from focusd.protocol.sharksem_fold import ScanEnd
from focusd.simulator.options import ColumnOptions
from focusd.sources.relay.events import ScanEnded, ScanHeld
from focusd.sources.relay.frames import RelayedFrame
from focusd.sources.relay.server import Relay
from focusd.sources.relay.shared import RelayOptions
from tests.loopback.plain_client import PlainClient
from tests.loopback.relay_rig import Relayed
from tests.loopback.sharksem_rig import server

SIDE = 256
TILES = 5


def script(port: int) -> list[float]:
    """Take tiles as a script does, stage moves and stops included; give how sharp each is."""
    sharpness = []
    with PlainClient(port) as client:
        client.send("DtSelect", 0, 1)
        client.send("DtEnable", 0, 1)
        for number in range(TILES):
            client.send("StgMoveTo", number * 1e-4, 0.0)
            while client.whole("StgIsBusy"):
                pass
            assert client.scan(number + 1, SIDE, SIDE) == 0
            [pixels] = client.fetch([0], SIDE * SIDE)
            client.send("ScStopScan")
            sharpness.append(laplacian_variance(np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE)))
    return sharpness


async def test_the_lens_is_mended_between_two_tiles() -> None:
    """The first tile is blurred; the next one waits, and all from there on are sharp."""
    rig = server(
        options=ColumnOptions(
            working_distance_mm=9.03,
            field_of_view_mm=SIDE * 1e-5,
            shot_noise=False,
            readout_noise_grey=0.0,
        )
    )

    async def mend() -> None:
        await relayed.relay.wait_held()
        async with connect_sharksem(settings) as microscope:
            for working_distance_mm in (9.02, 9.01, 9.0):
                await microscope.set_working_distance(working_distance_mm)
                await microscope.scan(ScanRequest(64, 64, 1.0))
            relayed.relay.learn(await microscope.get_state())
        relayed.gate.open("refocus")

    def judge(frame: RelayedFrame) -> None:
        relayed.take_frame(frame)
        if len(relayed.frames) == 1:
            relayed.gate.close("refocus")
            mending.append(asyncio.create_task(mend()))

    mending: list[asyncio.Task[None]] = []
    async with rig:
        settings = MicroscopeSettings(port=rig.port, limits=Limits(working_distance_mm=(4.0, 30.0)))
        relayed = Relayed(rig.port)
        relayed.relay = Relay(
            RelayOptions("127.0.0.1", rig.port),
            on_frame=judge,
            on_event=relayed.take_event,
            gate=relayed.gate,
        )
        async with relayed.relay:
            sharpness = await asyncio.to_thread(script, relayed.relay.port)
            await asyncio.gather(*mending)

    assert min(sharpness[1:]) > 3 * sharpness[0]
    assert len(relayed.of(ScanHeld)) == 1
    assert [event.how for event in relayed.of(ScanEnded)] == [ScanEnd.COMPLETE] * TILES
    assert [frame.frame.working_distance_mm for frame in relayed.frames][1:] == [9.0] * (TILES - 1)
