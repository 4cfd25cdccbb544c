"""Acquisition software of its own takes the frames; focusd judges them and moves the lens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from focusd.frame import ScanRequest
from focusd.simulator.column import SimulatedColumn
from tests.loopback.bench import DEPTH_OF_FIELD_UM, SIDE_PX, Client, connected, daemon, make_column

PUSH: dict[str, object] = {"source": "push"}
FIRST_MM = 9.008
NOBODY = 1
"""A port on which nobody listens."""


@asynccontextmanager
async def acquiring(
    state: Path, *, mode: str = "immediate", **sections: dict[str, object]
) -> AsyncIterator[tuple[Client, SimulatedColumn]]:
    """A daemon that is sent frames, and the column that takes them."""
    column = make_column(working_distance_mm=FIRST_MM)
    refocus: dict[str, object] = {"mode": mode} | sections.pop("refocus", {})
    async with connected(column, state, frames=PUSH, refocus=refocus, **sections) as client:
        yield client, column


async def push(client: Client, column: SimulatedColumn, query: str = "", *, key: str | None = None) -> Any:
    """Take a frame as acquisition software does, and send it."""
    pixels = column.render(ScanRequest(SIDE_PX, SIDE_PX, dwell_time_us=1.0))
    path = f"v1/frames?shape={SIDE_PX},{SIDE_PX}&dtype=uint8&dwell_time_us=1&pixel_size_nm=10&detector=SE"
    headers = {"Content-Type": "application/octet-stream"} | ({"Idempotency-Key": key} if key else {})
    status, body = await client.send("POST", path + query, pixels.tobytes(), headers)
    assert status == 200, body
    return body


async def learn(client: Client, column: SimulatedColumn) -> None:
    """Focus the first frame, and let those after it become the baseline."""
    first = await push(client, column, "&wait=refocus")
    assert first["refocus"]["result"] == "refocused", first["refocus"]["reason"]
    for _ in range(3):
        await push(client, column)
    status = await client.get("v1/status")
    assert status["baseline"]["source"] == "refocus"


async def lose_focus(client: Client, column: SimulatedColumn, tiles: int = 3) -> list[Any]:
    """Let the specimen sink, and push until that is noticed; give the answers."""
    column.move_stage(z_mm=(column.stage_position.z_mm or 0.0) - 0.016)
    return [await push(client, column) for _ in range(tiles)]


async def test_a_script_that_waits_gets_its_focus_back(tmp_path: Path) -> None:
    """Three lines in a script: send the frame, wait, take it again where it was blurred."""
    async with acquiring(tmp_path) as (client, column):
        await learn(client, column)
        column.move_stage(z_mm=-0.016)
        lost = await push(client, column, "&wait=refocus")
        after = await push(client, column)

    assert lost["verdict"]["verdict"] in {"suspect", "out_of_focus"}
    assert lost["refocus"]["result"] == "refocused", lost["refocus"]["reason"]
    assert lost["reacquire_from"] == lost["verdict"]["frame_id"]
    assert (after["reacquire_from"], after["waits_for"]) == (None, None)
    assert after["verdict"]["verdict"] == "in_focus"
    assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM


async def test_at_checkpoints_nothing_moves_before_the_word_is_given(tmp_path: Path) -> None:
    """Drift is noticed while tiles are taken; the lens moves between two of them, and never else."""
    async with acquiring(tmp_path, mode="checkpoint") as (client, column):
        first = await push(client, column)
        assert (await client.get("v1/status"))["pending_refocus"] == {
            "trigger": "first_frame",
            "frame_id": first["verdict"]["frame_id"],
            "waits_for": "checkpoint",
        }
        assert list(column.moves) == []
        assert first["waits_for"] == "checkpoint"
        begun = (await client.call("POST", "v1/checkpoint"))[1]
        assert (begun["action"], begun["reacquire_from"]) == ("refocused", first["verdict"]["frame_id"])
        for _ in range(3):
            await push(client, column)
        moves = len(column.moves)

        tiles = await lose_focus(client, column)
        assert (await client.get("v1/ready?timeout_s=5"))["state"] == "pending"
        assert len(column.moves) == moves
        status, done = await client.call("POST", "v1/checkpoint")
        after = await push(client, column)
        _, nothing = await client.call("POST", "v1/checkpoint")

    assert tiles[-1]["verdict"]["verdict"] == "out_of_focus"
    assert (status, done["action"]) == (200, "refocused"), done
    assert done["reacquire_from"] == tiles[0]["verdict"]["frame_id"]
    assert done["working_distance_mm"] == column.working_distance_mm
    assert after["verdict"]["verdict"] == "in_focus"
    assert nothing == {
        "action": "none",
        "reacquire_from": None,
        "working_distance_mm": None,
        "refocus": None,
        "prediction": None,
    }


async def test_a_checkpoint_looks_into_the_first_suspicion(tmp_path: Path) -> None:
    """No second tile is lost where each is followed by a checkpoint; a frame in focus ends the suspicion."""
    async with acquiring(tmp_path, mode="checkpoint") as (client, column):
        await learn(client, column)
        [unsettled] = await lose_focus(client, column, tiles=1)
        column.move_stage(z_mm=0.0)
        await push(client, column)
        _, nothing = await client.call("POST", "v1/checkpoint")
        [lost] = await lose_focus(client, column, tiles=1)
        _, done = await client.call("POST", "v1/checkpoint")

    assert unsettled["waits_for"] == "checkpoint"
    assert nothing["action"] == "none"
    assert (done["action"], done["reacquire_from"]) == ("refocused", lost["verdict"]["frame_id"])


async def test_who_waits_for_focus_is_at_a_checkpoint(tmp_path: Path) -> None:
    """A script that takes no frame before its answer needs no second call; nor does it wait for itself."""
    async with acquiring(tmp_path, mode="checkpoint") as (client, column):
        await learn(client, column)
        column.move_stage(z_mm=-0.016)
        lost = await push(client, column, "&wait=refocus&timeout_s=20")

    assert lost["refocus"]["result"] == "refocused", lost["refocus"]["reason"]
    assert lost["reacquire_from"] == lost["verdict"]["frame_id"]


async def test_a_lease_is_not_waited_for_by_its_holder(tmp_path: Path) -> None:
    """A frame sent from within a lease is answered at once, and tells what its refocus waits for."""
    async with acquiring(tmp_path) as (client, column):
        await learn(client, column)
        await client.call("POST", "v1/scan-leases", {"holder": "montage"})
        column.move_stage(z_mm=-0.016)
        async with asyncio.timeout(10):
            answer = await push(client, column, "&wait=refocus")

    assert (answer["refocus"], answer["reacquire_from"]) == (None, None)
    assert answer["waits_for"] == "scan_lease"


async def test_a_microscope_that_is_away_is_not_waited_for(tmp_path: Path) -> None:
    """Acquisition goes on while focusd has no link, though a refocus would be due."""
    async with daemon(NOBODY, tmp_path, frames=PUSH) as client, asyncio.timeout(10):
        answer = await push(client, make_column(), "&wait=refocus")

    assert answer["verdict"]["verdict"] == "learning"
    assert answer["refocus"] is None


async def test_while_somebody_scans_the_lens_stands_still(tmp_path: Path) -> None:
    """A lease outlasts every wish to move; when it ends, what waited is done."""
    async with acquiring(tmp_path) as (client, column):
        await learn(client, column)
        _, lease = await client.call("POST", "v1/scan-leases", {"holder": "montage", "expires_in_s": 60})
        moves = len(column.moves)
        await lose_focus(client, column)

        refused = [
            (await client.call(method, path, body))[1]["type"].rpartition(":")[2]
            for method, path, body in (
                ("POST", "v1/refocuses", None),
                ("POST", "v1/scans", None),
                ("POST", "v1/checkpoint", None),
                ("PUT", "v1/microscope/working-distance", {"working_distance_mm": 9.0}),
            )
        ]
        held = await client.get("v1/status")
        assert len(column.moves) == moves
        await client.call("DELETE", f"v1/scan-leases/{lease['lease_id']}")
        done = await client.until(lambda status: status["last_refocus"]["trigger"] == "drift")

    assert refused == ["scan-lease"] * 4
    assert held["pending_refocus"]["waits_for"] == "scan_lease"
    assert done["last_refocus"]["result"] == "refocused"


async def test_what_was_done_while_nobody_asked_is_told_at_the_next_checkpoint(tmp_path: Path) -> None:
    """A lease ends, focus is mended at once: the script still learns which tiles to take again, and once."""
    async with acquiring(tmp_path) as (client, column):
        await learn(client, column)
        _, lease = await client.call("POST", "v1/scan-leases", {"holder": "montage"})
        tiles = await lose_focus(client, column)
        await client.call("DELETE", f"v1/scan-leases/{lease['lease_id']}")
        await client.until(lambda status: status["last_refocus"]["trigger"] == "drift")
        _, told = await client.call("POST", "v1/checkpoint")
        _, nothing = await client.call("POST", "v1/checkpoint")

    assert told["action"] == "refocused"
    assert told["reacquire_from"] == tiles[0]["verdict"]["frame_id"]
    assert (nothing["action"], nothing["reacquire_from"]) == ("none", None)


async def test_a_lease_that_runs_out_frees_the_lens(tmp_path: Path) -> None:
    """A script that died costs its lease and no more."""
    async with acquiring(tmp_path) as (client, column):
        await learn(client, column)
        await client.call("POST", "v1/scan-leases", {"holder": "dead", "expires_in_s": 1})
        await lose_focus(client, column)
        done = await client.until(lambda status: status["last_refocus"]["trigger"] == "drift")

    assert done["last_refocus"]["result"] == "refocused"


async def test_a_scan_lease_waits_for_a_refocus_that_runs(tmp_path: Path) -> None:
    """Nobody begins a tile with the lens on the move."""
    async with acquiring(tmp_path) as (client, column):
        await learn(client, column)
        await lose_focus(client, column)
        status, lease = await client.call("POST", "v1/scan-leases", {"holder": "montage"})
        now = await client.get("v1/status")

    assert (status, lease["holder"]) == (201, "montage")
    assert (now["current_refocus"], now["pending_refocus"]) == (None, None)
    assert now["last_refocus"]["trigger"] == "drift"


async def test_a_frame_sent_twice_counts_once(tmp_path: Path) -> None:
    """With a key, a script whose connection broke may send its frame again."""
    async with acquiring(tmp_path, baseline={"policy": "manual"}) as (client, column):
        one = await push(client, column, key="tile 1")
        again = await push(client, column, key="tile 1")
        counted = await client.get("v1/status")

    assert again == one
    assert counted["counters"]["frames_judged"] == 1


async def test_frames_from_many_clients_at_once_are_all_answered(tmp_path: Path) -> None:
    """Each gets the verdict on its own frame, in the order in which it sent them."""
    clients, each = 8, 6
    async with acquiring(tmp_path, baseline={"policy": "manual"}) as (client, column):

        async def send_all(number: int) -> list[Any]:
            return [await push(client, column, f"&x_mm={number}&y_mm={tile}") for tile in range(each)]

        answers = await asyncio.gather(*(send_all(number) for number in range(clients)))
        kept = await client.get("v1/frames?limit=200")

    for number, own in enumerate(answers):
        positions = [answer["verdict"]["stage_position"] for answer in own]
        assert [(place["x_mm"], place["y_mm"]) for place in positions] == [(number, t) for t in range(each)]
        ids = [answer["verdict"]["frame_id"] for answer in own]
        assert ids == sorted(ids)
    assert sorted(frame["frame_id"] for frame in kept["frames"]) == list(range(1, clients * each + 1))


async def test_frames_are_judged_without_a_microscope(tmp_path: Path) -> None:
    """The link may be down; a verdict needs none."""
    column = make_column()
    policy: dict[str, object] = {"policy": "learn", "learn_frames": 1}
    async with daemon(NOBODY, tmp_path, frames=PUSH, baseline=policy) as client:
        await push(client, column)
        answer = await push(client, column, "&wait=refocus")
        status = await client.get("v1/status")

    assert answer["verdict"]["verdict"] == "in_focus"
    assert status["state"] == "disconnected"
