"""``focusd history``: the refocuses a daemon remembers, and why each ended as it did."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from focusd.cli.answers import Json, counted, millimetres, move, number, objects, section, span, text
from focusd.cli.connection import DEFAULT_URL, AsJson, TokenFile, Url, print_json, reach

RefocusId = Annotated[
    int | None, typer.Argument(metavar="[ID]", min=1, help="One refocus, with all its evidence.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=50, metavar="N", help="Refocuses listed.")]
Spectra = Annotated[
    bool, typer.Option("--spectra", help="The power spectra of its scans too, if they were kept.")
]


def history(
    refocus_id: RefocusId = None,
    limit: Limit = 20,
    spectra: Spectra = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List the last refocuses, newest first; or show one with its evidence.

    The evidence is each scan (where, which part, how long, how sharp at each
    scale of detail), where focus was believed to be and how surely, what the
    proof went by, and what it all cost.

    Example:
      focusd history
      focusd history 7 --spectra
    """
    client = reach(url, token_file)
    if refocus_id is None:
        if spectra:
            raise typer.BadParameter("say of which refocus: focusd history ID --spectra")
        page = client.get(f"/v1/refocuses?limit={limit}")
        _show(page, listing(objects(page, "refocuses"), now=time.time()), as_json=as_json)
        return
    path = f"/v1/refocuses/{refocus_id}"
    record = client.get(path)
    kept = client.get(f"{path}/spectra") if spectra else {}
    lines = [*evidence(record), *(("", *rings(objects(kept, "spectra"))) if spectra else ())]
    _show({**record, **kept}, lines, as_json=as_json)


