"""Everything that can look for focus, by name: focusd's own methods, and the peers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from focusd.config import RefocusSettings
from focusd.focus.search import METHODS
from focusd.records import RefocusResult
from tests.benchmarks import drive
from tests.benchmarks.peers import PEERS, Search
from tests.benchmarks.world import OutOfScansError, Scope

OWN = "focusd"
PUBLISHED = "published wide 6"
"""The peer that the goals are set against."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a strategy ended; peers say nothing and do not know what their computing costs."""

    result: RefocusResult | None = None
    reason: str = ""
    cpu_s: float | None = None
    """Processor time of all that focusd did, store and log included, but not of making the images."""


Strategy = Callable[[Scope], Ending]


def own_name(method: str, *, whole_frames: bool = False) -> str:
    """Name of one of focusd's methods as a strategy."""
    return f"{OWN} {method}" + (" full-frame" if whole_frames else "")


def own_default(*, whole_frames: bool = False) -> str:
    """The strategy that focusd uses unless told otherwise."""
    return own_name(RefocusSettings().method, whole_frames=whole_frames)


def strategies() -> Mapping[str, Strategy]:
    """All strategies, focusd's first: each method as it is set by default, and with whole frames."""
    own = {
        own_name(method, whole_frames=whole): _own(method, whole_frames=whole)
        for method in METHODS
        for whole in (False, True)
    }
    return own | {name: _peer(search) for name, search in PEERS.items()}


def chosen(names: Sequence[str] | None) -> list[str]:
    """The names asked for, or all; ``focusd`` and ``published`` stand for all that begin so.

    Raises:
        ValueError: a name is not known.
    """
    known = list(strategies())
    if names is None:
        return known
    unknown = [name for name in names if not any(_matches(name, full) for full in known)]
    if unknown:
        raise ValueError(f"unknown strategy {', '.join(unknown)}; known are {', '.join(known)}")
    return [full for full in known if any(_matches(name, full) for name in names)]


def _matches(name: str, full: str) -> bool:
    return full == name or full.startswith(name + " ")


def _own(method: str, *, whole_frames: bool) -> Strategy:
    def strategy(scope: Scope) -> Ending:
        config = drive.configuration(
            scope,
            method=method,
            focus_region="frame" if whole_frames else "auto",
            keeps_baseline=False,
        )
        with drive.Daemon(scope, config) as daemon:
            began = time.process_time()
            record = daemon.refocus()
            cpu_s = time.process_time() - began - scope.rendering_cpu_s
        return Ending(record.result, record.reason, cpu_s)

    return strategy


def _peer(search: Search) -> Strategy:
    def strategy(scope: Scope) -> Ending:
        try:
            search(scope)
        except OutOfScansError:
            # It ends where it stands; the count of scans tells the story.
            return Ending()
        return Ending()

    return strategy
