"""A stop waits for the lens, and for nothing else."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from tests.loopback.test_process import process, until_event, write_config

NO_NAME_SERVER = """
import socket, time

def getaddrinfo(*arguments, _true=socket.getaddrinfo, **options):
    if "microscope.invalid" in arguments:
        time.sleep(120)
    return _true(*arguments, **options)

socket.getaddrinfo = getaddrinfo
"""
"""Looks up the microscope's name for as long as a name server that is away may take."""


async def test_a_name_server_that_is_away_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    """The look-up of a name cannot be broken off; the daemon ends in order, and leaves its thread behind."""
    (tmp_path / "sitecustomize.py").write_text(NO_NAME_SERVER, encoding="utf-8")
    config = write_config(tmp_path, port=1)
    text = config.read_text(encoding="utf-8").replace("port = 1", 'port = 1\nhost = "microscope.invalid"')
    config.write_text(text, encoding="utf-8")

    async with process(config, PYTHONPATH=str(tmp_path)) as child:
        await until_event(child, "link_down")
        child.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        left = await until_event(child, "threads_left_behind")
        async with asyncio.timeout(10):
            status = await child.wait()
        took_s = time.monotonic() - begun

    assert status == 0
    assert "focusd-worker" in str(left["threads"])
    assert took_s < 10
