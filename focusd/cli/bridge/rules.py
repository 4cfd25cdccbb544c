"""The rules of the bridge protocol, in the order they are checked: one literal table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from focusd.cli.bridge import frame_rules, lens_rules, optional_rules, scan_rules, wire_rules
from focusd.cli.bridge.bench import Bench


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: What it is called in the report.
        demand: What a bridge must do.
        check: Gives what was seen, in few words; raises ``BrokenRuleError`` or ``SkippedRuleError``.
    """

    name: str
    demand: str
    check: Callable[[Bench], Awaitable[str]]


RULES: tuple[Rule, ...] = (
    Rule("hello", "hello tells protocol 1 and limits.working_distance_mm [low, high]", wire_rules.hello),
    Rule("unknown-keys", "keys that are not known are ignored", wire_rules.unknown_keys),
    Rule("state", "get_state tells a working distance within the limits", wire_rules.state),
    Rule("ids", "an answer has the id of its request, number or text", wire_rules.ids),
    Rule("unknown-method", "an unknown method is answered with -32601", wire_rules.unknown_method),
    Rule("pieces", "a request may come byte by byte", wire_rules.pieces),
    Rule("together", "requests that come together are both answered", wire_rules.together),
    Rule("no-message", "what is no message is answered with an error or the end", wire_rules.no_message),
    Rule("cut-off", "a client that breaks off does no harm to the next", wire_rules.cut_off),
    Rule("nonsense", "a move to what is no number is an error, the lens stays", lens_rules.nonsense),
    Rule("stay", "a move to where the lens is leaves it there", lens_rules.stay),
    Rule("move", "a move is answered with the readback when settled", lens_rules.there_and_back),
    Rule("out-of-range", "a move beyond the limits is answered with -32002", lens_rules.out_of_range),
    Rule("scan", "scan gives an image with its shape, dtype, times and state", scan_rules.image),
    Rule("not-square", "shape is [rows, columns], rows are the height", scan_rules.not_square),
    Rule("region", "region restricts the image to a part of the field", scan_rules.region),
    Rule("region-outside", "a region beyond the field is an error", scan_rules.region_outside),
    Rule("fresh", "a scan is begun after it was asked for", scan_rules.fresh),
    Rule("averaging", "frames averages", scan_rules.averaging),
    Rule("ping", "ping is answered", optional_rules.ping),
    Rule("stigmator", "the stigmator stays where it is set", optional_rules.stigmator),
    Rule("auto-contrast", "freeze_auto_contrast holds and lets go", optional_rules.auto_contrast),
    Rule("blanker", "blank_beam blanks and lets on", optional_rules.blanker),
    Rule("subscribe", "subscribe is answered; a client's scan is no frame", frame_rules.subscription),
    Rule("frames", "frames are whole images, each with its id and times", frame_rules.frames),
    Rule("capabilities", "a method not among them is an error", optional_rules.without_capability),
    Rule("quiet", "no answer comes that nobody asked for", wire_rules.quiet),
    Rule("as-found", "the lens can be put back where it was found", lens_rules.as_found),
)
