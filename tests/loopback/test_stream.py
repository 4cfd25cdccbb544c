"""A microscope's owner takes frames and knows nothing of focusd, which keeps them in focus all the same."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from focusd.config import Limits, MicroscopeSettings, StreamSettings
from focusd.frame import ScanRequest
from focusd.microscope.bridge import Bridge, connect_bridge
from focusd.simulator.bridge_owner import OwnersHabits, acquire_tiles
from focusd.simulator.bridge_server import BridgeServer
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.specimen import Specimen
from focusd.sources.stream import FrameStream
from tests.loopback.bench import DEPTH_OF_FIELD_UM, FIELD_MM, SIDE_PX, Client, daemon, make_column

TILE = ScanRequest(SIDE_PX, SIDE_PX, 0.5)
"""Not focusd's own dwell time."""
IMMEDIATE: dict[str, object] = {"mode": "immediate"}


class Drift:
    """A column whose focus drifts by so many depths of field with each tile."""

    def __init__(self, depths_per_tile: float, *, working_distance_mm: float = 9.0) -> None:
        self._hours = 0.0
        self.column = SimulatedColumn(
            ColumnOptions(
                field_of_view_mm=FIELD_MM,
                working_distance_mm=working_distance_mm,
                focus_drift_um_per_hour=depths_per_tile * DEPTH_OF_FIELD_UM,
            ),
            Specimen(SpecimenOptions(texture="gold", texture_side_px=512)),
            clock=lambda: self._hours * 3600.0,
        )

    def go_on(self) -> None:
        """Let a tile's time pass."""
        self._hours += 1.0

    @property
    def depths(self) -> float:
        """How far from focus it is."""
        return abs(self.column.true_defocus_um()) / DEPTH_OF_FIELD_UM


@asynccontextmanager
async def streaming(port: int, state: Path, **sections: dict[str, object]) -> AsyncIterator[Client]:
    """Run a daemon that judges the frames of a bridge's owner, and wait until it has subscribed."""
    timeouts = {"reconnect_max_s": 0.2}
    microscope = {"driver": "bridge", "timeouts": timeouts} | sections.pop("microscope", {})
    async with daemon(port, state, microscope=microscope, frames={"source": "stream"}, **sections) as client:
        await client.until(lambda status: status["stream"]["is_subscribed"] and status["column"] is not None)
        yield client


async def take(server: BridgeServer, client: Client, count: int = 1) -> dict[str, Any]:
    """Take tiles as the owner does, one by one; give the status once all have been dealt with."""
    told = (await client.get("v1/status"))["stream"]["frames"]
    status: dict[str, Any] = {}
    for number in range(told + 1, told + count + 1):
        await acquire_tiles(server, OwnersHabits(TILE, 0.0), tiles=1)
        status = await client.until(partial(is_settled, frames=number))
    return status


def is_settled(status: dict[str, Any], frames: int) -> bool:
    """Tell whether so many frames came, and nothing is left to do after them."""
    stream = status["stream"]
    done = status["counters"]["frames_judged"] + stream["frames_set_aside"] + stream["frames_dropped"]
    pending = status["pending_refocus"]
    is_free = status["current_refocus"] is None and (pending is None or pending["waits_for"] == "checkpoint")
    return bool(stream["frames"] >= frames and done >= frames and is_free)


async def test_drift_is_noticed_from_the_owners_frames_alone_and_mended(tmp_path: Path) -> None:
    """Twelve depths of field of drift over a row of tiles, and none is four out of focus."""
    drift, depths = Drift(0.25, working_distance_mm=9.008), []
    async with (
        BridgeServer(drift.column, time_scale=0) as server,
        streaming(server.port, tmp_path, refocus=IMMEDIATE) as client,
    ):
        for _ in range(48):
            status = await take(server, client)
            drift.go_on()
            depths.append(drift.depths)

    assert max(depths) < 4, depths
    assert status["counters"]["refocuses"] >= 3
    assert status["counters"]["refocuses_failed"] == 0
    assert status["last_verdict"]["condition"].startswith("SE-5kV-0.5us")


async def test_nothing_moves_between_checkpoints_unless_it_is_asked_for(tmp_path: Path) -> None:
    """Nobody has said where a tile ends: what is wanted waits for a checkpoint, and is done there."""
    column = make_column(working_distance_mm=9.008)
    async with BridgeServer(column, time_scale=0) as server, streaming(server.port, tmp_path) as client:
        status = await take(server, client, 3)
        assert status["pending_refocus"]["waits_for"] == "checkpoint"
        assert list(column.moves) == []
        _, done = await client.call("POST", "v1/checkpoint")

    assert done["action"] == "refocused"
    assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM


