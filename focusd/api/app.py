"""The endpoint itself: the route table, and the order in which a request is checked and answered.

Order: Host, Origin, token, route, query, body, handler. Whatever goes wrong on the way becomes a problem
document, and a request is one line in the log at level debug, without headers, query or body.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from typing import Any

import structlog
from aiohttp import web

from focusd.api.auth import Guard
from focusd.api.frame_body import FrameBody, FrameReader, read_frame_query
from focusd.api.handlers_baselines import (
    capture_baseline,
    delete_baseline,
    get_baseline,
    list_baselines,
    put_baseline,
)
from focusd.api.handlers_frames import get_frame, judge_frame, list_frames, take_scan
from focusd.api.handlers_microscope import get_microscope, put_working_distance
from focusd.api.handlers_refocuses import (
    cancel_refocus,
    get_refocus,
    get_spectra,
    list_refocuses,
    start_refocus,
)
from focusd.api.handlers_status import get_live, get_ready, get_status, pause, resume, wait_until_ready
from focusd.api.handlers_surface import clear_surface, get_surface, predict_focus
from focusd.api.handlers_turns import checkpoint, end_lease, list_leases, renew_lease, take_lease
from focusd.api.hangup import Hangup
from focusd.api.idempotency import HEADER as IDEMPOTENCY_KEY
from focusd.api.idempotency import Answers
from focusd.api.pace import ChangeRate
from focusd.api.problems import READ_ONLY_TOKEN, Problem, ProblemError, internal_error, problem_for
from focusd.api.reading import read_body, read_query
from focusd.api.responses import answer_response, problem_response
from focusd.api.routing import Answer, AnyRoute, Call, Route, Router
from focusd.api.schemas import (
    BaselineBody,
    CancelQuery,
    CheckpointBody,
    CheckpointQuery,
    FrameQuery,
    FramesQuery,
    LeaseBody,
    LeaseQuery,
    NoBody,
    NoQuery,
    PauseBody,
    PredictBody,
    ReadyQuery,
    RefocusBody,
    RefocusesQuery,
    RenewalBody,
    WaitQuery,
    WorkingDistanceBody,
)
from focusd.api.tokens import Scope, Tokens
from focusd.api.verbs import Verbs

_log = structlog.get_logger(__name__)

ROUTES: tuple[AnyRoute, ...] = (
    Route("GET", "/v1/health/live", get_live, NoQuery, NoBody, Scope.NOTHING),
    Route("GET", "/v1/health/ready", get_ready, NoQuery, NoBody, Scope.NOTHING),
    Route("GET", "/v1/status", get_status, NoQuery, NoBody),
    Route("GET", "/v1/ready", wait_until_ready, ReadyQuery, NoBody),
    Route("POST", "/v1/pause", pause, NoQuery, PauseBody, is_change=True),
    Route("POST", "/v1/resume", resume, NoQuery, NoBody, is_change=True),
    Route("POST", "/v1/scans", take_scan, NoQuery, NoBody),
    Route("POST", "/v1/frames", judge_frame, FrameQuery, FrameBody),
    Route("GET", "/v1/frames", list_frames, FramesQuery, NoBody),
    Route("GET", "/v1/frames/{frame_id}", get_frame, NoQuery, NoBody),
    Route("POST", "/v1/checkpoint", checkpoint, CheckpointQuery, CheckpointBody),
    Route("POST", "/v1/scan-leases", take_lease, LeaseQuery, LeaseBody),
    Route("GET", "/v1/scan-leases", list_leases, NoQuery, NoBody),
    Route("PUT", "/v1/scan-leases/{lease_id}", renew_lease, NoQuery, RenewalBody),
    Route("DELETE", "/v1/scan-leases/{lease_id}", end_lease, NoQuery, NoBody),
    Route("POST", "/v1/refocuses", start_refocus, WaitQuery, RefocusBody, is_change=True),
    Route("GET", "/v1/refocuses", list_refocuses, RefocusesQuery, NoBody),
    Route("GET", "/v1/refocuses/{refocus_id}", get_refocus, NoQuery, NoBody),
    Route("GET", "/v1/refocuses/{refocus_id}/spectra", get_spectra, NoQuery, NoBody),
    Route("DELETE", "/v1/refocuses/{refocus_id}", cancel_refocus, CancelQuery, NoBody, is_change=True),
    Route("POST", "/v1/baselines/capture", capture_baseline, NoQuery, NoBody, is_change=True),
    Route("GET", "/v1/baselines", list_baselines, NoQuery, NoBody),
    Route("GET", "/v1/baselines/{condition}", get_baseline, NoQuery, NoBody),
    Route("PUT", "/v1/baselines/{condition}", put_baseline, NoQuery, BaselineBody, is_change=True),
    Route("DELETE", "/v1/baselines/{condition}", delete_baseline, NoQuery, NoBody, is_change=True),
    Route("GET", "/v1/focus-surface", get_surface, NoQuery, NoBody),
    Route("DELETE", "/v1/focus-surface", clear_surface, NoQuery, NoBody, is_change=True),
    Route("POST", "/v1/focus-surface/predict", predict_focus, NoQuery, PredictBody, Scope.READ),
    Route("GET", "/v1/microscope", get_microscope, NoQuery, NoBody),
    Route(
        "PUT",
        "/v1/microscope/working-distance",
        put_working_distance,
        NoQuery,
        WorkingDistanceBody,
        is_change=True,
    ),
)

_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
_MAX_LOGGED_CHARS = 256


class App:
    """Answers requests.

    Args:
        verbs: What may be asked of the service.
        guard: Keeps other sites' pages out.
        tokens: Who may ask.
        max_body_bytes: Largest request body but a frame.
        max_changes_per_s: Requests that change something.
        frames: Receives frames.
        routes: What there is to ask.
    """

    def __init__(
        self,
        verbs: Verbs,
        guard: Guard,
        tokens: Tokens,
        *,
        max_body_bytes: int,
        max_changes_per_s: int,
        frames: FrameReader,
        routes: tuple[AnyRoute, ...] = ROUTES,
    ) -> None:
        self._verbs = verbs
        self._guard = guard
        self._tokens = tokens
        self._changes = ChangeRate(max_changes_per_s)
        self._max_body_bytes = max_body_bytes
        self._router = Router(routes)
        self._frames = frames
        self._answers = Answers()

    async def close(self) -> None:
        """End every wait that outlived its client."""
        await self._answers.close()

    async def handle(self, request: web.BaseRequest, hangup: Hangup) -> web.Response:
        """Answer one request; every error becomes a problem document."""
        clock = asyncio.get_running_loop().time
        started = clock()
        path = request.rel_url.raw_path
        try:
            response = answer_response(await self._answer(request, path, hangup))
        except Exception as error:  # noqa: BLE001 - the outermost place; what nobody foresaw is logged below
            response = problem_response(problem_for(error) or _unforeseen(error, path))
        _log.debug(
            "http_request",
            method=request.method[:_MAX_LOGGED_CHARS],
            path=path[:_MAX_LOGGED_CHARS],
            status=response.status,
            duration_s=clock() - started,
        )
        return response

    async def _answer(self, request: web.BaseRequest, path: str, hangup: Hangup) -> Answer:
        self._guard.check_host(request.headers)
        self._guard.check_origin(request.method, request.headers)
        is_open = self._router.is_open(path)
        scope = Scope.NOTHING if is_open else await self._tokens.scope(request.headers)
        route, values = self._router.find(request.method, path)
        if route.scope > scope:
            raise ProblemError(READ_ONLY_TOKEN, "this needs the token of http.token_file")
        if route.is_change:
            self._changes.take()
        if route.body is FrameBody:
            return await self._answer_frame(request, route, hangup)
        query = read_query(request, route.query)
        if route.method in _BODY_METHODS:
            body = await read_body(request, route.body, max_bytes=self._max_body_bytes)
        else:
            body = route.body()
        return await self._once(request, route, Call(self._verbs, values, query, body, hangup))

    async def _answer_frame(self, request: web.BaseRequest, route: AnyRoute, hangup: Hangup) -> Answer:
        query = read_frame_query(request)
        with self._frames.room(request):
            body = await self._frames.read(request, query)
            return await self._once(request, route, Call(self._verbs, {}, query, body, hangup))

    async def _once(self, request: web.BaseRequest, route: AnyRoute, call: Call[Any, Any]) -> Answer:
        """Carry a request out, unless it came with a key under which that was done before."""
        key = request.headers.get(IDEMPOTENCY_KEY) if route.method == "POST" else None
        if key is None:
            return await route.handler(call)
        fingerprint = f"{request.rel_url.raw_path} {call.query!r} {call.body!r}"
        return await self._answers.once(
            key, fingerprint, lambda hangup: route.handler(replace(call, hangup=hangup)), call.hangup
        )


def _unforeseen(error: Exception, path: str) -> Problem:
    incident = secrets.token_hex(4)
    _log.error("http_handler_failed", incident=incident, path=path[:_MAX_LOGGED_CHARS], exc_info=error)
    return internal_error(incident)
