"""A bridge as a process, as a lab runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BRIDGES = Path(__file__).parents[2] / "deploy" / "bridges"


@contextmanager
def bridge_process(*command: str, python: Path | str = sys.executable) -> Iterator[int]:
    """Run a bridge as a process and give its port; told to end, it must end well."""
    child = subprocess.Popen(
        [python, *command, "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert child.stderr is not None
    try:
        line = next(line for line in child.stderr if "listening" in line)
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", line)
        assert found, line
        yield int(found[1])
        child.terminate()
        assert child.wait(10) == 0, child.stderr.read()
    finally:
        child.kill()
        child.wait()
        child.stderr.close()
