"""Read what a daemon answered, without trusting its shape, and put it into words."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from focusd.cli.outcome import plain

Json: TypeAlias = dict[str, Any]

_SPANS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def section(body: Json | None, name: str) -> Json | None:
    """Give the object under a name, or ``None``."""
    value = (body or {}).get(name)
    return value if isinstance(value, dict) else None


def objects(body: Json | None, name: str) -> list[Json]:
    """Give the objects in the list under a name; none if there is no list."""
    value = (body or {}).get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def number(body: Json | None, name: str) -> float | None:
    """Give the finite number under a name, or ``None``."""
    value = (body or {}).get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        return None
    return float(value) if math.isfinite(value) else None


def text(body: Json | None, name: str, default: str = "") -> str:
    """Give what stands under a name as text fit for a terminal; the default for null and for nothing."""
    value = (body or {}).get(name)
    return default if value is None else plain(value)


def span(seconds: float) -> str:
    """Put a length of time into words with two units at most, e.g. ``2 h 3 min``."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    left = round(seconds)
    words: list[str] = []
    for size, name in _SPANS:
        count, left = divmod(left, size)
        if count or words:
            words.append(f"{count} {name}")
        if len(words) == 2:
            break
    return " ".join(word for word in words if not word.startswith("0 "))


def millimetres(value: float | None) -> str:
    """Put a working distance into words, to a tenth of a micrometre."""
    return "unknown" if value is None else f"{value:.4f} mm"


def move(start_mm: float | None, end_mm: float | None) -> str:
    """Put a change of working distance into words, e.g. ``+3.2 µm``; nothing if an end is unknown."""
    if start_mm is None or end_mm is None:
        return ""
    return f"{(end_mm - start_mm) * 1000:+.1f} µm"


def counted(count: float | None, one: str, many: str | None = None) -> str:
    """Put a count into words, e.g. ``1 scan``, ``2 scans``."""
    whole = 0 if count is None else round(count)
    return f"{whole} {one if whole == 1 else many or one + 's'}"
