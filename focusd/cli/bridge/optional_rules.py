"""Rules of the methods a bridge may have: whoever says that it has one must have it."""

from __future__ import annotations

from focusd.cli.bridge.bench import Bench, SkippedRuleError, read, refusal, success
from focusd.cli.bridge.talk import BrokenRuleError
from focusd.protocol.bridge_rpc import Params
from focusd.protocol.bridge_values import Fields

_STIGMATOR = ("x_percent", "y_percent")


async def ping(bench: Bench) -> str:
    """Ask for a sign of life."""
    bench.demand_capability("ping")
    told = await bench.ask("ping")
    success(told, "ping")
    return f"{(told.came_at - told.sent_at) * 1e3:.1f} ms"


async def stigmator(bench: Bench) -> str:
    """Set the stigmator to what it is; it must stay so."""
    bench.demand_capability("get_stigmator")
    before = await _stigmator(bench, "get_stigmator", {})
    bench.demand_capability("set_stigmator")
    params = dict(zip(_STIGMATOR, before, strict=True))
    for method, asked in (("set_stigmator", params), ("get_stigmator", {})):
        after = await _stigmator(bench, method, asked)
        if max(abs(new - old) for new, old in zip(after, before, strict=True)) > 0.1:
            raise BrokenRuleError(f"{method} tells {after} %, {before} % was expected")
    return ""


async def auto_contrast(bench: Bench) -> str:
    """Hold automatic contrast and let it go; an answer that tells what it has become must be right."""
    bench.demand_capability("freeze_auto_contrast")
    await _switch(bench, "freeze_auto_contrast", "frozen")
    return ""


async def blanker(bench: Bench) -> str:
    """Blank the beam and let it on again; an answer that tells what it has become must be right."""
    bench.demand_capability("blank_beam")
    await _switch(bench, "blank_beam", "blanked")
    return ""


async def without_capability(bench: Bench) -> str:
    """Ask for a method that the bridge does not say it has: an error, and no silence."""
    capabilities = bench.known().capabilities
    missing = [name for name in ("ping", "get_stigmator") if name not in capabilities]
    if not missing:
        raise SkippedRuleError("the bridge has every method that can be asked for without harm")
    for name in missing:
        refusal(await bench.ask(name), f"{name}, which is not among the capabilities,")
    return ""


async def _stigmator(bench: Bench, method: str, params: Params) -> tuple[float, ...]:
    value = success(await bench.ask(method, params), method)
    return read(lambda value: tuple(Fields(value, method).number(name) for name in _STIGMATOR), value)


async def _switch(bench: Bench, method: str, name: str) -> None:
    for wanted in (True, False):
        value = success(await bench.ask(method, {name: wanted}), method)
        found = read(lambda value: Fields(value, method).optional_bool(name), value)
        if found not in (None, wanted):
            raise BrokenRuleError(f"{method}: {name} must be {wanted}, got {found}")
