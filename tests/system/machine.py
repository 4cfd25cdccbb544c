"""A real systemd, booted in namespaces beside the running system, on this computer's own files.

Nothing is downloaded and nothing of this computer is changed: what the guest writes goes to memory and is
gone with it. It has its own network, so focusd's ports are free in it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

GUEST = Path(__file__).with_name("guest.sh")
SYSTEMD = Path("/lib/systemd/systemd")
TOOLS = ("ip", "mount", "nsenter", "pivot_root", "setpriv", "unshare")
FLAGS = ("--pid", "--fork", "--kill-child", "--mount", "--cgroup", "--uts", "--ipc", "--net")
HIDDEN = ("/root", "/home", "/run", "/tmp")  # noqa: S108 - what the unit hides from focusd
BOOT_S = 60.0
POLL_S = 0.05
PREFIX = Path("/opt/focusd")
NEEDS = "/usr/local/lib/needs"
"""Where the packages that focusd needs lie in the guest: those of the environment that runs the tests."""


class CommandError(AssertionError):
    """A command in the guest failed."""


def guest_python() -> Path | None:
    """Give a Python for the guest, of this one's version and outside the homes, which the unit hides."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for found in (Path(sys.base_prefix, "bin", name), Path("/usr/bin", name)):
        path, plain = found.resolve(), found.with_name("python3").resolve()
        if path.exists() and plain == path and not str(path).startswith(HIDDEN):
            return found
    return None


def control_groups() -> Path | None:
    """Give where version 2 of the control groups is mounted."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None


def why_not() -> str:
    """Say in one line why no guest can be booted here; empty if it can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    reasons = {
        "systemd's service manager is not installed": SYSTEMD.exists(),
        "only root may boot a guest": os.geteuid() == 0,
        f"there is no {', '.join(missing)}": not missing,
        "control groups of version 2 are not mounted": control_groups() is not None,
        "no Python of this version lies outside the home directories": guest_python() is not None,
    }
    for reason, is_met in reasons.items():
        if not is_met:
            return reason
    if subprocess.run(
        [str(guest_python()), "-c", "import ensurepip, venv"], capture_output=True, check=False
    ).returncode:
        return f"{guest_python()} makes no virtual environments"
    trial = [str(shutil.which("unshare")), *FLAGS, "true"]
    tried = subprocess.run(trial, capture_output=True, text=True, check=False)
    return f"no namespaces can be made: {tried.stderr.strip()}" if tried.returncode else ""


