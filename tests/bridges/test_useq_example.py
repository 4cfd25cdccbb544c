"""``deploy/examples/micromanager_useq.py``: a script of positions that shares its core with focusd."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

from focusd.config import Config
from focusd.daemon import running
from tests.bridges.demo_camera import adapters, write_config
from tests.bridges.process import BRIDGES
from tests.bridges.test_micromanager import ACCEPTED_UM, SECTIONS
from tests.loopback.bench import settings

EXAMPLE = BRIDGES.parent / "examples" / "micromanager_useq.py"
ROWS, COLUMNS = 2, 3


async def test_every_position_is_taken_in_focus(tmp_path: Path) -> None:
    """The drive starts 8 um beside focus: what was lost is taken again, and nothing else."""
    config, folder = write_config(tmp_path, z_um=8.0), adapters()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    microscope = {**SECTIONS["microscope"], "timeouts": {"reconnect_max_s": 0.2}}
    sections: dict[str, dict[str, object]] = {
        **SECTIONS,
        "microscope": microscope,
        "frames": {"source": "push"},
    }
    async with running(Config.model_validate(settings(port, tmp_path / "state", **sections))) as daemon:
        out = await run(config, folder, port, daemon.url)

    taken = [line.split() for line in out.splitlines()]
    kept = {int(index): (float(z_um), verdict) for _, index, _, z_um, verdict in taken}
    assert sorted(kept) == list(range(ROWS * COLUMNS))
    assert all(abs(z_um) < ACCEPTED_UM for z_um, _ in kept.values())
    # The first frames in focus make the baseline.
    assert {verdict for _, verdict in kept.values()} == {"learning", "in_focus"}
    assert kept[ROWS * COLUMNS - 1][1] == "in_focus"
    assert len(taken) == ROWS * COLUMNS + 1, out


async def run(config: Path, folder: str, port: int, focusd: str) -> str:
    """Run the example; give what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLE), "--config", str(config), "--adapters", folder, "--z-um", "-50", "50"),
        *("--pixel-size-um", "1", "--port", str(port), "--focusd", focusd),
        *("--rows", str(ROWS), "--columns", str(COLUMNS)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, errors.decode()
    return out.decode()
