"""A client of the relay in a process of its own, to be killed: ``python -m tests.loopback.doomed_client``.

It takes the control port and the number of frames (0: without end), begins a scan, reads one piece of it,
says so, and never does anything again.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.loopback.plain_client import PlainClient

SIDE_PX = 512


def begin(port: int, frames: int) -> PlainClient:
    """Begin a scan and read one piece of it."""
    client = PlainClient(port, receive_buffer=8192)
    client.send("DtEnable", 0, 1, 16)
    assert client.scan(1, SIDE_PX, SIDE_PX, frames=frames) == 0
    client.piece()
    return client


@contextmanager
def doomed(port: int, frames: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run one, in the middle of its frame, and see to it that it ends."""
    command = [sys.executable, "-m", "tests.loopback.doomed_client", str(port), str(frames)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"in the middle\n"
            yield process
        finally:
            process.kill()


if __name__ == "__main__":
    kept = begin(int(sys.argv[1]), int(sys.argv[2]))
    print("in the middle", flush=True)  # noqa: T201 - this is how it is waited for
    signal.pause()