@dataclass(frozen=True, slots=True)
class Machine:
    """A guest that runs.

    Args:
        init: Process id of its systemd, as seen from outside.
        console: What its systemd has said.
    """

    init: int
    console: Path

    def run(self, *command: str, folder: str = "/root", check: bool = True) -> str:
        """Run a command in the guest as root, and give what it printed.

        Raises:
            CommandError: it failed, unless ``check`` is off.
        """
        done = self._enter(folder, command)
        if check and done.returncode:
            last = self._enter("/", ("journalctl", "--lines=20", "--output=cat")).stdout
            raise CommandError(
                f"{shlex.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}\n"
                f"the last of the journal:\n{last}"
            )
        return done.stdout

    def shell(self, script: str, *, folder: str = "/root") -> str:
        """Run lines of a shell, which end at the first that fails, and give what they printed."""
        return self.run("bash", "-euo", "pipefail", "-c", script, folder=folder)

    def write(self, path: str, text: str) -> None:
        """Write a file of the guest, and the folders it lies in."""
        self.shell(f"mkdir -p $(dirname {path}) && cat > {path} <<'END_OF_FILE'\n{text.strip()}\nEND_OF_FILE")

    def python(self, script: str, *arguments: str) -> str:
        """Run a Python script where focusd is installed, as root and outside the unit's sandbox."""
        return self.run(str(PREFIX / "bin/python"), "-c", script, *arguments).strip()

    def bare_python(self, script: str, *arguments: str) -> str:
        """Run a Python script that needs the standard library only, which starts sooner."""
        return self.run(str(PREFIX / "bin/python"), "-I", "-S", "-c", script, *arguments).strip()

    # --- units ---

    def show(self, unit: str, name: str) -> str:
        """Give a property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def main_pid(self, unit: str) -> int:
        """Give the process id of a unit's daemon, inside the guest."""
        return int(self.show(unit, "MainPID"))

    def kill(self, unit: str, sent: signal.Signals) -> None:
        """Send a signal to a unit's daemon, behind systemd's back."""
        self.run("kill", f"-{sent.value}", str(self.main_pid(unit)))

    def drop_in(self, unit: str, text: str) -> None:
        """Put a drop-in beside a unit, as an administrator would; empty takes it away."""
        path = f"/etc/systemd/system/{unit}.d/test.conf"
        if text:
            self.write(path, text)
        else:
            self.run("rm", "-f", path)
        self.run("systemctl", "daemon-reload")

    def events(self, unit: str, name: str = "", *, since: str = "") -> list[dict[str, object]]:
        """Give focusd's log lines from a unit's journal: of one name if given, after a cursor if given."""
        after = [f"--after-cursor={since}"] if since else []
        lines = self.run("journalctl", "--unit", unit, "--output=json", *after).splitlines()
        entries = [json.loads(line) for line in lines]
        messages = [(entry, entry["MESSAGE"]) for entry in entries if isinstance(entry["MESSAGE"], str)]
        events = [
            {**json.loads(text), "PRIORITY": entry["PRIORITY"]} for entry, text in messages if text[:1] == "{"
        ]
        return [event for event in events if name in ("", event["event"])]

    def journal(self, unit: str) -> str:
        """Give all that a unit has written."""
        return self.run("journalctl", "--unit", unit, "--output=cat")

    def cursor(self) -> str:
        """Give the journal's present end."""
        last = self.run("journalctl", "--lines=1", "--output=json")
        return str(json.loads(last)["__CURSOR"])

    def _enter(self, folder: str, command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        path = f"{python_folder()}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        quiet = ("SYSTEMD_COLORS=0", "SYSTEMD_PAGER=")
        clean = ["env", "-i", f"--chdir={folder}", f"PATH={path}", "HOME=/root", "LANG=C.UTF-8", *quiet]
        enter = [str(shutil.which("nsenter")), "--target", str(self.init), "-m", "-u", "-i", "-n", "-p", "-C"]
        return subprocess.run([*enter, *clean, *command], capture_output=True, text=True, check=False)


def until(condition: Callable[[], object], within_s: float = 60.0) -> None:
    """Wait until something has come true."""
    limit = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError(f"not within {within_s:g} s: {condition}")
        time.sleep(POLL_S)


def python_folder() -> Path:
    """Give the folder of the guest's Python, in which it is also ``python3``."""
    python = guest_python()
    assert python is not None
    return python.parent


@contextmanager
def booted(folder: Path, layer: Path) -> Iterator[Machine]:
    """Boot a guest for the length of a ``with`` block.

    Args:
        folder: Scratch.
        layer: Files that lie over this computer's in the guest.
    """
    place = folder / "guest"
    place.mkdir()
    console = folder / "console.log"
    groups = control_groups()
    assert groups is not None
    group = groups / f"focusd-test-{os.getpid()}"
    group.mkdir()
    # The guest ends with its processes, and they end with this one, however it ends.
    script = f'echo $$ > {group}/cgroup.procs && exec setpriv --pdeathsig KILL unshare "$@"'
    guest = ["sh", str(GUEST), str(place), str(layer), sysconfig.get_path("purelib"), NEEDS]
    with console.open("wb") as log:
        outer = subprocess.Popen(
            ["/bin/sh", "-c", script, "sh", *FLAGS, *guest],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _boot(outer, console)
    finally:
        outer.kill()
        outer.wait()
        _remove(group)


def _boot(outer: subprocess.Popen[bytes], console: Path) -> Machine:
    def said() -> str:
        return console.read_text(encoding="utf-8", errors="replace")

    def has_begun() -> bool:
        if outer.poll() is not None:
            raise RuntimeError(f"the guest could not be made: {said()}")
        return "guest: booting" in said()

    until(has_begun, BOOT_S)
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text(encoding="utf-8").split()
    machine = Machine(int(children[0]), console)

    def is_up() -> bool:
        state = machine.run("systemctl", "is-system-running", check=False).strip()
        return state in {"running", "degraded"}

    until(is_up, BOOT_S)
    return machine


def _remove(group: Path) -> None:
    """Remove the guest's control groups, once the last of its processes has gone."""

    def is_removed() -> bool:
        with suppress(OSError):
            for folder, _, _ in os.walk(group, topdown=False):
                Path(folder).rmdir()
        return not group.exists()

    until(is_removed)
