"""Tables of figures, as plain text and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Cell: TypeAlias = str | float | int | None


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table; the first column names the rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def row(self, name: str) -> dict[str, Cell]:
        """Give one row by column name.

        Raises:
            KeyError: there is no such row.
        """
        for row in self.rows:
            if row[0] == name:
                return dict(zip(self.columns, row, strict=True))
        raise KeyError(name)

    def as_text(self) -> str:
        """Columns lined up, numbers to the right."""
        lines = [self.columns, *[tuple(shown(cell) for cell in row) for row in self.rows]]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        body = [
            "  ".join(
                cell.ljust(width) if index == 0 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        rule = "  ".join("-" * width for width in widths)
        return "\n".join([self.title, body[0], rule, *body[1:], *([self.note] if self.note else [])])

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "title": self.title,
            "note": self.note,
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
        }


def shown(cell: Cell) -> str:
    """A cell as text: whole numbers whole, others with three figures, what is missing as a dash."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or cell == round(cell):
        return f"{cell:.0f}"
    return f"{cell:.2f}" if abs(cell) < 10 else f"{cell:.1f}"


def as_text(tables: Iterable[Table]) -> str:
    """All tables, one under the other."""
    return "\n\n".join(table.as_text() for table in tables)


def write_json(path: Path, name: str, tables: Sequence[Table], trials: Sequence[object]) -> None:
    """Write tables and single trials to a file; a number that is none becomes null."""
    content = {"benchmark": name, "tables": [table.as_json() for table in tables], "trials": list(trials)}
    path.write_text(json.dumps(_finite(content), indent=1) + "\n", encoding="utf-8")


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
