"""The oldest Python at hand, for what must run on the computers of instruments."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

OLDEST = 8
"""Python 3.8."""


@cache
def oldest_python() -> Path:
    """Give the oldest interpreter from 3.8 on that runs here; the present one if there is no other."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for minor in range(OLDEST, sys.version_info.minor):
        found = shutil.which(f"python3.{minor}")
        candidates = [*([Path(found)] if found else []), *versions.glob(f"3.{minor}.*/bin/python")]
        for candidate in candidates:
            if _runs(candidate, minor):
                return candidate
    return Path(sys.executable)


def _runs(python: Path, minor: int) -> bool:
    """Whether it is what its name says; some names are only wrappers."""
    question = "import sys; print(sys.version_info[1])"
    answer = subprocess.run([python, "-c", question], capture_output=True, text=True, check=False)
    return answer.stdout.strip() == str(minor)
