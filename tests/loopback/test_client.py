"""The client for acquisition scripts against the daemon and the simulated microscope."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import tifffile

from focusd.client import (
    BusyError,
    Client,
    FrameError,
    InvalidRequestError,
    Judgement,
    LeasedError,
    NotReadyError,
    UnauthorizedError,
)
from focusd.config import Config
from focusd.daemon import running
from focusd.frame import Pixels, ScanRequest
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.sharksem_server import SharkSEMServer
from tests.loopback.bench import DEPTH_OF_FIELD_UM, SIDE_PX, make_column, settings

FIRST_MM = 9.008
NOBODY = 1
TOKEN = "t0" * 8


@asynccontextmanager
async def acquiring(
    state: Path, *, mode: str = "immediate", **sections: dict[str, object]
) -> AsyncIterator[tuple[Client, SimulatedColumn]]:
    """A client of a daemon that is sent frames, and the column that takes them."""
    column = make_column(working_distance_mm=FIRST_MM)
    chosen: dict[str, dict[str, object]] = {"frames": {"source": "push"}, "refocus": {"mode": mode}}
    chosen |= sections
    async with SharkSEMServer(column, time_scale=0) as server:
        config = Config.model_validate(settings(server.port, state, **chosen))
        async with running(config) as daemon, Client(daemon.url) as focusd:
            await focusd.wait_ready(timeout_s=10)
            yield focusd, column


def scan(column: SimulatedColumn) -> Pixels:
    """Take a tile as a vendor's own program does."""
    return column.render(ScanRequest(SIDE_PX, SIDE_PX, dwell_time_us=1.0))


async def judge(focusd: Client, column: SimulatedColumn, *, wait_for_focus: bool = True) -> Judgement:
    """Take a tile and send it."""
    return await focusd.judge(
        scan(column), wait_for_focus=wait_for_focus, dwell_time_us=1.0, pixel_size_nm=10.0, detector="SE"
    )


async def learn(focusd: Client, column: SimulatedColumn) -> None:
    """Focus the first frame, and let those after it become the baseline."""
    first = await judge(focusd, column)
    assert first.refocus is not None
    assert first.reacquire_from == first.frame_id
    for _ in range(3):
        await judge(focusd, column)


