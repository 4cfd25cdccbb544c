"""``focusd bridge check``: whether a lab's own bridge keeps the rules of the protocol."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from focusd.cli.connection import print_json
from focusd.cli.outcome import ExitCode, plain
from focusd.protocol.bridge import DEFAULT_PORT

if TYPE_CHECKING:
    from focusd.cli.answers import Json
    from focusd.cli.bridge.bench import CheckOptions
    from focusd.cli.bridge.run import Finding

Address = Annotated[
    str, typer.Argument(metavar="HOST[:PORT]", help=f"The bridge; port {DEFAULT_PORT} unless given.")
]
NoMoves = Annotated[bool, typer.Option("--no-moves", help="Do not move the lens.")]
BeyondLimits = Annotated[
    bool,
    typer.Option(
        "--beyond-limits",
        help="Ask also for moves a step beyond the limits, which a bridge must refuse. "
        "Only where nothing can be hit should it obey.",
    ),
]
Step = Annotated[
    float, typer.Option("--step-um", min=0.001, max=1000.0, metavar="UM", help="How far to move the lens.")
]
Tolerance = Annotated[
    float,
    typer.Option("--tolerance-um", min=0.0, max=1000.0, metavar="UM", help="How far a readback may be off."),
]
Side = Annotated[
    int, typer.Option("--side", min=128, max=4096, metavar="PX", help="Width and height of the scans.")
]
Dwell = Annotated[
    float,
    typer.Option("--dwell-us", min=0.01, max=100_000.0, metavar="US", help="Dwell time of the scans."),
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.05, max=600.0, metavar="S", help="How long to wait for an answer.")
]
Frames = Annotated[
    float,
    typer.Option(
        "--frames",
        min=0.0,
        max=3600.0,
        metavar="S",
        help="How long to wait for images of the owner's; have some acquired meanwhile.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]

_COLOURS = {"pass": typer.colors.GREEN, "fail": typer.colors.RED, "skip": typer.colors.YELLOW}


def check(  # noqa: PLR0913 - one argument an option
    address: Address,
    *,
    no_moves: NoMoves = False,
    beyond_limits: BeyondLimits = False,
    step_um: Step = 5.0,
    tolerance_um: Tolerance = 1.0,
    side: Side = 256,
    dwell_us: Dwell = 1.0,
    timeout: Timeout = 5.0,
    frames: Frames = 0.0,
    as_json: AsJson = False,
) -> None:
    """Check whether a bridge keeps the rules of the protocol, one line a rule.

    It moves the lens by a step, scans, and leaves the working distance as
    it was found. The exit code is 0 if no rule is broken, 1 otherwise.

    Example:
      focusd bridge check 192.0.2.20
      focusd bridge check --no-moves --json 192.0.2.20:8460
    """
    import asyncio

    from focusd.cli.bridge.bench import CheckOptions

    for name, value in (
        ("--step-um", step_um),
        ("--tolerance-um", tolerance_um),
        ("--timeout", timeout),
        ("--frames", frames),
    ):
        if not math.isfinite(value):
            raise typer.BadParameter("must be a number", param_hint=name)
    host, port = parse_address(address)
    options = CheckOptions(
        moves=not no_moves,
        beyond_limits=beyond_limits,
        step_um=step_um,
        tolerance_um=tolerance_um,
        side_px=side,
        dwell_time_us=dwell_us,
        timeout_s=timeout,
        frames_s=frames,
    )
    findings = asyncio.run(_run(host, port, options, show=not as_json))
    counts = Counter(finding.outcome.value for finding in findings)
    if as_json:
        print_json(_report(f"{host}:{port}", findings, counts))
    else:
        typer.echo(f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped")
    if counts["fail"]:
        raise typer.Exit(ExitCode.FAILED)


def parse_address(text: str) -> tuple[str, int]:
    """Read ``HOST``, ``HOST:PORT``, or with an IPv6 address ``[HOST]:PORT``.

    Raises:
        typer.BadParameter: it is none of these.
    """
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    bare = host.removeprefix("[").removesuffix("]")
    usable = port.isascii() and port.isdigit() and 0 < int(port) < 65_536
    if not bare or not usable or (":" in bare and bare == host):
        raise typer.BadParameter(f"must be HOST or HOST:PORT, got {text!r}", param_hint="HOST[:PORT]")
    return bare, int(port)


async def _run(host: str, port: int, options: CheckOptions, *, show: bool) -> list[Finding]:
    from contextlib import aclosing

    from focusd.cli.bridge.bench import Bench
    from focusd.cli.bridge.run import check_rules

    findings: list[Finding] = []
    async with aclosing(check_rules(Bench(host, port, options))) as found:
        async for finding in found:
            findings.append(finding)
            if show:
                _show(finding)
    return findings


def _show(finding: Finding) -> None:
    word = typer.style(f"{finding.outcome.upper():<4}", fg=_COLOURS[finding.outcome.value])
    demand = finding.rule.demand
    detail = plain(finding.detail)
    typer.echo(f"{word}  {finding.rule.name:<14}  {demand}" + (f": {detail}" if detail else ""))


def _report(address: str, findings: list[Finding], counts: Counter[str]) -> Json:
    return {
        "address": address,
        "passed": counts["pass"],
        "failed": counts["fail"],
        "skipped": counts["skip"],
        "rules": [
            {
                "name": finding.rule.name,
                "demand": finding.rule.demand,
                "outcome": finding.outcome.value,
                "detail": plain(finding.detail),
            }
            for finding in findings
        ],
    }
