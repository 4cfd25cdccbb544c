"""Whatever frames come, and in whatever form, the event loop is never at one thing for long."""

from __future__ import annotations

import asyncio
import gc
import http.client
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from focusd.daemon import running
from tests.benchmarks.http_servers import config

SIDE = 4096
MOST_S = 0.010
"""Of processor time in one step of the event loop. To score, decode or swap a frame takes longer."""
ROUNDS = 3
"""What is wrong shows each time, what comes of a busy computer does not."""
BARE = f"/v1/frames?shape={SIDE},{SIDE}&dtype="


def time_steps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note the processor time of each step of the event loop; what else this computer does is not in it."""
    taken: list[float] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        since = time.thread_time()
        try:
            run(handle)
        finally:
            taken.append(time.thread_time() - since)

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    return taken


def send(port: int, frames: list[tuple[str, str, bytes]]) -> list[int]:
    """Send frames as a client elsewhere does; give the statuses."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    statuses = []
    for path, kind, content in frames:
        connection.request("POST", path, content, {"Content-Type": kind})
        with connection.getresponse() as response:
            response.read()
            statuses.append(response.status)
    connection.close()
    return statuses


async def test_large_frames_do_not_hold_the_event_loop_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bare pixels of either byte order and an image file are received, decoded and judged meanwhile."""
    narrow = np.random.default_rng(1).integers(100, 108, (SIDE, SIDE), dtype=np.uint8)
    bare = "application/octet-stream"
    frames = [
        (f"{BARE}uint8", bare, narrow.tobytes()),
        (f"{BARE}>u2", bare, (narrow.astype(">u2") * 200).tobytes()),
        ("/v1/frames", "image/png", cv2.imencode(".png", narrow[: SIDE // 2])[1].tobytes()),
    ]

    async with running(config(str(tmp_path))) as daemon:
        port = int(daemon.url.rsplit(":", 1)[1])
        # Searching all that pytest has loaded for garbage takes longer than any step.
        gc.freeze()
        taken = time_steps(monkeypatch)
        longest = []
        for _ in range(ROUNDS):
            taken.clear()
            statuses = await asyncio.to_thread(send, port, frames)
            longest.append(max(taken))
        gc.unfreeze()

    assert statuses == [200, 200, 200]
    assert min(longest) < MOST_S
