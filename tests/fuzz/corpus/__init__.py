"""Bytes that led the fuzzer to code it had not seen, and those that once were a fault: a file per target."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable
from pathlib import Path

_HERE = Path(__file__).parent
MAX_BYTES = 48 << 10
"""Of one target in all; the shortest are kept."""


def read(target: str) -> list[bytes]:
    """Give what is kept for a target."""
    path = _HERE / f"{target}.txt"
    return [base64.b64decode(line) for line in path.read_text("ascii").split()] if path.exists() else []


def write(target: str, entries: Iterable[bytes]) -> None:
    """Keep these, shortest first, a line each, as far as there is room."""
    ordered = sorted(set(entries), key=lambda entry: (len(entry), entry))
    sizes = itertools.accumulate(len(entry) for entry in ordered)
    kept = [entry for entry, size in zip(ordered, sizes, strict=True) if entry and size <= MAX_BYTES]
    text = "\n".join(base64.b64encode(entry).decode("ascii") for entry in kept)
    (_HERE / f"{target}.txt").write_text(text + "\n", "ascii")
