"""A small HTTP server that answers as focusd's endpoint does, for the commands that talk to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]

START_MM = 9.0


@dataclass
class Request:
    """What a client asked."""

    method: str
    path: str
    token: str | None
    body: Json | None


def scan(index: int, role: str, working_distance_mm: float, sharpness: float) -> Json:
    """One scan as the endpoint tells it."""
    return {
        "index": index,
        "role": role,
        "working_distance_mm": working_distance_mm,
        "sharpness": sharpness,
        "sharpness_standard_error": 0.01,
        "laplacian_variance": 120.0,
        "signal_to_noise": 8.0,
        "beam_time_s": 0.26,
    }


SCANS = [
    scan(0, "start", START_MM, 1.0),
    scan(1, "search", START_MM + 0.004, 1.5),
    scan(2, "verification", START_MM + 0.003, 2.0),
]


def refocus_record(scans: list[Json], **changes: Any) -> Json:
    """A refocus as the endpoint tells it."""
    return {
        "refocus_id": 7,
        "trigger": "request",
        "method": "brent",
        "metric": "log_energy",
        "condition": "SE-5kV-1us-10nm-512x512-8bit",
        "started_at": 1_800_000_000.0,
        "start_working_distance_mm": START_MM if scans else None,
        "max_scans": 14,
        "frame_id": None,
        "result": None,
        "reason": "",
        "final_working_distance_mm": None,
        "duration_s": None,
        "gain": None,
        "scans": scans,
    } | changes


REFOCUSED = refocus_record(
    SCANS, result="refocused", final_working_distance_mm=START_MM + 0.003, duration_s=4.2, gain=2.0
)
CANCELLED = refocus_record(
    SCANS[:2],
    result="cancelled",
    reason="cancelled on request",
    final_working_distance_mm=START_MM,
    duration_s=2.0,
)
EVIDENCE = refocus_record(
    [
        one
        | {
            "dwell_time_us": 1.0,
            "region": {"x": 128, "y": 128, "width": 256, "height": 256},
            "energies": {"1.4": 3.5, "2": 10.5},
            "energy_standard_errors": {"1.4": 0.02, "2": 0.04},
            "reason": None,
        }
        for one in SCANS
    ],
    trigger="drift",
    frame_id=41,
    result="refocused",
    reason="the picture at the end is sharper",
    final_working_distance_mm=START_MM + 0.003,
    duration_s=4.2,
    beam_time_s=0.78,
    dose_frames=0.75,
    gain=2.0,
    z_score=12.3,
    focus_mm=START_MM + 0.0031,
    focus_sd_um=0.4,
    depth_of_field_um=2.1,
    probability_nearer=0.998,
    probability_lost=0.97,
)
SPECTRA: Json = {
    "refocus_id": 7,
    "spectra": [
        {
            "frequency_cycles_per_px": [0.1, 0.4],
            "power": [90.0 + index, 12.5],
            "modes": [40.0, 300.0],
            "corner_power": 8.25,
        }
        for index in range(3)
    ],
}
STATUS: Json = {
    "state": "monitoring",
    "version": "0.1.0",
    "started_at": 1_800_000_000.0,
    "updated_at": 1_800_000_100.0,
    "link": {
        "state": "connected",
        "connected": True,
        "address": "127.0.0.1:8300",
        "since": 1_800_000_010.0,
        "error": None,
        "reconnects": 2,
        "round_trip_s": 0.0012,
    },
    "limits_mm": [4.0, 30.0],
    "microscope": {"vendor": "TESCAN", "model": "MIRA"},
    "column": {"working_distance_mm": 9.0031},
    "working_distance_setpoint_mm": 9.003,
    "last_verdict": {
        "frame_id": 41,
        "acquired_at": 1_800_000_095.0,
        "verdict": "in_focus",
        "metric": "band_ratio",
        "sharpness": 0.1234,
        "ratio": 0.981,
        "reason": None,
    },
    "baseline": {
        "condition": "SE-5kV-1us-10nm-512x512-8bit",
        "sharpness": {"band_ratio": 0.1258},
        "source": "refocus",
        "created_at": 1_800_000_020.0,
        "frames": 1,
    },
    "current_refocus": None,
    "last_refocus": REFOCUSED,
    "reason": "",
    "counters": {"frames_judged": 40, "frames_unjudgeable": 1, "refocuses": 1, "refocuses_failed": 0},
}


@dataclass
class FakeDaemon:
    """What the fake answers, and what it was asked."""

    url: str = ""
    token: str | None = None
    status: Json = field(default_factory=lambda: dict(STATUS))
    progress: list[Json] = field(default_factory=list)
    """What each look at the refocus shows in turn; the last one stays."""
    history: list[Json] = field(default_factory=list)
    """The refocuses it remembers."""
    problem: Json | None = None
    """Answers everything when set."""
    garbage: bytes | None = None
    """Sent as it is in place of an HTTP answer."""
    hang_ups: int = 0
    """So many of the next looks at the refocus end without an answer, as while a daemon starts again."""
    cancels_slowly: bool = False
    """A cancel is taken, but the refocus does not end."""
    requests: list[Request] = field(default_factory=list)
    looked_at: threading.Event = field(default_factory=threading.Event)
    """Set when the refocus has been looked at."""

    def answer(self, request: Request) -> tuple[int, Json]:
        """Decide status and body."""
        self.requests.append(request)
        if self.problem is not None:
            return self.problem["status"], self.problem
        if self.token is not None and request.token != f"Bearer {self.token}":
            return 401, {"type": "about:blank", "title": "Unauthorized", "status": 401}
        routes: dict[str, Callable[[], tuple[int, Json]]] = {
            "GET /v1/status": lambda: (200, self.status),
            "POST /v1/refocuses": lambda: (202, refocus_record([])),
            "GET /v1/refocuses": lambda: (200, {"refocuses": self.history, "next": None}),
            "GET /v1/refocuses/7": self._look,
            "GET /v1/refocuses/7/spectra": lambda: (200, SPECTRA),
            "DELETE /v1/refocuses/7": self._cancel,
            "POST /v1/pause": lambda: (200, self.status),
            "POST /v1/resume": lambda: (200, self.status),
        }
        nowhere = {"type": "about:blank", "title": "Not found", "status": 404, "detail": request.path}
        path = request.path.partition("?")[0]
        return routes.get(f"{request.method} {path}", lambda: (404, nowhere))()

    def _look(self) -> tuple[int, Json]:
        self.looked_at.set()
        return 200, self.progress.pop(0) if len(self.progress) > 1 else self.progress[0]

    def hangs_up(self, request: Request) -> bool:
        """Tell whether to close the connection in place of an answer."""
        if request.path != "/v1/refocuses/7" or not self.hang_ups:
            return False
        self.hang_ups -= 1
        return True

    def _cancel(self) -> tuple[int, Json]:
        if self.cancels_slowly:
            return 202, refocus_record(SCANS[:2])
        self.progress = [CANCELLED]
        return 202, refocus_record(SCANS[:2])


@contextmanager
def running(daemon: FakeDaemon) -> Iterator[FakeDaemon]:
    """Serve on a free port of the loopback interface for the length of a ``with`` block."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            request = Request(self.command, self.path, self.headers.get("Authorization"), body)
            if daemon.hangs_up(request):
                return
            if daemon.garbage is not None:
                daemon.requests.append(request)
                self.wfile.write(daemon.garbage)
                return
            status, answer = daemon.answer(request)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - the names http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    daemon.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield daemon
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
