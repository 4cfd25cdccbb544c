"""The options of ``focusd simulate``: what each may hold, and its line in the help."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from focusd.protocol.bridge import DEFAULT_PORT


class Protocol(StrEnum):
    """Wire protocols the simulator speaks."""

    SHARKSEM = "sharksem"
    BRIDGE = "bridge"


DEFAULT_PORTS = {Protocol.SHARKSEM: 8300, Protocol.BRIDGE: DEFAULT_PORT}


class Texture(StrEnum):
    """Procedural specimens."""

    GOLD = "gold"
    FIBRES = "fibres"
    POROUS = "porous"
    NEUROPIL = "neuropil"
    RESIN = "resin"


class Optics(StrEnum):
    """Models of blur."""

    PHYSICAL = "physical"
    SEED = "seed"


def finite(value: float | tuple[float, ...]) -> float | tuple[float, ...]:
    """Refuse ``nan`` and ``inf``, which pass every comparison with a bound."""
    for part in value if isinstance(value, tuple) else (value,):
        if not math.isfinite(part):
            raise typer.BadParameter(f"must be a number, got {part}")
    return value


SERVER, SPECIMEN, COLUMN = "Server", "Specimen", "Column"

Port = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65_534,
        metavar="PORT",
        help="Port, 0: a free one; 8300, or 8460 for bridge, unless given. SharkSEM takes the next one too.",
        rich_help_panel=SERVER,
    ),
]
Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.", rich_help_panel=SERVER)]
Spoken = Annotated[Protocol, typer.Option(help="Protocol to speak.", rich_help_panel=SERVER)]
TimeScale = Annotated[
    float,
    typer.Option(
        min=0.0,
        callback=finite,
        metavar="FACTOR",
        help="Simulated seconds in a real one; 0: nothing takes any time.",
        rich_help_panel=SERVER,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Log the commands it drops, as real ones do in silence.", rich_help_panel=SERVER
    ),
]
OwnerInterval = Annotated[
    float,
    typer.Option(
        min=0.0,
        callback=finite,
        metavar="SECONDS",
        help="With --protocol bridge: its owner takes a tile so often, and clients are told; 0: never.",
        rich_help_panel=SERVER,
    ),
]
OwnerStep = Annotated[
    float,
    typer.Option(
        callback=finite,
        metavar="UM",
        help="How far the owner moves the stage between two tiles.",
        rich_help_panel=SERVER,
    ),
]
Seed = Annotated[
    int, typer.Option(min=0, metavar="N", help="Decides every random number.", rich_help_panel=SPECIMEN)
]
Image = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="An image to scan in place of --specimen.", rich_help_panel=SPECIMEN),
]
SpecimenName = Annotated[Texture, typer.Option(help="What lies under the beam.", rich_help_panel=SPECIMEN)]
Tilt = Annotated[
    tuple[float, float],
    typer.Option(
        metavar="X Y",
        callback=finite,
        help="Rise of the surface along x and y, µm per mm.",
        rich_help_panel=SPECIMEN,
    ),
]
Bumps = Annotated[
    float,
    typer.Option(
        min=0.0, callback=finite, metavar="UM", help="Height of smooth bumps.", rich_help_panel=SPECIMEN
    ),
]
Blank = Annotated[
    float,
    typer.Option(
        min=0.0,
        max=0.95,
        callback=finite,
        metavar="FRACTION",
        help="Share of the area that is empty resin.",
        rich_help_panel=SPECIMEN,
    ),
]
OpticsModel = Annotated[
    Optics,
    typer.Option(
        help="How blur comes about: as in a column, or the published reference model.",
        rich_help_panel=COLUMN,
    ),
]
BestFocus = Annotated[
    float,
    typer.Option(
        min=4.0,
        max=30.0,
        callback=finite,
        metavar="MM",
        help="Working distance that is in focus.",
        rich_help_panel=COLUMN,
    ),
]
StartsAt = Annotated[
    float,
    typer.Option(
        min=4.0,
        max=30.0,
        callback=finite,
        metavar="MM",
        help="Working distance at the start.",
        rich_help_panel=COLUMN,
    ),
]
FocusDrift = Annotated[
    float,
    typer.Option(
        callback=finite, metavar="UM_PER_H", help="How fast focus drifts away.", rich_help_panel=COLUMN
    ),
]
BrightnessDrift = Annotated[
    float,
    typer.Option(
        callback=finite, metavar="PERCENT_PER_H", help="How fast the signal grows.", rich_help_panel=COLUMN
    ),
]
Backlash = Annotated[
    float,
    typer.Option(min=0.0, callback=finite, metavar="UM", help="Play of the lens.", rich_help_panel=COLUMN),
]
