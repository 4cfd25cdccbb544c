"""Query and body of a request: bounded in size and time, then checked against their models."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from aiohttp import web
from multidict import MultiMapping
from pydantic import ValidationError

from focusd.api.hangup import HungUpError
from focusd.api.problems import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    EXPECTATION_FAILED,
    INVALID_REQUEST,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemError,
)
from focusd.api.schemas import Request

RequestT = TypeVar("RequestT", bound=Request)

BODY_DEADLINE_S = 5.0
"""For a whole body to arrive."""
MAX_LISTED_ERRORS = 20
_MAX_FIELD_CHARS = 100
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MAX_NUMBER_CHARS = 40


def read_query(request: web.BaseRequest, model: type[RequestT]) -> RequestT:
    """Give the query as ``model``; numbers, ``true`` and ``false`` are written as in JSON.

    Raises:
        ProblemError: 422, naming the parameter.
    """
    try:
        return model.model_validate(
            {name: _scalar(text) for name, text in single_values(request.rel_url.query).items()}
        )
    except ValidationError as error:
        raise refused(error) from error


def single_values(query: MultiMapping[str]) -> dict[str, str]:
    """Give the parameters of a query.

    Raises:
        ProblemError: 422, one is given twice.
    """
    repeated = [name for name in query if len(query.getall(name)) > 1]
    if repeated:
        raise given_twice(*repeated)
    return dict(query.items())


async def read_body(request: web.BaseRequest, model: type[RequestT], *, max_bytes: int) -> RequestT:
    """Give the JSON body as ``model``; no body counts as ``{}``. Of a key that comes twice the last counts.

    Raises:
        ProblemError: 408, 413, 415, 417 or 422, naming the field where there is one.
        HungUpError: the client left in the middle of it.
    """
    content = await _content(request, max_bytes) if request.body_exists else b""
    try:
        return model.model_validate_json(content or b"{}")
    except ValidationError as error:
        raise refused(error) from error


async def _content(request: web.BaseRequest, max_bytes: int) -> bytes:
    _check_media_type(request)
    # Refused by its announced length, before any of it is read; one without a length is counted below.
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    await answer_expectation(request)
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            while chunk := await request.content.readany():
                content += chunk
                if len(content) > max_bytes:
                    raise _too_large(max_bytes)
    except TimeoutError as error:
        message = f"a body must arrive within {BODY_DEADLINE_S:g} s"
        raise ProblemError(BODY_TOO_SLOW, message, closes=True) from error
    except web.RequestPayloadError as error:
        raise ProblemError(BAD_REQUEST, "the body is not encoded as its headers say", closes=True) from error
    except ConnectionError as error:
        raise HungUpError("the client has left") from error
    return bytes(content)


def _check_media_type(request: web.BaseRequest) -> None:
    charset = request.charset or "utf-8"
    if request.content_type != "application/json" or charset.lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise ProblemError(
            UNSUPPORTED_MEDIA_TYPE, "send Content-Type: application/json", allowed=["application/json"]
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ProblemError(UNSUPPORTED_MEDIA_TYPE, "send the body without Content-Encoding")


async def answer_expectation(request: web.BaseRequest) -> None:
    """Tell a client that asks first to go on.

    Raises:
        ProblemError: 417, it expects something else.
        HungUpError: the client has left.
    """
    expected = request.headers.get("Expect")
    if expected is None:
        return
    if expected.lower() != "100-continue":
        raise ProblemError(EXPECTATION_FAILED, "the Expect header asks for something else", closes=True)
    if request.version >= (1, 1):
        try:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        except ConnectionError as error:
            raise HungUpError("the client has left") from error
        # An interim answer is not yet the answer.
        request.writer.output_size = 0


def _too_large(max_bytes: int) -> ProblemError:
    message = f"a body may have at most {max_bytes} bytes"
    return ProblemError(BODY_TOO_LARGE, message, closes=True, max_bytes=max_bytes)


def _scalar(text: str) -> str | float | bool:
    """What a JSON document would hold in place of a query parameter's text."""
    if text in {"true", "false"}:
        return text == "true"
    if len(text) <= _MAX_NUMBER_CHARS and _NUMBER.fullmatch(text):
        number: float = json.loads(text)
        return number
    return text


def given_twice(*names: str) -> ProblemError:
    """Refuse parameters that contradict themselves."""
    return _invalid((name, "must be given once") for name in sorted(set(names)))


def refused(error: ValidationError) -> ProblemError:
    """Say what a model found wrong, field by field."""
    # Not what was sent: it may be long, or a secret put in the wrong place.
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return _invalid((".".join(map(str, one["loc"])), one["msg"]) for one in details)


def _invalid(errors: Iterable[tuple[str, str]]) -> ProblemError:
    listed: list[dict[str, Any]] = [
        {"field": field[:_MAX_FIELD_CHARS] or None, "message": message} for field, message in errors
    ][:MAX_LISTED_ERRORS]
    first = listed[0]
    where = f"{first['field']}: " if first["field"] else ""
    return ProblemError(INVALID_REQUEST, f"{where}{first['message']}", field=first["field"], errors=listed)
