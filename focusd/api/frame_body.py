"""Frames that come as request bodies: bounded before a byte is read, checked before anything is decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from aiohttp import web
from pydantic import ValidationError

from focusd.api.hangup import HungUpError
from focusd.api.problems import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    INVALID_FRAME,
    LENGTH_REQUIRED,
    TOO_MANY,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemError,
)
from focusd.api.reading import answer_expectation, given_twice, refused, single_values
from focusd.api.schemas import FrameQuery
from focusd.errors import ImageError
from focusd.frame import Pixels
from focusd.framepool import FRAMES
from focusd.imagefile.decode import decode_image
from focusd.imagefile.metadata import ImageMetadata
from focusd.imagefile.raw import RawFormat, raw_format, raw_image

RAW = "application/octet-stream"
IMAGES = ("image/tiff", "image/png", "image/jpeg", "image/bmp")
HEADER_PREFIX = "x-frame-"
LEAST_BYTES_PER_S = 1 << 20
"""A body that comes more slowly than this, after the first seconds, is given up."""
PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class FrameBody:
    """A frame as it was sent."""

    pixels: Pixels
    metadata: ImageMetadata
    fingerprint: str
    """What tells this body from others, as far as a client that repeats itself is concerned."""

    def __repr__(self) -> str:
        return self.fingerprint


def read_frame_query(request: web.BaseRequest) -> FrameQuery:
    """Give what the client says of its frame: by query, or by header, e.g. ``X-Frame-Pixel-Size-Nm``.

    Raises:
        ProblemError: 422, naming the parameter.
    """
    said = single_values(request.rel_url.query)
    for name in {name.lower() for name in request.headers if name.lower().startswith(HEADER_PREFIX)}:
        field = name.removeprefix(HEADER_PREFIX).replace("-", "_")
        values = request.headers.getall(name)
        if field in said or len(values) > 1:
            raise given_twice(field)
        said[field] = values[0]
    try:
        return FrameQuery.model_validate_strings(said)
    except ValidationError as error:
        raise refused(error) from error


class FrameReader:
    """Reads frames, and holds no more of them at once than memory is set aside for.

    Args:
        max_bytes: Largest frame.
        memory_bytes: For all the frames that are being received and judged.
    """

    def __init__(self, *, max_bytes: int, memory_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._free_bytes = max(memory_bytes, max_bytes)

    @contextmanager
    def room(self, request: web.BaseRequest) -> Iterator[None]:
        """Set memory aside for a request's frame, for the length of a ``with`` block.

        Raises:
            ProblemError: 411 or 413, or 503 while there is no room: try again soon.
        """
        length = request.content_length
        if length is None:
            raise ProblemError(LENGTH_REQUIRED, "send Content-Length", closes=True)
        if length > self._max_bytes:
            message = f"a frame may have at most {self._max_bytes} bytes"
            raise ProblemError(BODY_TOO_LARGE, message, closes=True, max_bytes=self._max_bytes)
        if length > self._free_bytes:
            message = "too many frames are being judged; send it again"
            raise ProblemError(TOO_MANY, message, headers={"Retry-After": "1"}, closes=True)
        self._free_bytes -= length
        try:
            yield
        finally:
            self._free_bytes += length

    async def read(self, request: web.BaseRequest, query: FrameQuery) -> FrameBody:
        """Read and decode a frame for which there is room.

        Raises:
            ProblemError: 4xx, naming what is wrong with it.
            HungUpError: the client left in the middle of it.
        """
        length = request.content_length or 0
        raw = _raw_format(request, query, length)
        content = await _receive(request, length)
        fingerprint = f"frame of {length} bytes"
        try:
            if raw is not None:
                return FrameBody(await _pixels(content, raw), ImageMetadata(), fingerprint)
            image = await asyncio.to_thread(decode_image, content, max_decoded_bytes=self._max_bytes)
        except ImageError as error:
            raise ProblemError(INVALID_FRAME, f"the frame {error}", field="body") from error
        return FrameBody(image.pixels, image.metadata, fingerprint)


def _raw_format(request: web.BaseRequest, query: FrameQuery, length: int) -> RawFormat | None:
    """Give the format of bare pixels, ``None`` for an image file; all that can be refused before reading."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ProblemError(UNSUPPORTED_MEDIA_TYPE, "send the frame without Content-Encoding", closes=True)
    if request.content_type in IMAGES:
        return None
    if request.content_type != RAW:
        allowed = [RAW, *IMAGES]
        message = f"send Content-Type: {' or '.join(allowed)}"
        raise ProblemError(UNSUPPORTED_MEDIA_TYPE, message, closes=True, allowed=allowed)
    try:
        raw = raw_format(query.shape or "", query.dtype or "")
    except ImageError as error:
        field = str(error).partition(":")[0]
        raise ProblemError(INVALID_FRAME, str(error), field=field, closes=True) from error
    if length != raw.nbytes:
        message = f"{raw.rows} x {raw.columns} pixels of {raw.dtype} are {raw.nbytes} bytes, got {length}"
        raise ProblemError(INVALID_FRAME, message, field="body", closes=True)
    return raw


async def _pixels(content: memoryview, raw: RawFormat) -> Pixels:
    """Give bare pixels as an image; swapping bytes takes long enough for a thread of its own."""
    image = partial(raw_image, content, (raw.rows, raw.columns), raw.dtype)
    return image() if raw.is_native else await asyncio.to_thread(image)


async def _receive(request: web.BaseRequest, length: int) -> memoryview:
    """Receive the body into one buffer."""
    await answer_expectation(request)
    content = FRAMES.take(length).data
    received = 0
    try:
        async with asyncio.timeout(PATIENCE_S + length / LEAST_BYTES_PER_S):
            while chunk := await request.content.readany():
                content[received : received + len(chunk)] = chunk
                received += len(chunk)
    except TimeoutError as error:
        message = f"a frame must come at {LEAST_BYTES_PER_S >> 20} MiB/s at least"
        raise ProblemError(BODY_TOO_SLOW, message, closes=True) from error
    except web.RequestPayloadError as error:
        raise ProblemError(BAD_REQUEST, "the body is not encoded as its headers say", closes=True) from error
    except ConnectionError as error:
        raise HungUpError("the client has left") from error
    return content
