"""The demo holds focus, says so with its exit code, and leaves a picture."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import cv2


async def run_demo(*options: str) -> tuple[int, str]:
    """Run ``focusd demo`` as a process; give its exit code and what it said."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "focusd",
        "demo",
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await child.communicate()
    return child.returncode or 0, output.decode()


async def test_the_demo_holds_focus_and_draws_it(tmp_path: Path) -> None:
    """Nearly all tiles end in focus where a fixed lens would lose most; the picture can be opened."""
    picture = tmp_path / "demo.png"

    status, said = await run_demo("--tiles", "16", "--time-scale", "200", "--output", str(picture))

    assert status == 0, said
    assert "focus was held" in said
    image = cv2.imread(str(picture))
    assert image is not None
    assert min(image.shape[:2]) > 500


async def test_without_refocusing_focus_is_lost(tmp_path: Path) -> None:
    """The same scan with the lens left alone loses most tiles, and the exit code says so."""
    picture = tmp_path / "demo.png"

    status, said = await run_demo(
        "--no-refocus", "--tiles", "16", "--time-scale", "200", "--output", str(picture)
    )

    assert status == 1, said
    assert "focus was lost" in said
    in_focus = int(said.split("tiles in focus")[1].split()[0])
    assert in_focus <= 8
    assert picture.exists()


async def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """Nothing is scanned for a picture that has no place."""
    status, said = await run_demo("--output", str(tmp_path / "none" / "demo.png"))

    assert status == 1
    assert "there is no such folder" in said
    assert len(said.strip().splitlines()) == 1
