"""The instructions of systemd/README.md, as commands to run."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "systemd" / "README.md"
_SECTION = re.compile(r"^##+ (?P<title>.+)\n(?P<text>(?:(?!^##+ ).*\n?)*)", re.MULTILINE)
_BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(title: str) -> str:
    """Give the shell commands under a heading, in their order."""
    return "\n".join(blocks(title, "sh"))


def blocks(title: str, kind: str) -> list[str]:
    """Give the blocks of one kind under a heading.

    Raises:
        LookupError: there are none.
    """
    sections = {
        match["title"]: match["text"] for match in _SECTION.finditer(README.read_text(encoding="utf-8"))
    }
    found = [match["text"] for match in _BLOCK.finditer(sections.get(title, "")) if match["kind"] == kind]
    if not found:
        raise LookupError(f"{README} has no {kind} block under {title!r}")
    return found
