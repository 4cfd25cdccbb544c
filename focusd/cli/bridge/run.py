"""A conformance run: check one rule after the other, and leave the working distance as it was found."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from focusd.cli.bridge.bench import Bench, SkippedRuleError
from focusd.cli.bridge.rules import RULES, Rule
from focusd.cli.bridge.talk import BrokenRuleError


class Outcome(StrEnum):
    """What became of a rule."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule and what became of it; ``detail`` is the reason, or what was seen."""

    rule: Rule
    outcome: Outcome
    detail: str


LAST = RULES[-1]
"""The rule that tells whether the lens could be put back: checked after it was."""


async def check_rules(bench: Bench) -> AsyncGenerator[Finding, None]:
    """Check every rule and give each finding as it comes.

    However it ends, also when it is broken off, the lens is put back if it was moved.
    """
    try:
        for rule in RULES:
            if rule is LAST:
                await _put_back(bench)
            yield await _checked(rule, bench)
    except BaseException:
        await _put_back(bench)
        raise
    finally:
        await bench.aclose()


async def _checked(rule: Rule, bench: Bench) -> Finding:
    try:
        seen = await rule.check(bench)
    except BrokenRuleError as error:
        return Finding(rule, Outcome.FAIL, str(error))
    except SkippedRuleError as error:
        return Finding(rule, Outcome.SKIP, str(error))
    return Finding(rule, Outcome.PASS, seen)


async def _put_back(bench: Bench) -> None:
    """Put the lens back; the last rule reads whether that worked."""
    with suppress(BrokenRuleError, SkippedRuleError):
        await bench.put_back()
