"""``focusd simulate``: what it refuses, and what it tells when it runs."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from focusd.cli import simulate_options as opt
from focusd.simulator import textures
from tests.unit.cli.conftest import Focusd


def test_every_texture_of_the_simulator_can_be_chosen() -> None:
    """The command line, which must not load the simulator to list them, names the same ones."""
    assert [texture.value for texture in opt.Texture] == list(textures.NAMES)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--protocol", "telepathy"),
        ("--specimen", "cheese"),
        ("--optics", "crystal"),
        ("--port", "70000"),
        ("--port", "65535"),
        ("--time-scale", "-1"),
        ("--time-scale", "nan"),
        ("--time-scale", "inf"),
        ("--best-focus", "nan"),
        ("--best-focus", "99"),
        ("--working-distance", "1"),
        ("--tilt", "1", "nan"),
        ("--tilt", "1"),
        ("--focus-drift", "inf"),
        ("--blank", "1"),
        ("--seed", "-1"),
        ("--owner-interval", "nan"),
        ("--owner-interval", "2", "--protocol", "sharksem"),
        ("--owner-step", "inf"),
    ],
)
def test_what_no_microscope_could_be_is_a_usage_error(arguments: tuple[str, ...], focusd: Focusd) -> None:
    """Bad values are named before anything is started."""
    result = focusd("simulate", *arguments)

    assert result.exit_code == 2
    assert arguments[0] in result.stderr


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Give an image to put under the beam: much faster than to draw a specimen."""
    path = tmp_path / "image.png"
    assert cv2.imwrite(str(path), np.random.default_rng(1).integers(0, 255, (256, 256), dtype=np.uint8))
    return path


def test_an_image_that_cannot_be_read_is_one_line(focusd: Focusd, tmp_path: Path) -> None:
    """The file is named, nothing listens."""
    result = focusd("simulate", "--port", 0, "--image", tmp_path / "missing.png")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"focusd: {tmp_path / 'missing.png'}: No such file or directory\n"


def test_a_port_in_use_is_one_line(focusd: Focusd, image: Path) -> None:
    """The address is named, and why it cannot be had."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = focusd("simulate", "--port", port, "--image", image)

    assert result.exit_code == 1
    assert result.stderr == (
        f"focusd: cannot listen on 127.0.0.1 port {port} and the next one: Address already in use\n"
    )


def test_a_bridge_needs_one_port(focusd: Focusd, image: Path) -> None:
    """No word of a next one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = focusd("simulate", "--protocol", "bridge", "--port", port, "--image", image)

    assert result.stderr == f"focusd: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


@pytest.mark.parametrize(
    ("protocol", "line"),
    [
        ("sharksem", r"SharkSEM microscope at 127.0.0.1 port (\d+), images on (\d+)\n"),
        ("bridge", r"microscope with a bridge at 127.0.0.1 port (\d+)\n"),
    ],
)
def test_it_tells_where_it_listens_and_where_true_focus_is(image: Path, protocol: str, line: str) -> None:
    """A client can connect to the ports it names; SIGTERM ends it with 0."""
    options = ["--port", "0", "--best-focus", "9.02", "--working-distance", "9.005"]
    arguments = ["--protocol", protocol, "--image", str(image), *options]
    with subprocess.Popen(
        [sys.executable, "-m", "focusd", "simulate", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        first, focus, lens, *_ = (child.stdout.readline() for _ in range(5))
        found = re.fullmatch(line, first)
        assert found
        for port in found.groups():
            socket.create_connection(("127.0.0.1", int(port)), timeout=5).close()
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=20)

    assert focus == "true focus 9.0200 mm\n"
    assert lens == "working distance 9.0050 mm (-15.0 µm)\n"
    assert child.returncode == 0


def test_an_owner_takes_tiles_and_whoever_subscribed_is_told(image: Path) -> None:
    """One after the other, the stage a step further each time, until the simulator is ended."""
    options = ["--port", "0", "--image", str(image), "--owner-interval", "0.1", "--owner-step", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "focusd", "simulate", "--protocol", "bridge", *options, "--time-scale", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline().split()[-1])
        line = child.stdout.readline()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            request = b'{"jsonrpc":"2.0","id":1,"method":"subscribe"}'
            client.sendall(len(request).to_bytes(4, "big") + request)
            frames = [told for told in (receive(client) for _ in range(3)) if "method" in told]
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=20)

    x_mm = [told["params"]["state"]["stage_position"]["x_mm"] for told in frames]
    assert line == "a tile every 0.1 s\n"
    assert x_mm[1] - x_mm[0] == pytest.approx(0.002)
    assert [int(told["params"]["frame_id"]) for told in frames[1:]] == [
        int(told["params"]["frame_id"]) + 1 for told in frames[:-1]
    ]
    assert child.returncode == 0


def receive(client: socket.socket) -> dict[str, Any]:
    """Give the header of the next message, its pixels read over."""
    length = int.from_bytes(exactly(client, 4), "big")
    header: dict[str, Any] = json.loads(exactly(client, length))
    exactly(client, (header.get("params") or {}).get("payload_bytes", 0))
    return header


def exactly(client: socket.socket, count: int) -> bytes:
    """Give so many bytes."""
    data = b""
    while len(data) < count:
        piece = client.recv(count - len(data))
        assert piece
        data += piece
    return data
