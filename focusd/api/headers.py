"""Request headers that may come once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Headers(Protocol):
    """Request headers: names in any case, several values each."""

    def __contains__(self, name: object, /) -> bool: ...

    def getall(self, name: str, default: tuple[str, ...], /) -> Sequence[str]:
        """Give all values of a header, ``default`` if it is not there."""
        ...


def only(headers: Headers, name: str, *, default: str | None = None) -> str | None:
    """Give the value of a header that may come once; ``None`` if it comes twice."""
    values = headers.getall(name, ())
    if not values:
        return default
    return values[0] if len(values) == 1 else None
