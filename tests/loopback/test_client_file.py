"""The client in one file, on the oldest Python at hand, against the daemon and the simulated microscope."""

from __future__ import annotations

import ast
import asyncio
import json
from pathlib import Path
from typing import Any

import focusd_client
import numpy as np
import pytest
import tifffile

from focusd.simulator.column import SimulatedColumn
from tests.loopback.bench import DEPTH_OF_FIELD_UM, SIDE_PX
from tests.loopback.test_client import FIRST_MM, acquiring, cutting, scan
from tests.pythons import OLDEST, oldest_python

FILE = Path(focusd_client.__file__)

SCRIPT = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import focusd_client

focusd = focusd_client.Client(sys.argv[2])
known = {"dwell_time_us": 1.0, "pixel_size_nm": 10.0, "detector": "SE"}
state = focusd.wait_ready(timeout_s=10)
pixels = pathlib.Path(sys.argv[3]).read_bytes()
first = focusd.judge(pixels, shape=(SIDE, SIDE), **known)
checkpoint = focusd.checkpoint()
with focusd.hold("montage", expires_in_s=5.0) as hold:
    held = focusd.judge(memoryview(pixels).cast("B", (SIDE, SIDE)), **known)
    try:
        focusd.refocus()
    except focusd_client.LeasedError as error:
        refused = error.slug
refocus = focusd.refocus()
file = focusd.judge(sys.argv[4], wait_for_focus=False, **known)
status = focusd.status()
print(json.dumps({
    "python": sys.version_info[:2], "state": state, "first": first._asdict(), "refocus": refocus._asdict(),
    "action": checkpoint.action, "held": held.verdict, "refused": refused, "was_lost": hold.was_lost,
    "file": file.frame_id, "status": status._asdict(),
}))
""".replace("SIDE", str(SIDE_PX))


def test_the_file_needs_no_newer_python() -> None:
    """Its syntax is Python 3.8's, whatever runs the tests."""
    ast.parse(FILE.read_text("utf-8"), feature_version=(3, OLDEST))


async def test_all_verbs_on_the_oldest_python(tmp_path: Path) -> None:
    """A vendor's computer: nothing is installed, and warnings are errors."""
    async with acquiring(tmp_path) as (focusd, column):
        (tmp_path / "tile.raw").write_bytes(scan(column).tobytes())
        tifffile.imwrite(tmp_path / "tile.tif", scan(column))
        process = await asyncio.create_subprocess_exec(
            await asyncio.to_thread(oldest_python),
            *("-W", "error", "-c", SCRIPT, str(FILE.parent), focusd.url),
            *(str(tmp_path / "tile.raw"), str(tmp_path / "tile.tif")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await process.communicate()

    assert (process.returncode, errors) == (0, b""), errors.decode()
    told: dict[str, Any] = json.loads(out)
    assert told["first"]["refocus"][1] == "refocused"
    assert told["first"]["reacquire_from"] == told["first"]["frame_id"]
    assert (told["action"], told["held"], told["refused"]) == ("none", "learning", "scan-lease")
    assert not told["was_lost"]
    assert told["refocus"]["result"] in {"refocused", "confirmed_in_focus"}
    assert told["file"] == 3
    assert told["status"]["is_connected"]
    assert told["status"]["working_distance_mm"] == column.working_distance_mm != FIRST_MM
    assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM


async def test_a_large_frame_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    """The daemon's bound is told by name, not by a broken connection."""
    async with acquiring(tmp_path, http={"port": 0, "max_frame_mib": 1}) as (focusd, _):
        blocking = focusd_client.Client(focusd.url)
        with pytest.raises(focusd_client.InvalidRequestError) as refused:
            await asyncio.to_thread(blocking.judge, np.zeros((4096, 4096), np.uint16))

    assert refused.value.slug == "body-too-large"


async def test_a_frame_whose_answer_was_lost_is_judged_once(tmp_path: Path) -> None:
    """The connection breaks after the daemon has judged: the second attempt is given the first's answer."""
    async with acquiring(tmp_path, baseline={"policy": "manual"}) as (focusd, column):
        async with cutting(focusd.url) as (url, cut):
            judgement = await asyncio.to_thread(focusd_client.Client(url).judge, scan(column))
        status = await focusd.status()

    assert cut.is_set()
    assert judgement.frame_id == 1
    assert status.frames_judged == 1


async def test_a_tile_loop_keeps_its_focus(tmp_path: Path) -> None:
    """The lens follows a specimen that sinks, and the answers tell what to take again."""
    async with acquiring(tmp_path) as (focusd, column):
        blocking = focusd_client.Client(focusd.url)
        lost = await asyncio.to_thread(_sink_and_judge, blocking, column)
        after = await asyncio.to_thread(blocking.judge, scan(column), pixel_size_nm=10.0)

    assert lost.refocus is not None
    assert lost.refocus.is_success
    assert lost.reacquire_from == lost.frame_id
    assert after.verdict == "in_focus"


def _sink_and_judge(focusd: focusd_client.Client, column: SimulatedColumn) -> focusd_client.Judgement:
    for _ in range(4):
        focusd.judge(scan(column), pixel_size_nm=10.0)
    column.move_stage(z_mm=-0.016)
    return focusd.judge(scan(column), pixel_size_nm=10.0)
