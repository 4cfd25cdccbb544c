"""``focusd score``: how sharp image files are, by the metrics that focusd judges frames with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from focusd.cli.connection import print_json
from focusd.cli.outcome import ExitCode, complain, plain
from focusd.errors import ImageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from focusd.cli.answers import Json
    from focusd.focus.measure import Measurement
    from focusd.focus.spectrum import Score
    from focusd.frame import ScanRegion
    from focusd.imagefile.metadata import ImageMetadata

PIPE_WIDTH = 200
"""Columns of a table that goes into a pipe or a file, at least."""

Files = Annotated[
    list[Path] | None, typer.Argument(metavar="FILE...", help="The images.", show_default=False)
]
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--metric", "-m", metavar="NAME", help="Only this metric; may be given again.", show_default=False
    ),
]
Part = Annotated[
    str | None,
    typer.Option(
        "--region", metavar="X,Y,W,H", help="Only this part, in pixels from the top left.", show_default=False
    ),
]
HighPass = Annotated[
    float | None,
    typer.Option(
        "--high-pass",
        metavar="PX",
        help="Subtract a Gaussian blur of this sigma before the classic metrics.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with the standard error of each score.")]
List = Annotated[bool, typer.Option("--list", help="Say which metrics there are and what each is good for.")]


@dataclass(frozen=True, slots=True)
class Scored:
    """One image file and what was found of it; ``error`` says why it was not scored."""

    file: Path
    dtype: str = ""
    measurement: Measurement | None = None
    metadata: ImageMetadata | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class How:
    """By what metrics images are scored, and what of them."""

    names: list[str]
    region: ScanRegion | None
    high_pass_px: float | None


def score(
    files: Files = None,
    names: Names = None,
    region: Part = None,
    high_pass: HighPass = None,
    as_json: AsJson = False,
    list_metrics: List = False,
) -> None:
    """Score how sharp images are.

    Scores rise towards focus. Compare them only between images taken under
    the same conditions: working distance and pixel size are shown where the
    microscope has written them into the file, and with --json whatever else
    it has. A file that cannot be read is named, the others are scored all
    the same, and the exit code is 1.

    Example:
      focusd score before.tif after.tif
      focusd score --metric band_ratio --json tiles/*.png
      focusd score --region 256,256,512,512 --high-pass 8 tile.png
      focusd score --list
    """
    if list_metrics:
        _console().print(_registry())
        return
    if not files:
        raise typer.BadParameter("give at least one image, or --list", param_hint="FILE...")
    wanted = _known(names)
    how = How(wanted, _region(region), _positive(high_pass))
    scored = [_scored(file, how) for file in files]
    for item in scored:
        if item.error:
            complain(item.error)
    if as_json:
        print_json([_as_json(item, wanted) for item in scored])
    else:
        _show([item for item in scored if not item.error], wanted)
    if any(item.error for item in scored):
        raise typer.Exit(ExitCode.FAILED)


def _known(names: Sequence[str] | None) -> list[str]:
    from focusd.focus.metrics import METRICS

    unknown = [name for name in names or () if name not in METRICS]
    if unknown:
        raise typer.BadParameter(
            f"there is no metric {unknown[0]!r}; known are {', '.join(METRICS)}", param_hint="--metric"
        )
    return list(dict.fromkeys(names or METRICS))


def _region(text: str | None) -> ScanRegion | None:
    from focusd.frame import MIN_SIDE_PX, ScanRegion

    if text is None:
        return None
    words = text.split(",")
    numbers = [int(word) for word in words if word.strip().isdecimal()]
    if len(numbers) != 4 or len(words) != 4 or min(numbers[2:]) < MIN_SIDE_PX:
        raise typer.BadParameter(
            f"must be X,Y,W,H: four whole numbers, W and H at least {MIN_SIDE_PX}; got {text!r}",
            param_hint="--region",
        )
    return ScanRegion(*numbers)


def _positive(high_pass_px: float | None) -> float | None:
    if high_pass_px is not None and not (high_pass_px > 0.0 and math.isfinite(high_pass_px)):
        raise typer.BadParameter(f"must be above 0, got {high_pass_px:g}", param_hint="--high-pass")
    return high_pass_px


def _scored(file: Path, how: How) -> Scored:
    from focusd.focus.measure import measure
    from focusd.imagefile.files import read_image_file

    try:
        image = read_image_file(file)
        measurement = measure(image.pixels, how.names, region=how.region, high_pass_px=how.high_pass_px)
        return Scored(file, str(image.pixels.dtype), measurement, image.metadata)
    except (ImageError, ValueError) as error:
        # A region or filter that fits one file may be too large for another.
        why = str(error)
        return Scored(file, error=why if str(file) in why else f"{file}: {why}")


def _as_json(item: Scored, names: Sequence[str]) -> Json:
    if item.measurement is None:
        return {"file": str(item.file), "error": plain(item.error)}
    quality = item.measurement.quality
    return {
        "file": str(item.file),
        "shape": list(item.measurement.shape),
        "dtype": item.dtype,
        "judgeable": quality.judgeable,
        "reason": quality.reason,
        "signal_to_noise": _finite(quality.signal_to_noise),
        "saturated_fraction": quality.saturated_fraction,
        "scores": {name: _score_as_json(item.measurement.scores[name]) for name in names},
        "metadata": _metadata_as_json(item.metadata),
    }


def _metadata_as_json(metadata: ImageMetadata | None) -> Json:
    """Give what the file tells of the microscope, without what it does not tell."""
    told = {} if metadata is None else asdict(metadata, dict_factory=_told)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in told.items()}


def _told(items: list[tuple[str, Any]]) -> Json:
    return {name: value for name, value in items if value not in (None, "", ())}


def _score_as_json(score: Score) -> Json:
    return {"value": _finite(score.value), "standard_error": _finite(score.standard_error)}


def _finite(value: float) -> float | None:
    """JSON has no word for what is not finite."""
    return value if math.isfinite(value) else None


def _show(scored: Sequence[Scored], names: Sequence[str]) -> None:
    if not scored:
        return
    console, table = _console(), _table(scored, names)
    unbounded = console.options.update(width=10_000)
    if console.measure(table, options=unbounded).maximum <= console.width:
        console.print(table)
        return
    # Too wide for this terminal: one line a metric in place of one column a metric.
    for item in scored:
        file, shape, dtype, *values, verdict = _cells(item, names)
        words = filter(None, (shape, dtype, _microscope(item), f"judgeable: {verdict}"))
        typer.echo(f"{file}: {', '.join(words)}")
        for name, value in zip(names, values, strict=True):
            typer.echo(f"  {name:<22}{value:>12}")


def _table(scored: Sequence[Scored], names: Sequence[str]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("file", overflow="fold")
    table.add_column("rows x columns", justify="right")
    table.add_column("dtype")
    told = any(map(_microscope, scored))
    if told:
        table.add_column("microscope")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    table.add_column("judgeable")
    for item in scored:
        file, shape, dtype, *rest = _cells(item, names)
        microscope = [_microscope(item)] if told else []
        table.add_row(*map(Text, (file, shape, dtype, *microscope, *rest)))
    return table


def _microscope(item: Scored) -> str:
    """Give what of the file's metadata decides whether two images may be compared."""
    if item.metadata is None:
        return ""
    wd, pixel = item.metadata.working_distance_mm, item.metadata.pixel_size_nm
    return ", ".join(
        ([] if wd is None else [f"WD {wd:.6g} mm"]) + ([] if pixel is None else [f"{pixel:.4g} nm/px"])
    )


def _cells(item: Scored, names: Sequence[str]) -> list[str]:
    if item.measurement is None:
        return [plain(item.file), "", "", *("" for _ in names), item.error]
    rows, columns = item.measurement.shape
    quality = item.measurement.quality
    values = (f"{item.measurement.scores[name].value:.4g}" for name in names)
    verdict = "yes" if quality.judgeable else f"no: {quality.reason}"
    return [plain(item.file), f"{rows} x {columns}", item.dtype, *values, verdict]


def _registry() -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from focusd.focus.metrics import METRICS

    table = Table("metric", "what it measures", "good for", box=SIMPLE_HEAD, pad_edge=False)
    for metric in METRICS.values():
        table.add_row(metric.name, metric.summary, metric.good_for)
    return table


def _console() -> Console:
    """A console that gives a pipe all the width it wants."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=max(console.width, PIPE_WIDTH))
