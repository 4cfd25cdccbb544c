"""The daemon under a real systemd: start, stop, death, and a configuration that cannot be used."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import pytest

from focusd.service.workers import NICENESS
from tests.system import manual
from tests.system.machine import CommandError, Machine, until
from tests.system.parts import CONFIG, START_MM
from tests.system.rig import MICROSCOPE, ask, begin_refocus, clear, is_connected, lens_mm, start

UNIT = "focusd.service"

SEND_AN_IMAGE = """
import json, urllib.request
import cv2, numpy
noise = numpy.random.default_rng(1).normal(128, 300, (256, 256))
image = cv2.GaussianBlur(noise, (0, 0), 2).clip(0, 255).astype(numpy.uint8)
content = cv2.imencode(".tif", image)[1].tobytes()
url = "http://127.0.0.1:8470/v1/frames?pixel_size_nm=4"
request = urllib.request.Request(url, content, {"Content-Type": "image/tiff"})
with urllib.request.urlopen(request, timeout=20) as answer:
    print(json.dumps([answer.status, json.loads(answer.read())]))
"""


@pytest.fixture
def service(guest: Machine) -> Iterator[Machine]:
    """The guest with the daemon running and connected."""
    start(guest)
    yield guest
    clear(guest)


def test_the_instructions_start_it(guest: Machine) -> None:
    """After the commands of "Start" it listens, is told apart in the journal, and comes back at each boot."""
    guest.shell(manual.commands("Start"))

    assert ask(guest, "/v1/health/live")[0] == 200
    assert guest.show(UNIT, "ActiveState") == "active"
    assert guest.run("systemctl", "is-enabled", "focusd").strip() == "enabled"
    until(lambda: is_connected(guest))
    until(lambda: guest.show(UNIT, "StatusText").startswith("learning"))
    started = guest.events(UNIT, "started")[-1]
    assert started["PRIORITY"] == "6"
    assert "timestamp" not in started
    clear(guest)


def test_it_is_ready_without_a_microscope(guest: Machine) -> None:
    """A microscope that is switched off holds up nothing; it is a warning in the journal."""
    guest.run("systemctl", "stop", MICROSCOPE)
    begun = guest.cursor()

    guest.run("systemctl", "start", "focusd")

    assert ask(guest, "/v1/health/live")[0] == 200
    assert ask(guest, "/v1/health/ready")[0] == 503
    until(lambda: guest.events(UNIT, "link_down", since=begun))
    assert guest.events(UNIT, "link_down", since=begun)[0]["PRIORITY"] == "4"
    until(lambda: guest.show(UNIT, "StatusText").startswith("disconnected: no connection to 127.0.0.1:8300"))
    clear(guest)


def test_all_of_it_works_in_the_sandbox(guest: Machine) -> None:
    """Scan, search, move, prove, decode an image, listen on a socket file: nothing needed is forbidden."""
    config = CONFIG.format(microscope=8300, http=8470)
    guest.write("/etc/focusd/focusd.toml", f'{config}unix_socket = "/run/focusd/focusd.sock"')
    try:
        start(guest)
        status, refocus = ask(guest, "/v1/refocuses?wait=true", "POST")
        assert (status, refocus["result"]) == (200, "refocused")
        status, scan = ask(guest, "/v1/scans", "POST")
        assert (status, scan["verdict"]["reason"]) == (200, None)
        status, judged = json.loads(guest.python(SEND_AN_IMAGE))
        assert (status, judged["verdict"]["reason"]) == (200, None)
        said = guest.run(
            "/opt/focusd/bin/focusd", "status", "--json", "--url", "unix:/run/focusd/focusd.sock"
        )
        assert json.loads(said)["link"]["connected"] is True
        niceness = guest.shell(f"cut -d' ' -f19 /proc/{guest.main_pid(UNIT)}/task/*/stat").split()
        # The tests themselves may have been started behind others.
        assert max(map(int, niceness)) - min(map(int, niceness)) == NICENESS
        assert "not permitted" not in guest.journal(UNIT)
    finally:
        guest.write("/etc/focusd/focusd.toml", config)
        clear(guest)


def test_stopped_in_the_middle_of_a_refocus_it_puts_the_lens_back(service: Machine) -> None:
    """The refocus is ended, the lens is home when systemctl returns, and the stop counts as a success."""
    begin_refocus(service)

    begun = time.monotonic()
    service.run("systemctl", "stop", "focusd")
    took_s = time.monotonic() - begun

    assert lens_mm(service) == pytest.approx(START_MM, abs=1e-9)
    assert service.show(UNIT, "Result") == "success"
    assert service.show(UNIT, "ExecMainStatus") == "0"
    assert service.events(UNIT, "refocus_finished")[-1]["result"] == "cancelled"
    assert took_s < 10


def test_killed_in_the_middle_of_a_refocus_it_comes_back_and_puts_the_lens_back(service: Machine) -> None:
    """After kill -9 systemd starts it again, and before anything else the lens goes home."""
    begin_refocus(service)
    killed = service.cursor()

    service.kill(UNIT, signal.SIGKILL)

    until(lambda: service.events(UNIT, "restore_point_settled", since=killed))
    settled = service.events(UNIT, "restore_point_settled", since=killed)[0]
    assert settled["outcome"] == "put_back"
    assert lens_mm(service) == pytest.approx(START_MM, abs=1e-9)
    assert service.show(UNIT, "NRestarts") == "1"
    until(lambda: is_connected(service))


def test_a_bad_configuration_is_not_tried_again(guest: Machine) -> None:
    """It ends with 78, says why in the journal, and stays ended."""
    guest.write("/etc/focusd/focusd.toml", CONFIG.format(microscope=8300, http=8470) + "pot = 1")
    try:
        with pytest.raises(CommandError):
            guest.run("systemctl", "start", "focusd")

        assert guest.show(UNIT, "ExecMainStatus") == "78"
        assert guest.show(UNIT, "SubState") == "failed"
        assert guest.show(UNIT, "NRestarts") == "0"
        assert "http.pot is not a setting; did you mean port?" in guest.journal(UNIT)
    finally:
        guest.write("/etc/focusd/focusd.toml", CONFIG.format(microscope=8300, http=8470))
        clear(guest)
