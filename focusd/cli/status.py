"""``focusd status``: one screen that says how the microscope is doing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from focusd.cli.answers import counted, millimetres, move, number, objects, section, span, text
from focusd.cli.connection import DEFAULT_URL, AsJson, TokenFile, Url, print_json, reach

if TYPE_CHECKING:
    from rich.console import RenderableType

    from focusd.cli.answers import Json

STATE_STYLES = {
    "monitoring": "bold white on green",
    "learning": "bold white on blue",
    "suspect": "bold black on yellow",
    "pending": "bold black on yellow",
    "refocusing": "bold white on blue",
    "degraded": "bold white on red",
    "disconnected": "bold white on red",
    "paused": "bold black on white",
}


def status(url: Url = DEFAULT_URL, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Show what a running focusd does and how sharp the pictures are.

    Example:
      focusd status
      focusd status --json --url http://127.0.0.1:8470
    """
    snapshot = reach(url, token_file).get("/v1/status")
    if as_json:
        print_json(snapshot)
        return
    from rich.console import Console

    Console(highlight=False).print(screen(snapshot, url, now=time.time()))


def screen(snapshot: Json, url: str, *, now: float) -> RenderableType:
    """Lay out a status snapshot; ``now`` is seconds since 1970, for the ages."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    state = text(snapshot, "state", "unknown")
    banner = Text(f"  {state.upper().replace('_', ' ')}  ", style=STATE_STYLES.get(state, "bold reverse"))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    for name, words in lines(snapshot, now=now):
        facts.add_row(name, Text(words))
    title = Text(f"focusd {text(snapshot, 'version')} at {url}")
    return Panel(Group(Text(), banner, Text(), facts), title=title, title_align="left", padding=(0, 2))


def lines(snapshot: Json, *, now: float) -> list[tuple[str, str]]:
    """Put a snapshot into words: one fact a line, with its name; what is not known is left out."""
    facts = [
        ("because", text(snapshot, "reason")),
        ("microscope", _microscope(snapshot, now)),
        ("working distance", _working_distance(snapshot)),
        ("folder", _folder(section(snapshot, "folder"))),
        ("relay", _relay(section(snapshot, "relay"))),
        ("stream", _stream(section(snapshot, "stream"))),
        ("scan leases", _leases(snapshot)),
        ("last frame", _frame(section(snapshot, "last_verdict"), now)),
        ("baseline", _baseline(section(snapshot, "baseline"), section(snapshot, "last_verdict"), now)),
        ("refocus wanted", _pending(section(snapshot, "pending_refocus"))),
        ("refocus now", _running(section(snapshot, "current_refocus"))),
        ("last refocus", _refocus(section(snapshot, "last_refocus"), now)),
        ("counted", _counters(section(snapshot, "counters"))),
        ("running for", _age(number(snapshot, "started_at"), now)),
    ]
    return [(name, words) for name, words in facts if words]


def _microscope(snapshot: Json, now: float) -> str:
    link, identity = section(snapshot, "link"), section(snapshot, "microscope")
    name = " ".join(filter(None, (text(identity, "vendor"), text(identity, "model"))))
    connected = (link or {}).get("connected") is True
    state = "connected" if connected else "not connected"
    age = _age(number(link, "since"), now)
    words = [
        f"{name} at {text(link, 'address')}".strip(),
        f"{state}{f' for {age}' if age else ''}",
    ]
    round_trip_s = number(link, "round_trip_s")
    if connected and text(link, "state") == "unresponsive":
        words.append("does not answer for now")
    elif connected and round_trip_s is not None:
        words.append(f"answers in {round_trip_s * 1000:.1f} ms")
    reconnects = number(link, "reconnects")
    if reconnects:
        words.append(counted(reconnects, "reconnect"))
    return ", ".join(words)


def _relay(relay: Json | None) -> str:
    if relay is None:
        return ""
    scanning = ", one of them scans" if relay.get("is_scanning") is True else ""
    words = [
        f"{text(relay, 'address')}: {counted(number(relay, 'clients'), 'client')}{scanning}",
        f"{counted(number(relay, 'frames'), 'frame')} passed",
    ]
    for name, what in (
        ("frames_dropped", "not judged"),
        ("holds_timed_out", "let through before focus was back"),
    ):
        if number(relay, name):
            words.append(f"{number(relay, name) or 0:.0f} {what}")
    return ", ".join(words)


def _stream(stream: Json | None) -> str:
    if stream is None:
        return ""
    words = ["subscribed" if stream.get("is_subscribed") is True else "not subscribed"]
    words.append(f"{counted(number(stream, 'frames'), 'frame')} came")
    for name, what in (
        ("frames_waiting", "waiting"),
        ("frames_dropped", "dropped: they come faster than they are judged"),
        ("frames_set_aside", "set aside: focusd moved or scanned meanwhile"),
        ("frames_missing", "missing"),
        ("frames_repeated", "repeated"),
        ("frames_refused", f"refused ({text(stream, 'last_refused')})"),
    ):
        if number(stream, name):
            words.append(f"{number(stream, name) or 0:.0f} {what}")
    if text(stream, "store_error"):
        words.append(f"verdicts cannot be kept ({text(stream, 'store_error')})")
    return ", ".join(words)


def _leases(snapshot: Json) -> str:
    leases = snapshot.get("scan_leases")
    held = [lease for lease in leases if isinstance(lease, dict)] if isinstance(leases, list) else []
    return ", ".join(
        f"{text(lease, 'holder')} for {number(lease, 'expires_in_s') or 0:.0f} s more" for lease in held
    )


def _pending(pending: Json | None) -> str:
    if pending is None:
        return ""
    waits_for = text(pending, "waits_for").replace("_", " ")
    because, frame = text(pending, "trigger").replace("_", " "), number(pending, "frame_id") or 0
    return f"because of {because} at frame {frame:.0f}, waits for {waits_for}"


def _folder(folder: Json | None) -> str:
    if folder is None:
        return ""
    state, reason = text(folder, "state").replace("_", " "), text(folder, "reason")
    words = [
        f"{text(folder, 'path')}: {state}{f' ({reason})' if reason else ''}",
        f"{counted(number(folder, 'files_judged'), 'file')} judged",
        f"{number(folder, 'files_waiting') or 0:.0f} waiting",
    ]
    refused = section(folder, "last_refused")
    if refused is not None:
        last = f"{text(refused, 'path').rpartition('/')[2]} {text(refused, 'reason')}"
        words.append(f"{number(folder, 'files_refused') or 0:.0f} refused, last {last}")
    return ", ".join([*words, *filter(None, [text(folder, "store_error")])])


def _working_distance(snapshot: Json) -> str:
    readback_mm = number(section(snapshot, "column"), "working_distance_mm")
    setpoint_mm = number(snapshot, "working_distance_setpoint_mm")
    words = [millimetres(readback_mm)]
    if setpoint_mm is not None:
        words.append(f"set to {millimetres(setpoint_mm)}")
    limits = snapshot.get("limits_mm")
    if isinstance(limits, list) and len(limits) == 2:
        low, high = (number({"limit": limit}, "limit") for limit in limits)
        if low is not None and high is not None:
            words.append(f"limits {low:g} to {high:g} mm")
    return ", ".join(words)


def _frame(verdict: Json | None, now: float) -> str:
    if verdict is None:
        return "none yet"
    age = _age(number(verdict, "acquired_at"), now)
    words = [f"{text(verdict, 'verdict').replace('_', ' ')}{f', {age} ago' if age else ''}"]
    ratio, sharpness = number(verdict, "ratio"), number(verdict, "sharpness")
    if ratio is not None:
        words.append(f"{ratio:.3f} of the baseline")
    if sharpness is not None:
        words.append(f"{text(verdict, 'metric')} {sharpness:.4g}")
    reason = text(verdict, "reason")
    return "; ".join([*words, reason] if reason else words)


def _baseline(baseline: Json | None, verdict: Json | None, now: float) -> str:
    if baseline is None:
        return "none yet"
    metric = text(verdict, "metric")
    sharpness = number(section(baseline, "sharpness"), metric)
    age = _age(number(baseline, "created_at"), now)
    words = [
        f"{metric} {sharpness:.4g}" if sharpness is not None else "",
        f"from {text(baseline, 'source', 'somewhere')}{f', {age} ago' if age else ''}",
        text(baseline, "condition"),
    ]
    return "; ".join(filter(None, words))


def _running(record: Json | None) -> str:
    if record is None:
        return ""
    taken, most = len(objects(record, "scans")), number(record, "max_scans")
    asked_by = text(record, "trigger").replace("_", " ")
    return f"{text(record, 'refocus_id')} because of {asked_by}: scan {taken} of at most {most or 0:.0f}"


def _refocus(record: Json | None, now: float) -> str:
    if record is None:
        return "none yet"
    started_at, duration_s = number(record, "started_at"), number(record, "duration_s") or 0.0
    age = _age(None if started_at is None else started_at + duration_s, now)
    return f"{text(record, 'refocus_id')}{f', {age} ago' if age else ''}: {summary(record)}"


def summary(record: Json) -> str:
    """Put a finished refocus into words: result, move, gain, cost, reason."""
    start_mm, end_mm = (number(record, f"{end}_working_distance_mm") for end in ("start", "final"))
    gain, duration_s = number(record, "gain"), number(record, "duration_s")
    words = [
        text(record, "result", "unfinished").replace("_", " "),
        move(start_mm, end_mm),
        f"sharpness x {gain:.2f}" if gain is not None else "",
        counted(len(objects(record, "scans")), "scan"),
        span(duration_s) if duration_s is not None else "",
    ]
    reason = text(record, "reason")
    return ", ".join(filter(None, words)) + (f" ({reason})" if reason else "")


def _counters(counters: Json | None) -> str:
    if counters is None:
        return ""
    return (
        f"{counted(number(counters, 'frames_judged'), 'frame')} judged, "
        f"{number(counters, 'frames_unjudgeable') or 0:.0f} not judgeable; "
        f"{counted(number(counters, 'refocuses'), 'refocus', 'refocuses')}, "
        f"{number(counters, 'refocuses_failed') or 0:.0f} failed"
    )


def _age(since: float | None, now: float) -> str:
    return "" if since is None else span(now - since)
