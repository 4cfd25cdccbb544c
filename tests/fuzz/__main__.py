"""``python -m tests.fuzz TARGET [--seconds N] [--keep]``: coverage-guided fuzzing of one reader.

Needs the package ``atheris`` (``pip install atheris``). A fault ends it with a traceback and leaves the bytes
in a file, whose name is printed: put them into the corpus with ``--add FILE``, and mend the reader.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import corpus

MAX_BYTES = 1 << 14
"""Longer inputs are not tried."""


def main() -> int:
    """Run what the arguments say; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", action="store_true", help="put what was found into the corpus")
    parser.add_argument("--add", type=Path, metavar="FILE", help="put a file's bytes into the corpus")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.add is not None:
        corpus.write(parsed.target, [*corpus.read(parsed.target), parsed.add.read_bytes()])
        return 0
    if parsed.folder is not None:
        _fuzz(parsed.target, parsed.folder, parsed.seconds)
    with tempfile.TemporaryDirectory() as folder:
        return _run(parsed.target, Path(folder), parsed.seconds, keep=parsed.keep)


def _run(target: str, folder: Path, seconds: int, *, keep: bool) -> int:
    """Let a process of its own fuzz, which libFuzzer ends, and take what it has found."""
    # Not in the process that fuzzes: there the fuzzer must be the first to import the readers.
    known = importlib.import_module("tests.fuzz.seeds").SEEDS
    if target not in known:
        sys.stderr.write(f"there is no target {target}; there are: {', '.join(known)}\n")
        return 2
    for number, entry in enumerate([*known[target], *corpus.read(target)]):
        (folder / f"{number:06}").write_bytes(entry)
    command = [sys.executable, "-m", "tests.fuzz", target, "--seconds", str(seconds), "--in", str(folder)]
    code = subprocess.run(command, check=False).returncode
    if keep and code == 0:
        corpus.write(target, (path.read_bytes() for path in folder.iterdir()))
    return code


def _fuzz(target: str, folder: Path, seconds: int) -> None:
    try:
        atheris = importlib.import_module("atheris")
    except ModuleNotFoundError:
        sys.exit("fuzzing needs the package atheris: pip install atheris")
    with atheris.instrument_imports(include=["focusd.protocol", "focusd.imagefile"]):
        targets = importlib.import_module("tests.fuzz.targets")
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", "-rss_limit_mb=1024", "-timeout=10"]
    quiet = ["-print_final_stats=1", "-verbosity=0"]
    artifacts = f"-artifact_prefix={os.fspath(Path(tempfile.gettempdir()) / target)}-"
    atheris.Setup([target, *options, *quiet, artifacts, str(folder)], targets.TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