async def test_a_checkpoint_waits_for_the_verdict_on_the_tile_before_it(tmp_path: Path) -> None:
    """The software says that its tile is done as soon as it is; focusd may have heard nothing of it yet."""
    drift = Drift(0.5)
    async with BridgeServer(drift.column, time_scale=0) as server, streaming(server.port, tmp_path) as client:
        actions = []
        for _ in range(12):
            await server.acquire(TILE)
            _, done = await client.call("POST", "v1/checkpoint")
            status = await client.get("v1/status")
            # A tile that takes no time may seem to have been begun before the refocus was over.
            dealt_with = status["counters"]["frames_judged"] + status["stream"]["frames_set_aside"]
            actions.append((dealt_with, done["action"]))
            drift.go_on()

    assert [dealt_with for dealt_with, _ in actions] == list(range(1, 13))
    assert actions[0][1] in {"refocused", "confirmed_in_focus"}
    assert [action for _, action in actions].count("refocused") >= 1


async def test_a_scan_lease_keeps_the_lens_still(tmp_path: Path) -> None:
    """What is pending in mode immediate is done when the lease is given back."""
    column = make_column(working_distance_mm=9.008)
    async with (
        BridgeServer(column, time_scale=0) as server,
        streaming(server.port, tmp_path, refocus=IMMEDIATE) as client,
    ):
        _, lease = await client.call("POST", "v1/scan-leases", {"holder": "owner", "expires_in_s": 60})
        for _ in range(3):
            await server.acquire(TILE)
        held = await client.until(lambda status: status["counters"]["frames_judged"] == 3)
        moves = list(column.moves)
        await client.call("DELETE", f"v1/scan-leases/{lease['lease_id']}")
        status = await client.until(lambda status: status["last_refocus"] is not None)

    assert held["pending_refocus"]["waits_for"] == "scan_lease"
    assert moves == []
    assert status["last_refocus"]["result"] == "refocused"


async def test_frames_taken_while_focus_is_mended_are_not_judged(tmp_path: Path) -> None:
    """The owner goes on meanwhile: each frame is judged or set aside, and none of a focus not its own."""
    column = make_column(working_distance_mm=9.012)
    async with (
        BridgeServer(column, time_scale=1) as server,
        streaming(server.port, tmp_path, refocus=IMMEDIATE, scan={"dwell_time_us": 1.0}) as client,
    ):
        owner = asyncio.create_task(acquire_tiles(server, OwnersHabits(TILE, 0.1)))
        status = await client.until(
            lambda status: status["last_refocus"] is not None and status["baseline"] is not None
        )
        owner.cancel()
        await asyncio.wait([owner])
        frames = (await client.get("v1/frames?limit=200"))["frames"]

    final_mm = status["last_refocus"]["final_working_distance_mm"]
    seen_mm = {round(frame["working_distance_mm"], 6) for frame in frames}
    assert status["last_refocus"]["result"] == "refocused"
    assert status["stream"]["frames_set_aside"] >= 1
    assert status["stream"]["frames_missing"] == 0, "a tile that was refused has no number"
    assert seen_mm <= {9.012, round(final_mm, 6)}, "frames with the lens on its way are nobody's"


async def test_a_bridge_that_is_started_again_is_subscribed_to_again(tmp_path: Path) -> None:
    """Its frames count from 1 again, and each is judged."""
    column = make_column()
    advise: dict[str, object] = {"mode": "advise"}
    async with BridgeServer(column, time_scale=0) as first:
        port = first.port
        context = streaming(port, tmp_path, refocus=advise)
        client = await context.__aenter__()
        await take(first, client, 2)
    try:
        await client.until(lambda status: not status["stream"]["is_subscribed"])
        async with BridgeServer(column, port=port, time_scale=0) as second:
            await client.until(lambda status: status["stream"]["is_subscribed"])
            status = await take(second, client, 2)
    finally:
        await context.__aexit__(None, None, None)

    assert status["stream"]["frames"] == 4
    assert status["counters"]["frames_judged"] == 4
    assert status["link"]["reconnects"] == 1
    assert (status["stream"]["frames_repeated"], status["stream"]["frames_missing"]) == (0, 0)