def _show(answer: Json, lines: Iterable[str], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    for line in lines:
        typer.echo(line)


def listing(records: Sequence[Json], *, now: float) -> list[str]:
    """Put refocuses into one line each; ``now`` is seconds since 1970, for the ages."""
    if not records:
        return ["no refocus yet"]
    head = ("id", "age", "because of", "result", "moved", "scans", "dose", "why")
    return _columns([head, *(_row(record, now) for record in records)], left={1, 2, 3, 7})


def _row(record: Json, now: float) -> tuple[str, ...]:
    start_mm, end_mm = (number(record, f"{end}_working_distance_mm") for end in ("start", "final"))
    started_at, dose = number(record, "started_at"), number(record, "dose_frames")
    return (
        text(record, "refocus_id"),
        "" if started_at is None else span(now - started_at),
        text(record, "trigger").replace("_", " "),
        text(record, "result", "running").replace("_", " "),
        move(start_mm, end_mm),
        f"{len(objects(record, 'scans'))}",
        "" if dose is None else f"{dose:.2f}",
        text(record, "reason"),
    )


def evidence(record: Json) -> list[str]:
    """Put all that is known of one refocus into lines."""
    frame_id = text(record, "frame_id")
    asked = text(record, "trigger").replace("_", " ") + (f", frame {frame_id}" if frame_id else "")
    facts = [
        ("because of", asked),
        ("method", f"{text(record, 'method')} by {text(record, 'metric')}"),
        ("condition", text(record, "condition")),
        ("result", _result(record)),
        ("moved", _moved(record)),
        ("focus", _focus(record)),
        ("proof", _proof(record)),
        ("cost", _cost(record)),
    ]
    lines = [f"refocus {text(record, 'refocus_id')}"]
    lines += [f"  {name:<11} {words}" for name, words in facts if words]
    scans = objects(record, "scans")
    if not scans:
        return lines
    return [*lines, "", *_scan_table(scans), "", *_energy_table(scans)]


def _result(record: Json) -> str:
    result = text(record, "result", "still running").replace("_", " ")
    reason = text(record, "reason")
    return f"{result}: {reason}" if reason else result


def _moved(record: Json) -> str:
    start_mm, end_mm = (number(record, f"{end}_working_distance_mm") for end in ("start", "final"))
    if start_mm is None:
        return ""
    return f"{move(start_mm, end_mm) or 'unknown'}, from {millimetres(start_mm)} to {millimetres(end_mm)}"


def _focus(record: Json) -> str:
    focus_mm, sd_um = number(record, "focus_mm"), number(record, "focus_sd_um")
    depth_um = number(record, "depth_of_field_um")
    words = []
    if focus_mm is not None:
        sure = "" if sd_um is None else f" ± {sd_um:.2g} µm"
        words.append(f"believed at {millimetres(focus_mm)}{sure}")
    if depth_um is not None:
        words.append(f"depth of field {depth_um:.3g} µm")
    return ", ".join(words)


def _proof(record: Json) -> str:
    figures = (
        ("sharpness x {:.2f}", "gain"),
        ("z = {:.1f}", "z_score"),
        ("nearer to focus with probability {:.3f}", "probability_nearer"),
        ("lost at the start with probability {:.3f}", "probability_lost"),
    )
    known = [(words, number(record, name)) for words, name in figures]
    return ", ".join(words.format(value) for words, value in known if value is not None)


def _cost(record: Json) -> str:
    dose, beam_s = number(record, "dose_frames"), number(record, "beam_time_s")
    duration_s = number(record, "duration_s")
    words = [
        f"{counted(len(objects(record, 'scans')), 'scan')} of at most {text(record, 'max_scans')}",
        "" if beam_s is None else f"{span(beam_s)} of beam",
        "" if dose is None else f"the dose of {dose:.2f} frames",
        "" if duration_s is None else f"{span(duration_s)} in all",
    ]
    return ", ".join(filter(None, words))


def _scan_table(scans: Sequence[Json]) -> list[str]:
    head = ("scan", "for", "working distance", "moved", "region", "dwell", "sharpness", "±", "S/N", "")
    start_mm = number(scans[0], "working_distance_mm")
    rows = [
        (
            text(scan, "index"),
            text(scan, "role"),
            millimetres(number(scan, "working_distance_mm")),
            move(start_mm, number(scan, "working_distance_mm")),
            _region(section(scan, "region")),
            _figure(scan, "dwell_time_us", "{:g} µs"),
            _figure(scan, "sharpness"),
            _figure(scan, "sharpness_standard_error", "{:.2g}"),
            _figure(scan, "signal_to_noise", "{:.1f}"),
            text(scan, "reason"),
        )
        for scan in scans
    ]
    return _columns([head, *rows], left={1, 9})


def _region(region: Json | None) -> str:
    if region is None:
        return "whole frame"
    return "{} x {} at {}, {}".format(*(text(region, side) for side in ("width", "height", "x", "y")))


def _energy_table(scans: Sequence[Json]) -> list[str]:
    """Energies at each scale, with their standard errors, where the daemon tells them."""
    scales = list(section(scans[0], "energies") or {})
    if not scales:
        return []
    rows = [("scan", *(f"{scale} px" for scale in scales))]
    for scan in scans:
        energies, errors = section(scan, "energies"), section(scan, "energy_standard_errors")
        cells = (
            f"{_figure(energies, scale, '{:.3g}')}±{_figure(errors, scale, '{:.1g}')}" for scale in scales
        )
        rows.append((text(scan, "index"), *cells))
    return ["energy of the detail of each size, and its standard error", *_columns(rows, left=set())]


def rings(spectra: Sequence[Json]) -> list[str]:
    """Put the spectra of scans side by side: a line for each ring, the noise floor below."""
    if not spectra:
        return ["no scan was taken"]
    frequency = _values(spectra[0], "frequency_cycles_per_px")
    powers = [_values(spectrum, "power") for spectrum in spectra]
    head = ("cycles/px", *(f"power, scan {index}" for index in range(len(spectra))))
    rows = [
        (f"{cycles:.4f}", *(f"{power[ring]:.5g}" if ring < len(power) else "" for power in powers))
        for ring, cycles in enumerate(frequency)
    ]
    floor = ("noise floor", *(_figure(spectrum, "corner_power", "{:.5g}") for spectrum in spectra))
    return _columns([head, *rows, floor], left=set())


def _values(body: Json, name: str) -> list[float]:
    values: Any = body.get(name)
    if not isinstance(values, list):
        return []
    return [number({"value": value}, "value") or 0.0 for value in values]


def _figure(body: Json | None, name: str, form: str = "{:.4g}") -> str:
    value = number(body, name)
    return "?" if value is None else form.format(value)


def _columns(rows: Sequence[Sequence[str]], *, left: set[int]) -> list[str]:
    """Align cells under each other, to the right unless the column is in ``left``."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = (
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return lines
