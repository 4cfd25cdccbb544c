"""What the guest is given: wheels of focusd, files that its instructions name, microscopes, questions."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from tests.system import manual
from tests.system.machine import NEEDS

ROOT = Path(__file__).parents[2]
SOURCE = "/srv/focusd"
"""Where focusd's source lies in the guest, as far as the instructions need it."""
NEXT_VERSION = "999.0.0"
START_MM = 9.01
"""Where the lens of a simulated microscope stands at first."""

DWELL_TIME_US = 12.0
CONFIG = f"""
[microscope]
port = {{microscope}}
limits.working_distance_mm = [4.0, 30.0]
timeouts.request_s = 1.0
timeouts.connect_s = 1.0
timeouts.reconnect_max_s = 1.0
timeouts.ping_interval_s = 1.0
[scan]
width = 256
height = 256
dwell_time_us = {DWELL_TIME_US}
trigger = "request"
[baseline]
policy = "manual"
[http]
port = {{http}}
"""
"""A slow microscope, on which nothing happens unasked."""

SIMULATOR = """
[Unit]
Description=A simulated microscope on port %i
[Service]
ExecStart=/opt/focusd/bin/focusd simulate --port %i
"""

LENS = """
import asyncio, sys
from focusd.microscope.link import call, open_link

async def main(port, home_mm):
    async with open_link("127.0.0.1", port, timeout_s=5) as link:
        while True:
            found_mm = (await link.exchange(call("GetWD"), timeout_s=5))["GetWD"].number()
            if home_mm is None or abs(found_mm - home_mm) > 1e-4:
                return found_mm
            await asyncio.sleep(0.01)

home_mm = float(sys.argv[2]) if len(sys.argv) > 2 else None
print(asyncio.run(asyncio.wait_for(main(int(sys.argv[1]), home_mm), 30)))
"""
"""Ask a microscope on a port where its lens stands; with a place given, wait until it stands elsewhere."""

HTTP = """
import http.client, json, sys
method, port, path, token = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
try:
    connection.request(method, path, headers={"Authorization": "Bearer " + token} if token else {})
    answer = connection.getresponse()
    print(json.dumps([answer.status, json.loads(answer.read())]))
except OSError as error:
    print(json.dumps([0, {"detail": str(error)}]))
"""
"""One request; status 0 when nobody answers."""


def lay_out(layer: Path) -> None:
    """Put what the instructions start from into the guest's files."""
    source = layer / SOURCE.removeprefix("/")
    (source / "deploy").mkdir(parents=True)
    shutil.copytree(ROOT / "systemd", source / "systemd")
    shutil.copy(ROOT / "deploy" / "focusd.example.toml", source / "deploy")
    # A fresh virtual environment finds there what focusd needs, as if it had been installed.
    library = layer / f"opt/focusd/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    library.mkdir(parents=True)
    (library / "needs.pth").write_text(f"{NEEDS}\n", encoding="utf-8")
    _build(source / "wheels")
    (wheel,) = (source / "wheels").iterdir()
    (source / "next-wheels").mkdir()
    _relabel(wheel, source / "next-wheels", NEXT_VERSION)


def _build(wheels: Path) -> None:
    """Carry out "Prepare" of the instructions for focusd alone: the rest would need a network."""
    python, *words = shlex.split(manual.blocks("Prepare", "console")[0])
    assert (python, words[-2:]) == ("python3", ["wheels", "."])
    command = [sys.executable, *words[:-2], str(wheels), str(ROOT), "--no-deps", "--quiet"]
    built = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if built.returncode:
        raise RuntimeError(f"the wheel of focusd could not be built: {built.stdout}")


def _relabel(wheel: Path, folder: Path, version: str) -> None:
    """Write the same wheel as of another version."""
    old = wheel.name.split("-")[1]
    with ZipFile(wheel) as before, ZipFile(folder / wheel.name.replace(old, version), "w") as after:
        for name in before.namelist():
            content = before.read(name)
            if name == "focusd/__init__.py" or ".dist-info/" in name:
                content = content.replace(old.encode(), version.encode())
            after.writestr(name.replace(f"focusd-{old}.dist-info", f"focusd-{version}.dist-info"), content)
