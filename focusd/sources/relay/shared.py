"""What the sessions of a relay share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from focusd.sources.relay.column import ColumnKnowledge
from focusd.sources.relay.events import RelayEvent
from focusd.sources.relay.frames import RelayedFrame
from focusd.sources.relay.gate import Gate
from focusd.sources.relay.lane import Spawn


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """Where the relay listens and leads to, and how long it has patience.

    ``port`` is the control port, 0 for a free one; the data port is the next one.
    """

    upstream_host: str
    upstream_port: int
    host: str = "127.0.0.1"
    port: int = 0
    max_hold_s: float = 300.0
    """The longest that a client's scan waits at the gate."""
    notice_s: float = 3.0
    """How long before that the owner is told that it will start."""
    connect_timeout_s: float = 5.0
    linger_s: float = 2.0
    """How long one side may take to end after the other one did."""


@dataclass(slots=True)
class RelayCounters:
    """What has come about since the relay was started."""

    sessions: int = 0
    frames: int = 0
    scans: int = 0
    scans_held: int = 0
    holds_timed_out: int = 0
    held_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all sessions of a relay share."""

    options: RelayOptions
    gate: Gate
    spawn: Spawn
    on_frame: Callable[[RelayedFrame], None]
    on_event: Callable[[RelayEvent], None]
    is_behind: Callable[[], bool]
    column: ColumnKnowledge = field(default_factory=ColumnKnowledge)
    counters: RelayCounters = field(default_factory=RelayCounters)
