"""What SharkSEM tells, in focusd's units and types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from focusd.errors import RemoteProtocolError
from focusd.frame import StagePosition
from focusd.microscope.link import Answer
from focusd.protocol.sharksem_body import parse_float

NM_PER_MM: Final = 1e6
UM_PER_MM: Final = 1e3
NS_PER_US: Final = 1e3
V_PER_KV: Final = 1e3

LONGEST_TEXT: Final = 256


def printable(text: str) -> str:
    """Give foreign text fit for a log line: printable characters, at most 256."""
    return "".join(character for character in text[:LONGEST_TEXT] if character.isprintable()).strip()


def number_or_none(answer: Answer | None, *, times: float = 1.0, per: float = 1.0) -> float | None:
    """Give the number of an answer that may have stayed out, in other units."""
    return None if answer is None else answer.number() * times / per


def stage_position(answer: Answer | None) -> StagePosition | None:
    """Give the answer to StgGetPosition; a second tilt axis is left out."""
    if answer is None:
        return None
    x_mm, y_mm, z_mm, rotation_deg, tilt_deg = (answer.number(axis) for axis in range(5))
    return StagePosition(x_mm, y_mm, z_mm, rotation_deg, tilt_deg)


def detector_names(entries: Mapping[str, str]) -> dict[int, str]:
    """Give the detectors' names by their numbers, from the map of DtEnumDetectors.

    Entry ``det.N.name`` belongs to ``det.N.detector``, whose value is the number that DtSelect takes.
    """
    names: dict[int, str] = {}
    for key, value in entries.items():
        prefix, _, field = key.rpartition(".")
        number = entries.get(f"{prefix}.detector", "")
        if field == "name" and number.isascii() and number.isdigit() and len(number) < 10:
            names[int(number)] = printable(value)
    return names


def speeds_us(entries: Mapping[str, str]) -> dict[int, float]:
    """Give the dwell times in microseconds by speed index, from the map of ScEnumSpeeds."""
    speeds: dict[int, float] = {}
    for key, value in entries.items():
        parts = key.split(".")
        if len(parts) != 3 or (parts[0], parts[2]) != ("speed", "dwell"):
            continue
        index = parts[1]
        if not (index.isascii() and index.isdigit() and len(index) < 10):
            continue
        try:
            dwell_us = parse_float(value)
        except RemoteProtocolError:
            # An entry that is no number cannot be chosen; the others can.
            continue
        if dwell_us > 0:
            speeds[int(index)] = dwell_us
    return speeds


def nearest_speed(speeds: Mapping[int, float], dwell_time_us: float) -> int | None:
    """Give the index of the speed whose dwell time is nearest by ratio; ``None`` if there is none."""
    if not speeds:
        return None
    return min(speeds, key=lambda index: abs(math.log(speeds[index] / dwell_time_us)))
