"""What the unit keeps a daemon from that was broken into: tried from inside its real sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import manual
from tests.system.machine import Machine, until
from tests.system.probe import MICROSCOPE, PRIVATE, PUBLIC

UNIT = "focusd@probe.service"
PROBE = Path(__file__).with_name("probe.py")

INSTEAD = """
[Service]
Type=oneshot
WatchdogSec=0
Restart=no
ExecStart=
ExecStart=/opt/focusd/bin/python /opt/probe.py /var/lib/focusd-probe /var/lib/focusd-other
"""
"""The shipped sandbox round another program."""

LISTENER = """
[Service]
ExecStart=/opt/focusd/bin/python -m http.server 9000 --directory /tmp
"""


@pytest.fixture(scope="module")
def probed(guest: Machine) -> Iterator[Machine]:
    """The guest with what a break-in would look for, and somebody to talk to."""
    for address in (PUBLIC, PRIVATE, MICROSCOPE):
        guest.run("ip", "address", "add", f"{address}/32", "dev", "lo")
    guest.write("/etc/systemd/system/listener.service", LISTENER)
    guest.write("/opt/probe.py", PROBE.read_text(encoding="utf-8"))
    guest.shell("mkdir -p /etc/credstore /home/somebody && chmod 700 /etc/credstore")
    guest.shell("install -d -o focusd -m 700 /var/lib/focusd-other")
    guest.run("systemctl", "start", "listener")
    until(lambda: guest.run("bash", "-c", f"exec 3<>/dev/tcp/{PUBLIC}/9000 && echo yes", check=False))
    yield guest
    guest.run("systemctl", "stop", "listener")
    guest.drop_in(UNIT, "")


def probe(guest: Machine, *settings: str) -> dict[str, str]:
    """Run the probe in the unit's sandbox, with a drop-in, and give what each attempt ended with."""
    guest.drop_in(UNIT, "\n".join([INSTEAD, *settings]))
    guest.run("systemctl", "start", UNIT)
    answers: dict[str, str] = json.loads(guest.run("cat", "/var/lib/focusd-probe/answers.json"))
    return answers


@pytest.fixture(scope="module")
def answers(probed: Machine) -> dict[str, str]:
    """What each attempt ended with under the unit as it is shipped."""
    return probe(probed)


def test_it_writes_to_its_state_directory_and_to_nothing_else(answers: dict[str, str]) -> None:
    """Everything else is read-only to it, another instance's state included, which the same user owns."""
    written = {what: how for what, how in answers.items() if what.startswith("write ")}

    assert {what for what, how in written.items() if how == "done"} == {"write state", "write /tmp"}
    assert written["write other state"] == "EROFS"
    assert written["write program"] == "EROFS"


def test_it_sees_nothing_that_is_not_its_own(answers: dict[str, str]) -> None:
    """Homes, secrets, the kernel's log and the processes of others are hidden."""
    assert answers["list /root"] == "EACCES"
    assert answers["list /home"] == "EACCES"
    assert answers["read /etc/shadow"] == "EACCES"
    assert answers["list credstore"] == "EACCES"
    assert answers["read log"] in {"ENOENT", "EPERM"}
    assert answers["read memory"] == "ENOENT"
    assert answers["others' processes"] == "[]"


def test_it_runs_no_program_that_it_could_have_brought(answers: dict[str, str]) -> None:
    """What can be written cannot be run, on disk or in memory."""
    assert answers["start from state"] == "EACCES"
    assert answers["start from /tmp"] == "EACCES"
    assert answers["memory to write and run"] in {"EPERM", "EACCES"}


def test_it_has_no_privileges_and_gets_none(answers: dict[str, str]) -> None:
    """No capability, no way to root, no namespace, no clock, no tracing, no scheduling before others."""
    assert int(answers["capabilities"], 16) == int(answers["bounding set"], 16) == 0
    assert answers["no new privileges"] == "1"
    assert answers["seccomp"] == "2"
    assert answers["umask"] == "0077"
    tried = (
        "become root",
        "setuid bit",
        "namespace",
        "mount",
        "host name",
        "clock",
        "realtime",
        "personality",
        "trace",
        "signal init",
    )
    ended = {what: answers[what] for what in tried}
    assert set(ended.values()) <= {"EPERM", "EACCES", "ESRCH", "EINVAL"}, ended


def test_it_reaches_private_networks_only(answers: dict[str, str]) -> None:
    """A connection to a public address is dropped; raw, packet and netlink sockets cannot be had."""
    assert answers["connect to itself"] == answers["connect to private"] == "done"
    assert answers["connect to public"] in {"timeout", "EPERM"}
    assert answers["connect to microscope"] in {"timeout", "EPERM"}
    assert answers["raw socket"] == "EPERM"
    assert answers["packet socket"] == "EAFNOSUPPORT"
    assert answers["netlink socket"] == "EAFNOSUPPORT"


def test_it_can_be_narrowed_to_the_microscope(probed: Machine) -> None:
    """With the drop-in of the instructions only this computer and that address are left."""
    (drop_in,) = manual.blocks("Fit it to your place", "ini")

    answers = probe(probed, drop_in)

    assert answers["connect to itself"] == answers["connect to microscope"] == "done"
    assert answers["connect to private"] in {"timeout", "EPERM"}
    assert answers["connect to public"] in {"timeout", "EPERM"}
