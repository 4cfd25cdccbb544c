"""Upgrade, the way back, and uninstall, as systemd/README.md says them; the last tests in the guest."""

from __future__ import annotations

import pytest

from tests.system import manual
from tests.system.machine import CommandError, Machine, until
from tests.system.parts import CONFIG, DWELL_TIME_US, NEXT_VERSION, SOURCE, START_MM
from tests.system.rig import ask, begin_refocus, is_connected, lens_mm, start

BACK = "--upgrade focusd"


def version(guest: Machine) -> str:
    """Ask the daemon which version it is."""
    status, body = ask(guest, "/v1/status")
    assert status == 200
    return str(body["version"])


def test_an_upgrade_in_the_middle_of_a_refocus_and_the_way_back(guest: Machine) -> None:
    """The new version runs, the lens stands where it stood, and what was learnt is still there."""
    much_slower = CONFIG.replace(f"dwell_time_us = {DWELL_TIME_US}", "dwell_time_us = 100")
    guest.write("/etc/focusd/focusd.toml", much_slower.format(microscope=8300, http=8470))
    start(guest)
    before = version(guest)
    begin_refocus(guest)
    guest.shell("cp next-wheels/* wheels/", folder=SOURCE)

    guest.shell(manual.commands("Upgrade"), folder=SOURCE)

    assert version(guest) == NEXT_VERSION
    assert lens_mm(guest) == pytest.approx(START_MM, abs=1e-9)
    _, refocuses = ask(guest, "/v1/refocuses")
    assert refocuses["refocuses"][0]["result"] == "cancelled"
    until(lambda: is_connected(guest))

    assert BACK in manual.commands("Upgrade")
    guest.shell(manual.commands("Upgrade").replace(BACK, f"focusd=={before}"), folder=SOURCE)

    assert version(guest) == before


def test_nothing_is_left_after_uninstalling(guest: Machine) -> None:
    """No process, unit, file or user of focusd remains."""
    guest.run("systemctl", "enable", "--now", "focusd")

    guest.shell(manual.commands("Uninstall"))

    with pytest.raises(CommandError):
        guest.run("systemctl", "cat", "focusd.service")
    with pytest.raises(CommandError):
        guest.run("id", "focusd")
    searched = ("/etc", "/opt", "/usr/local", "/var", "/run")
    left = guest.shell(f"find {' '.join(searched)} -xdev -name '*focusd*'").split()
    assert left == []
