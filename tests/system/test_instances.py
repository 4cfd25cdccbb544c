"""Two microscopes, two instances of the template; and the token, by both ways of the instructions."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial

import pytest

from tests.system import manual
from tests.system.machine import Machine, until
from tests.system.parts import CONFIG
from tests.system.rig import ask, clear, is_connected

PORTS = {"east": (8310, 8471), "west": (8320, 8472)}


@pytest.fixture
def instances(guest: Machine) -> Iterator[Machine]:
    """The guest with two microscopes and an instance for each, started as the instructions say."""
    for name, (microscope, http) in PORTS.items():
        guest.write(f"/etc/focusd/{name}.toml", CONFIG.format(microscope=microscope, http=http))
        guest.run("systemctl", "start", f"microscope@{microscope}")
    guest.shell(manual.commands("Several microscopes"))
    yield guest
    guest.run("systemctl", "disable", "--now", "focusd@east", "focusd@west")
    guest.run("systemctl", "stop", "microscope@8310", "microscope@8320")


def test_two_instances_live_side_by_side(instances: Machine) -> None:
    """Each has its own microscope, endpoint, directories; the death of one leaves the other alone."""
    for name, (microscope, http) in PORTS.items():
        until(partial(is_connected, instances, http))
        _, status = ask(instances, "/v1/status", port=http)
        assert status["link"]["address"] == f"127.0.0.1:{microscope}"
        found = instances.run("stat", "--format=%U %a", f"/var/lib/focusd-{name}", f"/run/focusd-{name}")
        assert found.split("\n")[:2] == ["focusd 700", "focusd 750"]
        assert instances.run("ls", f"/var/lib/focusd-{name}").strip()
    west = instances.main_pid("focusd@west")

    instances.kill("focusd@east", signal.SIGKILL)

    until(lambda: instances.show("focusd@east", "NRestarts") == "1")
    until(lambda: is_connected(instances, PORTS["east"][1]))
    assert (instances.main_pid("focusd@west"), instances.show("focusd@west", "NRestarts")) == (west, "0")


def test_a_token_may_be_a_credential_or_a_file(guest: Machine) -> None:
    """Both ways of the instructions keep strangers out, let the token in, and show it to nobody else."""
    credential, file = manual.blocks("Give it a token", "sh")
    (setting,) = manual.blocks("Give it a token", "toml")
    config = CONFIG.format(microscope=8300, http=8470)
    try:
        guest.shell(credential)
        token = guest.run("cat", "/etc/credstore/focusd-http-token").strip()
        assert ask(guest, "/v1/status")[0] == 401
        assert ask(guest, "/v1/status", token=token)[0] == 200
        assert ask(guest, "/v1/status", token=token[::-1])[0] == 401

        guest.run("rm", "-r", "/etc/credstore")
        guest.write("/etc/focusd/focusd.toml", config.replace("[http]", setting))
        guest.shell(file)
        other = guest.run("cat", "/etc/focusd/focusd.token").strip()
        assert ask(guest, "/v1/status", token=token)[0] == 401
        assert ask(guest, "/v1/status", token=other)[0] == 200
        found = guest.run("stat", "--format=%U %a", "/etc/focusd/focusd.token", "/etc/focusd/focusd.toml")
        assert found.split("\n")[:2] == ["focusd 600", "root 640"]
        assert token not in guest.journal("focusd")
        assert other not in guest.journal("focusd")
    finally:
        guest.write("/etc/focusd/focusd.toml", config)
        clear(guest)
