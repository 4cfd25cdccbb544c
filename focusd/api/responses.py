"""Answers and problems as HTTP responses; every response of the daemon is made here."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from focusd.api.problems import CONTENT_TYPE, Problem
from focusd.api.rendering import encode
from focusd.api.routing import Answer

_HEADERS = {
    "Server": "focusd",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def answer_response(answer: Answer) -> web.Response:
    """Give an answer as JSON."""
    if answer.status == 204:
        return web.Response(status=204, headers=_HEADERS)
    return _response(answer.status, encode(answer.body), "application/json", answer.headers)


def problem_response(problem: Problem) -> web.Response:
    """Give a problem document."""
    response = _response(problem.kind.status, encode(problem.document()), CONTENT_TYPE, problem.headers)
    if problem.closes:
        response.force_close()
    return response


def _response(status: int, body: bytes, content_type: str, headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=status, body=body, headers={**_HEADERS, "Content-Type": content_type, **headers}
    )