@asynccontextmanager
async def cutting(url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A way to the daemon on which the first answer is lost; gives its address and whether that has been."""
    target = urlsplit(url)
    cut = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, cuts: bool) -> None:
        with contextlib.closing(writer):
            while piece := await reader.read(65_536):
                if cuts and b" 200 " in piece and not cut.is_set():
                    cut.set()
                    return
                writer.write(piece)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(target.hostname, target.port)
        tasks.add(asyncio.create_task(copy(reader, there[1], cuts=False)))
        tasks.add(asyncio.create_task(copy(there[0], writer, cuts=True)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", cut
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_three_lines_keep_a_script_in_focus(tmp_path: Path) -> None:
    """Judge each tile, and take it again where the answer says so."""
    async with acquiring(tmp_path) as (focusd, column):
        await learn(focusd, column)
        column.move_stage(z_mm=-0.016)
        lost = await judge(focusd, column)
        after = await judge(focusd, column)
        status = await focusd.status()

    assert lost.refocus is not None
    assert lost.refocus.is_success
    assert lost.refocus.final_working_distance_mm == column.working_distance_mm
    assert lost.reacquire_from == lost.frame_id
    assert after.verdict.is_in_focus
    assert (after.refocus, after.reacquire_from, after.waits_for) == (None, None, None)
    assert (status.is_connected, status.state) == (True, "monitoring")
    assert status.last_verdict == after.verdict
    assert status.last_refocus == lost.refocus
    assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM


async def test_a_checkpoint_does_what_is_pending(tmp_path: Path) -> None:
    """Between two tiles, and nowhere else, the lens moves."""
    async with acquiring(tmp_path, mode="checkpoint") as (focusd, column):
        await learn(focusd, column)
        moves = len(column.moves)
        column.move_stage(z_mm=-0.016)
        tiles = [await judge(focusd, column, wait_for_focus=False) for _ in range(3)]
        waits_for = (await focusd.status()).waits_for
        moved_early = len(column.moves) - moves
        done = await focusd.checkpoint()
        nothing = await focusd.checkpoint()

    assert tiles[-1].waits_for == waits_for == "checkpoint"
    assert moved_early == 0
    assert done.action == "refocused"
    assert done.reacquire_from == tiles[0].frame_id
    assert done.working_distance_mm == column.working_distance_mm
    assert (nothing.action, nothing.reacquire_from) == ("none", None)


async def test_while_a_script_holds_the_lens_nothing_moves_it(tmp_path: Path) -> None:
    """The lease is renewed past its own end, keeps others out, and what waited is done after it."""
    async with acquiring(tmp_path) as (focusd, column):
        await learn(focusd, column)
        moves = len(column.moves)
        clock = asyncio.get_running_loop().time
        ends_at = clock() + 1.7
        async with focusd.hold("montage", expires_in_s=1.5) as hold:
            column.move_stage(z_mm=-0.016)
            inside = [await judge(focusd, column) for _ in range(3)]
            with pytest.raises(LeasedError, match="montage") as refused:
                await focusd.refocus()
            while clock() < ends_at:
                await judge(focusd, column)
            moved_early = len(column.moves) - moves
        await focusd.wait_ready(timeout_s=30)
        after = await judge(focusd, column)

    assert not hold.was_lost
    assert inside[-1].waits_for == "scan_lease"
    assert 0.0 < refused.value.free_in_s <= 1.5
    assert moved_early == 0
    assert after.verdict.is_in_focus


async def test_a_lease_outlasts_a_restart_of_the_daemon(tmp_path: Path) -> None:
    """The new daemon knows nothing of it: it is taken anew, and the script is told."""
    async with SharkSEMServer(make_column(), time_scale=0) as server, contextlib.AsyncExitStack() as first:
        chosen = settings(server.port, tmp_path, frames={"source": "push"})
        url = (await first.enter_async_context(running(Config.model_validate(chosen)))).url
        chosen["http"] = {"port": urlsplit(url).port}
        async with Client(url) as focusd:
            hold = focusd.hold("montage", expires_in_s=1.5)
            await hold.__aenter__()
            before = hold._lease_id
            await first.aclose()
            async with running(Config.model_validate(chosen)), asyncio.timeout(20):
                await focusd.wait_ready()
                while hold._lease_id == before:
                    await asyncio.sleep(0.01)
                with pytest.raises(LeasedError, match="montage"):
                    await focusd.refocus()
                await hold.__aexit__(None, None, None)
                refocus = await focusd.refocus()

    assert hold.was_lost
    assert refocus.is_success


async def test_a_cancelled_script_gives_its_lease_back(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a scan keeps nobody waiting."""
    async with acquiring(tmp_path) as (focusd, column):
        entered = asyncio.Event()

        async def scan_for_ever() -> None:
            async with focusd.hold("montage"):
                entered.set()
                await asyncio.Event().wait()

        scanning = asyncio.create_task(scan_for_ever())
        await entered.wait()
        scanning.cancel()
        await asyncio.wait([scanning])
        refocus = await focusd.refocus()

    assert refocus.is_success
    assert refocus.trigger == "request"
    assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM


async def test_one_refocus_at_a_time(tmp_path: Path) -> None:
    """The second script is told which one runs."""
    async with acquiring(tmp_path) as (focusd, _):
        first = asyncio.create_task(focusd.refocus())
        while (await focusd.status()).current_refocus is None:
            await asyncio.sleep(0.005)
        with pytest.raises(BusyError) as busy:
            await focusd.refocus()
        record = await first

    assert busy.value.running_id == record.refocus_id


async def test_files_are_judged_by_what_their_headers_say(tmp_path: Path) -> None:
    """A TIFF, and what focusd cannot judge, which it says without harm to what follows."""
    async with acquiring(tmp_path, baseline={"policy": "manual"}) as (focusd, column):
        path = tmp_path / "tile.tif"
        tifffile.imwrite(path, scan(column))
        small, bad = np.zeros((8, 8), np.uint8), b"II*\0" + bytes(99)
        one = await focusd.judge(path, label="block 1", x_mm=0.5)
        for frame in (small, bad):
            with pytest.raises(InvalidRequestError):
                await focusd.judge(frame)
        with pytest.raises(FrameError):
            await focusd.judge(b"no image")
        with pytest.raises(InvalidRequestError):
            await focusd.judge(scan(column), label="x" * 200)
        two = await focusd.judge(path.read_bytes())
        counted = (await focusd.status()).frames_judged

    assert two.frame_id == one.frame_id + 1
    assert counted == 2


async def test_a_large_frame_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    """The daemon's bound is told by name, not by a broken connection."""
    async with acquiring(tmp_path, http={"port": 0, "max_frame_mib": 1}) as (focusd, _):
        with pytest.raises(InvalidRequestError) as refused:
            await focusd.judge(np.zeros((4096, 4096), np.uint16))
        status = await focusd.status()

    assert refused.value.slug == "body-too-large"
    assert refused.value.facts["max_bytes"] == 1 << 20
    assert status.frames_judged == 0


async def test_many_frames_at_once_are_all_judged_though_memory_is_short(tmp_path: Path) -> None:
    """Those for which there is no room come again."""
    http: dict[str, object] = {"port": 0, "max_frame_mib": 1, "frame_memory_mib": 1}
    async with acquiring(tmp_path, baseline={"policy": "manual"}, http=http) as (focusd, _):
        tile = np.random.default_rng(1).integers(0, 255, (700, 700)).astype(np.uint8)
        judged = await asyncio.gather(*(focusd.judge(tile) for _ in range(6)))

    assert sorted(judgement.frame_id for judgement in judged) == [1, 2, 3, 4, 5, 6]


async def test_a_frame_whose_answer_was_lost_is_judged_once(tmp_path: Path) -> None:
    """The connection breaks after the daemon has judged: the second attempt is given the first's answer."""
    async with acquiring(tmp_path, baseline={"policy": "manual"}) as (focusd, column):
        async with cutting(focusd.url) as (url, cut), Client(url) as behind:
            judgement = await judge(behind, column)
        status = await focusd.status()

    assert cut.is_set()
    assert judgement.frame_id == 1
    assert status.frames_judged == 1


async def test_without_a_microscope_a_script_is_told(tmp_path: Path) -> None:
    """Frames are judged; being ready, a checkpoint and a refocus need the link."""
    config = Config.model_validate(settings(NOBODY, tmp_path, frames={"source": "push"}))
    async with running(config) as daemon, Client(daemon.url) as focusd:
        judgement = await judge(focusd, make_column())
        with pytest.raises(NotReadyError, match="disconnected"):
            await focusd.wait_ready(timeout_s=0.1)
        status = await focusd.status()

    assert judgement.verdict.verdict == "learning"
    assert not status.is_connected
    assert status.working_distance_mm is None


async def test_a_token_lets_in(tmp_path: Path) -> None:
    """Without it nothing is told."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    http: dict[str, object] = {"port": 0, "token_file": str(file)}
    config = Config.model_validate(settings(NOBODY, tmp_path / "state", http=http))
    async with (
        running(config) as daemon,
        Client(daemon.url, token=TOKEN) as friend,
        Client(daemon.url, token=TOKEN[1:]) as stranger,
    ):
        status = await friend.status()
        with pytest.raises(UnauthorizedError):
            await stranger.status()

    assert status.state == "disconnected"
