"""The frozen snapshot that the HTTP endpoint serialises; nothing outside the service reads live objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from focusd.microscope.connection import LinkState
from focusd.microscope.interface import MicroscopeIdentity, MicroscopeState
from focusd.records import Baseline, FrameVerdict, RefocusRecord
from focusd.service.leases import ScanLease
from focusd.service.looplag import LagSummary
from focusd.service.neighbours import RelayStatus
from focusd.service.pending import PendingRefocus
from focusd.sources.folder.status import FolderStatus
from focusd.sources.stream_status import StreamStatus


class DaemonState(StrEnum):
    """What focusd is doing, in one word."""

    DISCONNECTED = "disconnected"
    LEARNING = "learning"
    MONITORING = "monitoring"
    SUSPECT = "suspect"
    PENDING = "pending"
    REFOCUSING = "refocusing"
    DEGRADED = "degraded"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """The connection to the microscope."""

    connected: bool
    address: str
    since: float
    """When it was made or lost, seconds since 1970."""
    error: str | None = None
    reconnects: int = 0
    round_trip_s: float | None = None
    state: LinkState = LinkState.DISCONNECTED
    """``unresponsive`` is still connected: an answer is overdue."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals since the daemon started."""

    frames_judged: int = 0
    frames_unjudgeable: int = 0
    refocuses: int = 0
    refocuses_failed: int = 0
    predicted_moves: int = 0
    """Moves of the lens to a predicted focus."""


@dataclass(frozen=True, slots=True)
class Status:
    """Everything an outsider may know of the daemon, at one moment."""

    state: DaemonState
    version: str
    started_at: float
    updated_at: float
    link: LinkStatus
    limits_mm: tuple[float, float]
    microscope: MicroscopeIdentity | None = None
    column: MicroscopeState | None = None
    working_distance_setpoint_mm: float | None = None
    last_verdict: FrameVerdict | None = None
    baseline: Baseline | None = None
    current_refocus: RefocusRecord | None = None
    last_refocus: RefocusRecord | None = None
    pending_refocus: PendingRefocus | None = None
    """A refocus that is wanted and has not begun."""
    scan_leases: tuple[ScanLease, ...] = ()
    """Those who scan now, for whom the lens is left alone."""
    relay: RelayStatus | None = None
    """The relay and its clients; ``None`` without one."""
    folder: FolderStatus | None = None
    """The watched folder; ``None`` without one."""
    stream: StreamStatus | None = None
    """The frames that the microscope tells of by itself; ``None`` unless they are asked for."""
    event_loop_lag_ms: LagSummary | None = None
    """How late the daemon got to what was due, over the last minute; ``None`` in its first second."""
    reason: str = ""
    """Why it is paused, degraded or disconnected."""
    counters: Counters = field(default_factory=Counters)
