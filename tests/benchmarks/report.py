"""What a benchmark gives: tables, the single trials, and a way to draw them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from tests.benchmarks.tables import Table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one benchmark."""

    name: str
    tables: tuple[Table, ...]
    trials: Sequence[dict[str, Any]]
    draw: Callable[[], Figure]


def trials_of(
    measured: Mapping[Any, Mapping[str, Sequence[DataclassInstance]]],
) -> list[dict[str, Any]]:
    """Give the readings of all turns, by kind of frame and way, as single trials."""
    return [
        {"kind": str(kind), "way": way, **asdict(reading)}
        for kind, readings in measured.items()
        for way, turns in readings.items()
        for reading in turns
    ]
