"""``focusd bridge check``: addresses, what is printed, and how it ends."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer

from focusd.cli.bridge.command import parse_address
from focusd.cli.bridge.rules import RULES
from tests.unit.cli.conftest import Focusd


@pytest.fixture(scope="module")
def simulated_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a simulated bridge in a process of its own."""
    image = tmp_path_factory.mktemp("image") / "image.png"
    assert cv2.imwrite(str(image), np.random.default_rng(1).integers(0, 255, (256, 256), dtype=np.uint8))
    options = ["--port", "0", "--image", str(image), "--time-scale", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "focusd", "simulate", "--protocol", "bridge", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdout is not None
        found = re.search(r"port (\d+)", child.stdout.readline())
        assert found
        yield int(found.group(1))
        child.terminate()


def test_a_good_bridge_is_told_line_by_line(focusd: Focusd, simulated_port: int) -> None:
    """A line a rule with its demand and what was seen, a count at the end, exit code 0."""
    result = focusd("bridge", "check", f"127.0.0.1:{simulated_port}", "--side", 128)

    *lines, summary = result.stdout.splitlines()
    assert result.exit_code == 0, result.stdout
    assert [line.split()[1] for line in lines] == [rule.name for rule in RULES]
    assert {line.split()[0] for line in lines} == {"PASS", "SKIP"}
    assert lines[0] == (
        "PASS  hello           hello tells protocol 1 and limits.working_distance_mm [low, high]: "
        "focusd simulated microscope 1, 4 to 30 mm"
    )
    assert summary == "25 passed, 0 failed, 3 skipped"


def test_a_good_bridge_is_told_as_json(focusd: Focusd, simulated_port: int) -> None:
    """One object with the counts and each rule."""
    result = focusd(
        "bridge", "check", "--json", "--beyond-limits", "--side", 128, f"127.0.0.1:{simulated_port}"
    )

    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (report["passed"], report["failed"], report["skipped"]) == (26, 0, 2)
    assert report["address"] == f"127.0.0.1:{simulated_port}"
    assert report["rules"][0] == {
        "name": "hello",
        "demand": RULES[0].demand,
        "outcome": "pass",
        "detail": "focusd simulated microscope 1, 4 to 30 mm",
    }


@pytest.mark.parametrize("as_json", [True, False])
def test_no_bridge_is_a_failure(focusd: Focusd, *, as_json: bool) -> None:
    """Exit code 1; the first rule says why, the others are skipped."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    result = focusd("bridge", "check", f"127.0.0.1:{port}", *(["--json"] if as_json else []))

    assert result.exit_code == 1
    if as_json:
        assert json.loads(result.stdout)["failed"] == 1
    else:
        assert result.stdout.startswith("FAIL  hello")
        assert "no connection: Connection refused" in result.stdout.splitlines()[0]
        assert result.stdout.splitlines()[-1] == f"0 passed, 1 failed, {len(RULES) - 1} skipped"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("sem.lab", ("sem.lab", 8460)),
        ("sem.lab:9000", ("sem.lab", 9000)),
        ("192.0.2.20", ("192.0.2.20", 8460)),
        ("[::1]", ("::1", 8460)),
        ("[::1]:9000", ("::1", 9000)),
    ],
)
def test_an_address_may_leave_out_the_port(text: str, address: tuple[str, int]) -> None:
    """An IPv6 address stands in brackets."""
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", ":8460", "sem:port", "sem:0", "sem:65536", "::1", "sem:-1", "sem:²"])
def test_what_is_no_address_is_a_usage_error(text: str) -> None:
    """The text is named."""
    with pytest.raises(typer.BadParameter, match="must be HOST or HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("sem:port",),
        ("sem", "--step-um", "nan"),
        ("sem", "--step-um", "0"),
        ("sem", "--timeout", "inf"),
        ("sem", "--side", "64"),
        (),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(focusd: Focusd, arguments: tuple[str, ...]) -> None:
    """Nothing is connected to."""
    assert focusd("bridge", "check", *arguments).exit_code == 2


def test_the_help_says_what_it_does_to_the_microscope(focusd: Focusd) -> None:
    """That it moves, and that it puts back."""
    result = focusd("bridge", "check", "--help")

    assert "leaves the working distance as" in result.stdout
    assert "--no-moves" in result.stdout


def test_every_demand_fits_a_line() -> None:
    """Names and demands are short, unique and plain."""
    names = [rule.name for rule in RULES]

    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 14
    assert all(len(rule.demand) <= 80 and Path(rule.name).name == rule.name for rule in RULES)
