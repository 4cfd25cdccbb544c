"""Numbers with units, as microscopes write them into the headers of their images."""

from __future__ import annotations

import math
import re
from decimal import Decimal

_POWERS_OF_TEN = {
    "m": ("length", 0),
    "cm": ("length", -2),
    "mm": ("length", -3),
    "um": ("length", -6),
    "micron": ("length", -6),
    "nm": ("length", -9),
    "angstrom": ("length", -10),
    "a": ("length", -10),
    "pm": ("length", -12),
    "s": ("time", 0),
    "sec": ("time", 0),
    "secs": ("time", 0),
    "ms": ("time", -3),
    "us": ("time", -6),
    "ns": ("time", -9),
    "kv": ("voltage", 3),
    "v": ("voltage", 0),
    "deg": ("angle", 0),
    "degrees": ("angle", 0),
}
"""Units in lower case: no two that meet in one dimension differ by their case alone."""

_SPELLINGS = str.maketrans({"\u00b5": "u", "\u03bc": "u", "\u00c5": "a", "\u212b": "a", "\u00b0": "deg"})
"""Micro sign and mu, both letters for angstrom, the degree sign."""

_NUMBER = re.compile(
    r"\s*([+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,3})?)\s*(\S{0,10})\s*", re.ASCII
)


def quantity(text: str | None, unit: str, *, default_unit: str = "") -> float | None:
    """Give what ``text`` says, e.g. ``"558.2 pm"``, in ``unit``; ``None`` where it says nothing of the kind.

    Args:
        text: A number and a unit, or nothing.
        unit: The unit wanted: ``m cm mm um nm pm s ms us ns kv v deg``.
        default_unit: What a number without a unit is in; without it such a number says nothing.

    Returns:
        A finite number, converted in decimal, so that ``5.012 mm`` stays 5.012.
    """
    match = _NUMBER.fullmatch(text or "")
    if match is None:
        return None
    number, written = match.groups()
    given = _POWERS_OF_TEN.get((written or default_unit).translate(_SPELLINGS).lower())
    dimension, wanted = _POWERS_OF_TEN[unit]
    if given is None or given[0] != dimension:
        return None
    value = float(Decimal(number).scaleb(given[1] - wanted))
    return value if math.isfinite(value) else None


def positive(value: float | None) -> float | None:
    """Give ``value`` if it is above 0: distances, times and voltages that are not are placeholders."""
    return value if value is not None and value > 0.0 else None
