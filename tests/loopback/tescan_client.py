"""Running scripts with TESCAN's Python client, or with what stands for it.

TESCAN's is not part of this project. ``FOCUSD_SHARKSEM_CLIENT`` names a folder that holds its ``sem.py`` and
``sem_conn.py``; without it those tests are skipped.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "examples" / "sharksem_script.py"
TOUR = Path(__file__).parent / "tescan_tour.py"
VARIABLE = "FOCUSD_SHARKSEM_CLIENT"
PUBLISHED = os.environ.get(VARIABLE, "")

CLIENTS = pytest.mark.parametrize(
    "client",
    [
        pytest.param(Path(__file__).parent / "stand_in", id="stand-in"),
        pytest.param(
            Path(PUBLISHED),
            id="published",
            marks=pytest.mark.skipif(
                not PUBLISHED, reason=f"{VARIABLE} names no folder with TESCAN's sem.py and sem_conn.py"
            ),
        ),
    ],
)


async def run_script(client: Path, script: Path, *arguments: str) -> str:
    """Run a script that imports ``sem`` from a folder; give what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), *arguments),
        env=os.environ | {"PYTHONPATH": f"{client}{os.pathsep}{ROOT}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            # TESCAN's client waits for ever for what does not come.
            process.kill()
            await process.wait()
    assert (process.returncode, errors) == (0, b""), errors.decode()
    return out.decode()


async def take_tiles(client: Path, port: int, folder: Path, tiles: int, pitch_mm: float) -> list[bytes]:
    """Run the example over one row of tiles; give them as it kept them."""
    folder.mkdir()
    row = ("--columns", str(tiles), "--rows", "1", "--pitch-mm", str(pitch_mm))
    await run_script(client, EXAMPLE, "--port", str(port), *row, "--output", str(folder))
    return [file.read_bytes() for file in sorted(folder.iterdir())]
