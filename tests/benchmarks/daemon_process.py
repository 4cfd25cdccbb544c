"""The daemon as a process of its own, as systemd would run it, and what it takes of the computer (Linux)."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from focusd.simulator.column import SimulatedColumn
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.sharksem_server import SharkSEMServer
from focusd.simulator.specimen import Specimen

START_S: Final = 60.0
_TEXTURE_PX: Final = 1024


@dataclass(frozen=True, slots=True)
class RunningDaemon:
    """A daemon that has said READY."""

    process_id: int
    host: str
    port: int
    ready_s: float
    """From the start of the process to READY."""
    start_cpu_s: float
    """Processor time that took."""

    @property
    def cpu_s(self) -> float:
        """Processor time of all its threads so far."""
        return processor_s(self.process_id)

    def memory_mib(self, kind: str = "VmRSS") -> float:
        """Resident memory; ``RssAnon``: without files that are mapped."""
        status = Path(f"/proc/{self.process_id}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith(f"{kind}:"))
        return int(line.split()[1]) / 1024


class Client:
    """Talks to a daemon over one connection, one request after the other."""

    def __init__(self, daemon: RunningDaemon) -> None:
        self._connection = http.client.HTTPConnection(daemon.host, daemon.port, timeout=120)

    def get(self, path: str) -> Any:
        """Give the JSON of a GET."""
        return self._ask("GET", path)

    def post_frame(self, pixels: NDArray[np.uint8], key: str | None = None) -> Any:
        """Have a frame judged; with a key as a client does that may send it again."""
        rows, columns = pixels.shape
        headers = {"Content-Type": "application/octet-stream"}
        if key is not None:
            headers["Idempotency-Key"] = key
        path = f"/v1/frames?shape={rows},{columns}&dtype=uint8&pixel_size_nm=4"
        return self._ask("POST", path, pixels.data.cast("B"), headers)

    def timed_ms(self, call: Callable[[], object], count: int) -> list[float]:
        """Give the time that each of so many calls takes."""
        times = []
        for _ in range(count):
            since = time.perf_counter()
            call()
            times.append((time.perf_counter() - since) * 1000)
        return times

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(
        self, method: str, path: str, body: memoryview | None = None, headers: dict[str, str] | None = None
    ) -> Any:
        self._connection.request(method, path, body, headers or {})
        response = self._connection.getresponse()
        content = response.read()
        if response.status != http.client.OK:
            raise ValueError(f"{method} {path}: {response.status} {content[:200]!r}")
        return json.loads(content)


@contextmanager
def running_daemon(folder: Path, *, microscope_port: int = 1, extra: str = "") -> Iterator[RunningDaemon]:
    """Run ``focusd run`` in a folder, judging what is posted, until the block ends.

    Args:
        folder: For configuration, state and log.
        microscope_port: Where a microscope listens; nobody listens on the one that is taken otherwise.
        extra: More of the configuration.
    """
    config = folder / "focusd.toml"
    config.write_text(_CONFIG.format(port=microscope_port, extra=extra), encoding="utf-8")
    address, log = str(folder / "notify"), folder / "log"
    Path(address).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, log.open("wb") as written:
        manager.bind(address)
        manager.settimeout(0.5)
        since = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "focusd", "run", "-c", str(config)],
            env={**os.environ, "NOTIFY_SOCKET": address},
            stderr=written,
        )
        try:
            _await_ready(manager, process, log)
            ready_s = time.perf_counter() - since
            url = urlsplit(_url(log))
            yield RunningDaemon(
                process.pid, url.hostname or "", url.port or 0, ready_s, processor_s(process.pid)
            )
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(START_S)


_CONFIG: Final = """
[microscope]
port = {port}
limits.working_distance_mm = [4.0, 30.0]
[frames]
source = "push"
[baseline]
policy = "learn"
[refocus]
mode = "advise"
[http]
port = 0
{extra}
"""


def serve_microscope(tell: Callable[[int], None]) -> None:
    """Be a simulated microscope that takes no time for anything."""

    async def serve() -> None:
        column = SimulatedColumn(
            ColumnOptions(), Specimen(SpecimenOptions(texture="gold", texture_side_px=512))
        )
        async with SharkSEMServer(column, time_scale=0) as server:
            tell(server.port)
            await asyncio.Event().wait()

    asyncio.run(serve())


def picture(side_px: int, seed: int = 1) -> NDArray[np.uint8]:
    """Give a picture that can be judged: smooth noise as bright as a micrograph, repeated to its size."""
    small = min(side_px, _TEXTURE_PX)
    noise = np.random.default_rng(seed).normal(size=(small, small)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5)
    grey = np.clip(smooth / smooth.std() * 40 + 128, 0, 255).astype(np.uint8)
    repeats = -(-side_px // small)
    return np.ascontiguousarray(np.tile(grey, (repeats, repeats))[:side_px, :side_px])


def _await_ready(manager: socket.socket, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for READY; ``ValueError`` with the end of the log if it does not come."""
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(TimeoutError):
            if b"READY=1" in manager.recv(4096):
                return
    raise ValueError(f"the daemon did not start: {log.read_text(encoding='utf-8')[-500:]}")


def _url(log: Path) -> str:
    events = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
    return next(str(event["url"]) for event in events if event["event"] == "started")


def processor_s(process_id: int) -> float:
    """Give the processor time of a process's threads so far, from the scheduler, which counts nanoseconds."""
    tasks = Path(f"/proc/{process_id}/task").glob("*/schedstat")
    return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9
