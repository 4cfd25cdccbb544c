"""What the tests of ``focusd bridge check`` share."""

from __future__ import annotations

from contextlib import aclosing

from focusd.cli.bridge.bench import Bench, CheckOptions
from focusd.cli.bridge.run import Finding, Outcome, check_rules

START_MM = 9.0
"""Where the simulated lens stands at first."""


async def run(port: int, options: CheckOptions) -> list[Finding]:
    """Check all rules."""
    async with aclosing(check_rules(Bench("127.0.0.1", port, options))) as findings:
        return [finding async for finding in findings]


def with_outcome(findings: list[Finding], outcome: Outcome) -> dict[str, str]:
    """Give details by rule."""
    return {finding.rule.name: finding.detail for finding in findings if finding.outcome is outcome}


def failures(findings: list[Finding]) -> dict[str, str]:
    """Give what is wrong by broken rule."""
    return with_outcome(findings, Outcome.FAIL)
