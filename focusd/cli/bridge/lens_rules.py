"""Rules of the lens: it goes where it is sent, says where it is, and is not moved by nonsense."""

from __future__ import annotations

from typing import Final

from focusd.cli.bridge.bench import Bench, SkippedRuleError, refusal
from focusd.cli.bridge.talk import BrokenRuleError
from focusd.protocol.bridge_rpc import ErrorCode, Params

UM_PER_MM: Final = 1e3
_CREEP_READINGS: Final = 3

_NONSENSE: tuple[Params, ...] = (
    {},
    {"working_distance_mm": None},
    {"working_distance_mm": "nine"},
    {"working_distance_mm": [9.0]},
    {"working_distance": 9.0},
)


async def nonsense(bench: Bench) -> str:
    """Ask for moves to nowhere; each must be an error, and the lens must stay."""
    _demand_moves(bench)
    before_mm = (await bench.state()).working_distance_mm
    for params in _NONSENSE:
        refusal(await bench.ask_move(params), f"a move with {params}")
    bench.check_reached(before_mm, (await bench.state()).working_distance_mm, "the working distance")
    return ""


async def stay(bench: Bench) -> str:
    """Send the lens to where it is."""
    _demand_moves(bench)
    before_mm = (await bench.state()).working_distance_mm
    bench.check_reached(before_mm, await bench.move(before_mm), "the readback")
    return ""


async def there_and_back(bench: Bench) -> str:
    """Move a step and back; each time readback, state and what was asked for must agree."""
    _demand_moves(bench)
    before_mm = (await bench.state()).working_distance_mm
    target_mm = _target_mm(bench, before_mm)
    for wanted_mm in (target_mm, before_mm):
        bench.check_reached(wanted_mm, await bench.move(wanted_mm), "the readback")
        for _ in range(_CREEP_READINGS):
            now_mm = (await bench.state()).working_distance_mm
            bench.check_reached(wanted_mm, now_mm, "the working distance of get_state after the move")
    return f"{(target_mm - before_mm) * UM_PER_MM:+.1f} µm"


async def out_of_range(bench: Bench) -> str:
    """Ask for moves beyond hello's limits; each must be refused, and the lens must stay."""
    _demand_moves(bench)
    if not bench.options.beyond_limits:
        raise SkippedRuleError("give --beyond-limits if nothing can be hit should the bridge obey")
    before_mm = (await bench.state()).working_distance_mm
    low_mm, high_mm = bench.known().limits_mm
    step_mm = bench.options.step_um / UM_PER_MM
    for wanted_mm in (low_mm - step_mm, high_mm + step_mm):
        told = await bench.ask_move({"working_distance_mm": wanted_mm})
        error = refusal(told, f"a move to {wanted_mm:g} mm")
        if error.kind is not ErrorCode.OUT_OF_RANGE:
            raise BrokenRuleError(f"the code must be {int(ErrorCode.OUT_OF_RANGE)}, got {error.code}")
    bench.check_reached(before_mm, (await bench.state()).working_distance_mm, "the working distance")
    return ""


async def as_found(bench: Bench) -> str:
    """Read where the lens stands after it was put back."""
    if not bench.moved or bench.found_mm is None:
        raise SkippedRuleError("the lens was not moved")
    now_mm = (await bench.state()).working_distance_mm
    bench.check_reached(bench.found_mm, now_mm, "the working distance")
    return f"working distance {now_mm:.6f} mm"


def _demand_moves(bench: Bench) -> None:
    if not bench.options.moves:
        raise SkippedRuleError("--no-moves was given")


def _target_mm(bench: Bench, from_mm: float) -> float:
    """Give a place one step away, within the limits."""
    low_mm, high_mm = bench.known().limits_mm
    step_mm = bench.options.step_um / UM_PER_MM
    for target_mm in (from_mm + step_mm, from_mm - step_mm):
        if low_mm <= target_mm <= high_mm:
            return target_mm
    raise SkippedRuleError(f"the limits leave no room for a step of {bench.options.step_um:g} µm")
