"""Text out of the headers of images: decoded, and made fit for logs and addresses."""

from __future__ import annotations

MAX_NAME_CHARS = 64


def text_of(data: bytes) -> str:
    """Decode a text tag: UTF-8, or the Western code page of older Windows programs."""
    data = data.rstrip(b"\0")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def name(text: str | None) -> str | None:
    """Give a name as one short printable line, or ``None`` if nothing is left of it."""
    printable = "".join(c for c in text or "" if c.isprintable())
    return printable.strip()[:MAX_NAME_CHARS].strip() or None