async def test_a_cut_connection_costs_no_more_than_what_was_under_way(tmp_path: Path) -> None:
    """The owner goes on taking tiles while the connection breaks and comes back."""
    advise: dict[str, object] = {"mode": "advise"}
    async with (
        BridgeServer(make_column(), time_scale=0) as server,
        streaming(server.port, tmp_path, refocus=advise) as client,
    ):
        owner = asyncio.create_task(acquire_tiles(server, OwnersHabits(TILE, 0.01)))
        await client.until(lambda status: status["counters"]["frames_judged"] >= 3)
        server.close_connections()
        before = await client.until(lambda status: status["link"]["reconnects"] == 1)
        judged = before["counters"]["frames_judged"]
        status = await client.until(lambda status: status["counters"]["frames_judged"] >= judged + 5)
        owner.cancel()
        await asyncio.wait([owner])

    assert status["stream"]["is_subscribed"] is True
    assert status["stream"]["frames_refused"] == 0


async def test_a_bridge_that_cannot_tell_of_frames_is_named(tmp_path: Path) -> None:
    """The link is not taken for good, and the reason is in the status."""
    async with (
        BridgeServer(make_column(), time_scale=0, capabilities=("ping",)) as server,
        daemon(server.port, tmp_path, microscope={"driver": "bridge"}, frames={"source": "stream"}) as client,
    ):
        status = await client.until(lambda status: status["link"]["error"] is not None)

    assert status["state"] == "disconnected"
    assert "subscribe is not among its capabilities" in status["reason"]


async def test_two_daemons_each_have_every_frame(tmp_path: Path) -> None:
    """One of them only watches."""
    advise: dict[str, object] = {"mode": "advise"}
    async with (
        BridgeServer(make_column(), time_scale=0) as server,
        streaming(server.port, tmp_path / "one", refocus=advise) as one,
        streaming(server.port, tmp_path / "other", refocus=advise) as other,
    ):
        for client in (one, other):
            status = await take(server, client, 3)
            assert status["stream"]["frames_missing"] == 0
        counts = [(await client.get("v1/status"))["stream"]["frames"] for client in (one, other)]

    assert counts == [6, 6]


@asynccontextmanager
async def unjudged(port: int, settings: StreamSettings) -> AsyncIterator[tuple[Bridge, FrameStream]]:
    """Connect and subscribe, with nobody who judges the frames."""
    limits = Limits(working_distance_mm=(4.0, 30.0))
    stream = FrameStream(settings)
    async with connect_bridge(MicroscopeSettings(driver="bridge", port=port, limits=limits)) as microscope:
        await microscope.subscribe(stream, most_bytes=stream.most_bytes)
        yield microscope, stream


async def test_a_slow_judge_misses_the_oldest_and_requests_are_answered() -> None:
    """While nobody judges frames come, the oldest are dropped and counted, and the link answers."""
    with capture_logs() as logs:
        async with (
            BridgeServer(make_column(), time_scale=0) as server,
            unjudged(server.port, StreamSettings(waiting_frames=3)) as (microscope, stream),
        ):
            for number in range(1, 9):
                await server.acquire(TILE)
                async with asyncio.timeout(10):
                    while stream.status.frames < number:
                        # Answered on the connection that frames come over.
                        await microscope.ping()
            full = stream.status
            names = [(await stream.get()).name for _ in range(3)]
            await server.acquire(TILE)
            await microscope.set_working_distance(9.002)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await stream.get()

    assert stream.status.frames_set_aside == 1, "of a focus that is no more"
    assert (full.frames_waiting, full.frames_dropped, full.frames_missing) == (3, 5, 0)
    assert names == ["6", "7", "8"]
    episodes = [(each["event"], each.get("dropped")) for each in logs if "observed" in each["event"]]
    assert episodes == [("observed_frames_dropped", None), ("observed_frames_kept_up_with", 5)]


async def test_a_client_that_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    """The owner's next tile does not wait for it, nor when it dies; the other client misses nothing."""
    advise: dict[str, object] = {"mode": "advise"}
    large = ScanRequest(1024, 1024, 0.1)
    request = b'{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{}}'
    async with (
        BridgeServer(make_column(), time_scale=0) as server,
        streaming(server.port, tmp_path, refocus=advise) as client,
    ):
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            lazy.connect(("127.0.0.1", server.port))
            lazy.sendall(len(request).to_bytes(4, "big") + request)
            await client.until(lambda _: [each.subscribed for each in server.sessions] == [True, True])
            for number in range(1, 9):
                await server.acquire(large)
                await client.until(partial(is_settled, frames=number))
            dropped = {session.frames.dropped for session in server.sessions}
        # With what it had not read, its end resets the connection.
        await client.until(lambda _: len(server.sessions) == 1)
        status = await take(server, client)

    assert status["stream"]["frames_missing"] == 0
    assert min(dropped) == 0
    assert max(dropped) >= 1
