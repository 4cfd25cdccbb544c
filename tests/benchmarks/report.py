"""What a benchmark gives: tables, the single trials, and a way to draw them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from tests.benchmarks.tables import Table


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one benchmark."""

    name: str
    tables: tuple[Table, ...]
    trials: Sequence[dict[str, Any]]
    draw: Callable[[], Figure]
