"""Run inside the sandbox of the unit: try what a daemon that was broken into would try.

What came of each attempt is written down: ``done``, or the name of the error. The answers go to the state
directory, the one place that can be written to. ``test_sandbox`` runs it in the guest.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PUBLIC, PRIVATE, MICROSCOPE = "203.0.113.9", "10.9.8.7", "192.0.2.10"
"""The last one is the microscope's of the instructions."""
_libc = ctypes.CDLL(None, use_errno=True)


def attempt(action: Callable[[], object]) -> str:
    """Do something and say how it ended."""
    try:
        action()
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def write(path: str) -> Callable[[], object]:
    """Make a way to write a file."""
    return lambda: Path(path).write_text("x", encoding="utf-8")


def entries(folder: str) -> Callable[[], list[str]]:
    """Make a way to list a folder."""
    return lambda: [path.name for path in Path(folder).iterdir()]


def call(name: str, *arguments: object) -> Callable[[], None]:
    """Make a way to call the C library, which raises as Python does."""

    def action() -> None:
        ctypes.set_errno(0)
        if getattr(_libc, name)(*arguments) == -1:
            raise OSError(ctypes.get_errno(), name)

    return action


def start_from(folder: str) -> Callable[[], object]:
    """Make a way to start a program that was copied to a folder."""

    def action() -> None:
        program = Path(folder, "true")
        shutil.copy("/bin/true", program)
        subprocess.run([program], check=True)

    return action


def connect(host: str) -> Callable[[], object]:
    """Make a way to open a connection."""
    return lambda: socket.create_connection((host, 9000), timeout=1.0).close()


def make_setuid(state: str) -> None:
    """Give a file of our own the bit that would let others run it as us."""
    path = Path(state, "setuid")
    path.touch()
    path.chmod(0o700 | stat.S_ISUID)


def main(state: str, other: str) -> None:
    """Try everything."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    facts = dict(line.split(":\t", 1) for line in status)
    answers = {
        "write state": attempt(write(f"{state}/x")),
        "write /tmp": attempt(write("/tmp/x")),  # noqa: S108 - its own, made for it
        "write other state": attempt(write(f"{other}/x")),
        "write /etc/focusd": attempt(write("/etc/focusd/x")),
        "write program": attempt(write("/opt/focusd/bin/focusd")),
        "write /usr": attempt(write("/usr/bin/x")),
        "write /var/lib": attempt(write("/var/lib/x")),
        "write /dev": attempt(write("/dev/x")),
        "write kernel": attempt(write("/proc/sys/kernel/hostname")),
        "write group": attempt(write("/sys/fs/cgroup/cgroup.procs")),
        "list /root": attempt(entries("/root")),
        "list /home": attempt(entries("/home")),
        "read /etc/shadow": attempt(lambda: Path("/etc/shadow").read_bytes()),
        "list credstore": attempt(entries("/etc/credstore")),
        "read memory": attempt(lambda: Path("/proc/meminfo").read_bytes()),
        "read log": attempt(lambda: Path("/dev/kmsg").read_bytes()),
        "others' processes": str([name for name in entries("/proc")() if name == "1"]),
        "start from state": attempt(start_from(state)),
        "start from /tmp": attempt(start_from("/tmp")),  # noqa: S108
        "memory to write and run": attempt(lambda: mmap.mmap(-1, 4096, prot=7)),
        "become root": attempt(lambda: os.setuid(0)),
        "setuid bit": attempt(lambda: make_setuid(state)),
        "signal init": attempt(lambda: os.kill(1, 0)),
        "namespace": attempt(call("unshare", CLONE_NEWUSER)),
        "mount": attempt(call("mount", b"none", b"/tmp", b"tmpfs", 0, None)),
        "host name": attempt(lambda: socket.sethostname("mine")),
        "clock": attempt(lambda: time.clock_settime(time.CLOCK_REALTIME, 0.0)),
        "realtime": attempt(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))),
        "personality": attempt(call("personality", 0x0008)),
        "trace": attempt(call("ptrace", 16, os.getppid(), None, None)),
        "raw socket": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()),
        "packet socket": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()),
        "netlink socket": attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()),
        "connect to public": attempt(connect(PUBLIC)),
        "connect to private": attempt(connect(PRIVATE)),
        "connect to microscope": attempt(connect(MICROSCOPE)),
        "connect to itself": attempt(connect("127.0.0.1")),
        "capabilities": facts["CapEff"],
        "bounding set": facts["CapBnd"],
        "no new privileges": facts["NoNewPrivs"],
        "seccomp": facts["Seccomp"],
        "umask": facts["Umask"],
    }
    Path(state, "answers.json").write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
