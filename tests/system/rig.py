"""Questions to the daemon and to the microscope in the guest."""

from __future__ import annotations

import json
from typing import Any

from tests.system.machine import Machine, until
from tests.system.parts import HTTP, LENS, START_MM

MICROSCOPE = "microscope@8300"
PORT = 8470


def ask(
    guest: Machine, path: str, method: str = "GET", *, port: int = PORT, token: str = ""
) -> tuple[int, dict[str, Any]]:
    """Ask a daemon; give status and answer, status 0 when nobody listens."""
    status, body = json.loads(guest.bare_python(HTTP, method, str(port), path, token))
    return status, body


def is_connected(guest: Machine, port: int = PORT) -> bool:
    """Whether a daemon holds the link to its microscope."""
    status, body = ask(guest, "/v1/status", port=port)
    return status == 200 and body["link"]["connected"] is True


def lens_mm(guest: Machine, microscope: int = 8300) -> float:
    """Ask the microscope, not the daemon, where the lens stands."""
    return float(guest.python(LENS, str(microscope)))


def begin_refocus(guest: Machine) -> None:
    """Start a refocus, and wait until the lens has left its place."""
    status, _ = ask(guest, "/v1/refocuses", "POST")
    assert status == 202
    assert abs(float(guest.python(LENS, "8300", str(START_MM))) - START_MM) > 1e-4


def start(guest: Machine, *, with_fresh_microscope: bool = True) -> None:
    """Start the daemon, by default with a microscope just switched on, and wait for the link."""
    if with_fresh_microscope:
        guest.run("systemctl", "restart", MICROSCOPE)
    guest.run("systemctl", "start", "focusd")
    until(lambda: is_connected(guest))


def clear(guest: Machine) -> None:
    """Stop the daemon and take back what a test has set."""
    guest.run("systemctl", "stop", "focusd")
    guest.drop_in("focusd.service", "")
    guest.run("systemctl", "reset-failed", "focusd", check=False)
