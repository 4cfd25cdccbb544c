"""The commands as processes: simulator and daemon side by side, asked and stopped from outside."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

FOCUSD = [sys.executable, "-m", "focusd"]


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a command for the length of a ``with`` block; it is killed at the end if it still runs."""
    child = subprocess.Popen(
        [*FOCUSD, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def done(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*FOCUSD, *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False
    )


def until_event(child: subprocess.Popen[str], name: str) -> dict[str, object]:
    """Read a command's log up to an event, and give it."""
    assert child.stderr is not None
    for line in child.stderr:
        event: dict[str, object] = json.loads(line)
        if event["event"] == name:
            return event
    pytest.fail(f"the process ended before {name}")


def write_config(folder: Path, *, port: int = 8300, http_port: int = 0) -> Path:
    """Write a configuration with small scans."""
    path = folder / "focusd.toml"
    path.write_text(
        f"""
        [microscope]
        port = {port}
        limits.working_distance_mm = [4.0, 30.0]
        [scan]
        width = 256
        height = 256
        [http]
        port = {http_port}
        """,
        encoding="utf-8",
    )
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Give a picture with detail of every size to put under the simulated beam."""
    rng = np.random.default_rng(5)
    layers = [cv2.GaussianBlur(rng.normal(size=(512, 512)), (0, 0), sigma) * sigma for sigma in (1, 2, 4, 8)]
    picture = 128 + 40 * sum(layers[1:], layers[0])
    path = tmp_path / "specimen.png"
    assert cv2.imwrite(str(path), np.clip(picture, 0, 255).astype(np.uint8))
    return path


def test_a_simulated_microscope_is_focused_and_everything_stops_on_request(
    tmp_path: Path, image: Path
) -> None:
    """Simulator and daemon run side by side; status, refocus and pause reach it; SIGTERM ends both with 0."""
    simulator = ("simulate", "--port", "0", "--image", image, "--time-scale", "0")
    with running(*simulator) as microscope:
        assert microscope.stdout is not None
        found = re.search(r"port (\d+),", microscope.stdout.readline())
        assert found
        config = write_config(tmp_path, port=int(found[1]))
        with running("run", "-c", config) as daemon:
            url = until_event(daemon, "started")["url"]
            first = until_event(daemon, "refocus_finished")

            refocus = done("refocus", "--json", "--url", url)
            status = json.loads(done("status", "--json", "--url", url).stdout)
            paused = done("pause", "maintenance", "--url", url)
            refused = done("refocus", "--url", url)
            second = done("run", "-c", config)

            daemon.send_signal(signal.SIGTERM)
            output, log = daemon.communicate(timeout=20)
        microscope.send_signal(signal.SIGINT)
        microscope.communicate(timeout=20)

    assert first["result"] in {"refocused", "confirmed_in_focus"}
    assert refocus.returncode == 0
    assert json.loads(refocus.stdout)["result"] in {"refocused", "confirmed_in_focus"}
    assert status["state"] == "monitoring"
    assert status["last_refocus"]["final_working_distance_mm"] == pytest.approx(9.0, abs=0.002)
    assert paused.returncode == 0
    assert (refused.returncode, refused.stderr) == (1, "focusd: focusd is paused: maintenance\n")
    assert second.returncode == 75
    assert second.stderr.startswith(f"focusd: another focusd (pid {daemon.pid}) ")
    assert daemon.returncode == 0
    assert output == ""
    assert "stopped" in log.splitlines()[-1]
    assert "Traceback" not in log
    assert microscope.returncode == 0


def test_a_bad_configuration_ends_with_78(tmp_path: Path) -> None:
    """Each problem is a line; nothing is started."""
    config = tmp_path / "focusd.toml"
    config.write_text("[microscope]\nport = 0\n")

    result = done("run", "-c", config)

    assert result.returncode == 78
    assert [line.split()[1] for line in result.stderr.splitlines()] == [
        "microscope.port",
        "microscope.limits",
    ]
    assert not (tmp_path / "state").exists()


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    """The setting to change is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = done("run", "-c", write_config(tmp_path, http_port=port))

    assert result.returncode == 1
    assert result.stderr == (
        f"focusd: cannot listen on http.host = 127.0.0.1, http.port = {port}: Address already in use\n"
    )


def test_a_state_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """A file in the way is named."""
    (tmp_path / "state").write_text("in the way")

    result = done("run", "-c", write_config(tmp_path))

    assert result.returncode == 1
    assert result.stderr.startswith("focusd: ")
    assert str(tmp_path / "state") in result.stderr
    assert result.stderr.count("\n") == 1
