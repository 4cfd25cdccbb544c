"""``python -m tests.benchmarks NAME``: run a benchmark, or ``all``, and print its tables."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from tests.benchmarks import (
    detect,
    footprint,
    http_load,
    kernel,
    path,
    refocus,
    relay,
    scale,
    scan,
    soak,
    tables,
    tiles,
    transport,
    world,
)
from tests.benchmarks.report import Report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments say; give the exit code."""
    parsed = _parser().parse_args(arguments)
    # The service writes a line for every scan; here its answers are read, not its log.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    runs: dict[str, Callable[[argparse.Namespace], Report]] = {
        "refocus": _refocus,
        "detect": _detect,
        "scan": _scan,
        "relay": _relay,
        "kernel": _kernel,
        "transport": _transport,
        "path": _path,
        "http": _http,
        "scale": _scale,
        "footprint": _footprint,
        "soak": _soak,
    }
    try:
        for name in runs if parsed.benchmark == "all" else (parsed.benchmark,):
            began = time.monotonic()
            report = runs[name](parsed)
            sys.stdout.write(f"{tables.as_text(report.tables)}\n\n{time.monotonic() - began:.0f} s\n\n")
            _keep(report, parsed)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    benchmarks = parser.add_subparsers(dest="benchmark", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--seed", type=int, default=1, help="decides every random number")
    common.add_argument("--processes", type=int, default=2, help="1 stays in this process")
    common.add_argument("--json", type=Path, metavar="FILE", help="write tables and single trials there")
    common.add_argument("--picture", type=Path, metavar="FILE", help="draw the result there, as PNG")
    common.add_argument("--trials", type=int, help="repeat everything so often")
    common.add_argument("--dose", type=_numbers, help="electrons a pixel, e.g. 20 or 200,20,3")
    contest = benchmarks.add_parser("refocus", parents=[common], help="searches from known starts")
    contest.add_argument("--env", choices=world.ENVIRONMENTS, default="std", help="kind of microscope")
    contest.add_argument("--strategies", type=_words, help="names or their first words, with commas between")
    contest.add_argument("--images", type=_words, help="specimens, with commas between")
    contest.add_argument("--distance", type=_words, help=f"of {', '.join(world.DISTANCES)}")
    tiles_parser = benchmarks.add_parser("detect", parents=[common], help="loss of focus on production tiles")
    tiles_parser.add_argument("--side", type=int, default=256, help="side of a tile in pixels")
    whole = benchmarks.add_parser("scan", parents=[common], help="a whole scan of tiles")
    whole.add_argument("--tiles", type=int, default=20, help="tiles along each side of the block")
    whole.add_argument("--texture", default="neuropil", help="the specimen's texture")
    whole.add_argument("--no-steps", action="store_true", help="leave out the sheer steps of its surface")
    benchmarks.add_parser("kernel", parents=[common], help="what it costs to judge a frame")
    benchmarks.add_parser("relay", parents=[common], help="what the relay costs")
    benchmarks.add_parser("transport", parents=[common], help="how fast frames come in")
    benchmarks.add_parser("path", parents=[common], help="from bytes to a verdict")
    benchmarks.add_parser("http", parents=[common], help="frames and status over HTTP")
    benchmarks.add_parser("scale", parents=[common], help="large frames, long histories, many pollers")
    small = benchmarks.add_parser("footprint", parents=[common], help="start, memory, idle processor time")
    small.add_argument("--frames", type=int, default=10_000, help="judged while memory is watched")
    unattended = benchmarks.add_parser("soak", parents=[common], help="two weeks alone, with faults")
    unattended.add_argument("--days", type=float, default=14.0, help="simulated time")
    unattended.add_argument("--frames", dest="tiles_taken", metavar="FRAMES", type=int, help="in that time")
    benchmarks.add_parser("all", parents=[common], help="all of them, short")
    return parser


def _refocus(parsed: argparse.Namespace) -> Report:
    is_short = parsed.benchmark == "all"
    return refocus.run(
        refocus.RefocusOptions(
            environment="std" if is_short else parsed.env,
            trials=parsed.trials or 1,
            doses=parsed.dose or ((20.0,) if is_short else world.DOSES),
            distances=getattr(parsed, "distance", None) or tuple(world.DISTANCES),
            images=getattr(parsed, "images", None),
            strategies=getattr(parsed, "strategies", None),
            seed=parsed.seed,
            processes=parsed.processes,
        )
    )


def _detect(parsed: argparse.Namespace) -> Report:
    is_short = parsed.benchmark == "all"
    return detect.run(
        detect.DetectOptions(
            side_px=256 if is_short else parsed.side,
            doses=parsed.dose or tiles.DOSES,
            places=40 if is_short else 100,
            rounds=parsed.trials or (2 if is_short else 8),
            seed=parsed.seed,
            processes=parsed.processes,
        )
    )


def _scan(parsed: argparse.Namespace) -> Report:
    is_short = parsed.benchmark == "all"
    return scan.run(
        scan.ScanOptions(
            side=12 if is_short else parsed.tiles,
            dose=parsed.dose[0] if parsed.dose else 20.0,
            texture="neuropil" if is_short else parsed.texture,
            steps=is_short or not parsed.no_steps,
            trials=parsed.trials or 1,
            seed=parsed.seed,
            processes=parsed.processes,
        )
    )


def _relay(parsed: argparse.Namespace) -> Report:
    is_short = parsed.benchmark == "all"
    return relay.run(relay.RelayBenchmarkOptions(rounds=parsed.trials or (4 if is_short else 12)))


def _transport(parsed: argparse.Namespace) -> Report:
    is_short = parsed.benchmark == "all"
    return transport.run(transport.TransportOptions(rounds=parsed.trials or (3 if is_short else 7)))


def _path(parsed: argparse.Namespace) -> Report:
    is_short = parsed.benchmark == "all"
    return path.run(path.PathOptions(rounds=parsed.trials or (2 if is_short else 5)))


def _http(parsed: argparse.Namespace) -> Report:
    is_short = parsed.benchmark == "all"
    return http_load.run(http_load.HttpOptions(rounds=parsed.trials or (2 if is_short else 5)))


def _kernel(parsed: argparse.Namespace) -> Report:
    if parsed.benchmark == "all":
        return kernel.run(kernel.KernelOptions(turns=parsed.trials or 5, large_px=8192, other_px=(512,)))
    return kernel.run(kernel.KernelOptions(turns=parsed.trials or 15))


def _scale(parsed: argparse.Namespace) -> Report:
    is_short = parsed.benchmark == "all"
    short = scale.ScaleOptions(sizes=scale.SIZES[:4], histories=scale.HISTORIES[:3], rounds=5, poll_s=2.0)
    return scale.run(short if is_short else scale.ScaleOptions(rounds=parsed.trials or 15))


def _footprint(parsed: argparse.Namespace) -> Report:
    frames = getattr(parsed, "frames", 1000)
    return footprint.run(footprint.FootprintOptions(starts=parsed.trials or 5, frames=frames))


def _soak(parsed: argparse.Namespace) -> Report:
    if parsed.benchmark == "all":
        return soak.run(soak.SoakOptions(days=0.5, seed=parsed.seed))
    return soak.run(soak.SoakOptions(days=parsed.days, frames=parsed.tiles_taken, seed=parsed.seed))


def _keep(report: Report, parsed: argparse.Namespace) -> None:
    """Write the files that were asked for; with several benchmarks each file name gets its benchmark's."""
    if parsed.json:
        tables.write_json(_named(parsed.json, report.name, parsed), report.name, report.tables, report.trials)
    if parsed.picture:
        report.draw().savefig(_named(parsed.picture, report.name, parsed), format="png", dpi=110)


def _named(path: Path, benchmark: str, parsed: argparse.Namespace) -> Path:
    return path.with_stem(f"{path.stem}-{benchmark}") if parsed.benchmark == "all" else path


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
