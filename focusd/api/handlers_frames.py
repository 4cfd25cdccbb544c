"""Frames: taking one now, and the verdicts on those before."""

from __future__ import annotations

from focusd.api.rendering import plain
from focusd.api.routing import Answer, Call
from focusd.api.schemas import FramesQuery, NoBody, NoQuery
from focusd.errors import NotFoundError


async def take_scan(call: Call[NoQuery, NoBody]) -> Answer:
    """Take and judge one frame now, refocus if that is due, and answer ``{"verdict", "refocus" | null}``.

    A client that leaves before its scan has begun takes its wish with it; a scan once begun is finished.
    """
    answer = await call.hold(call.verbs.scan())
    return Answer(body={"verdict": plain(answer.verdict), "refocus": plain(answer.refocus)})


async def list_frames(call: Call[FramesQuery, NoBody]) -> Answer:
    """Answer ``{"frames": [...], "next"}``, newest first; ``next`` is the next page's ``before``, or null."""
    limit = call.query.limit
    frames = await call.verbs.store.frames.page(call.query.before, limit + 1)
    more = len(frames) > limit
    page = frames[:limit]
    return Answer(body={"frames": plain(page), "next": page[-1].frame_id if more else None})


async def get_frame(call: Call[NoQuery, NoBody]) -> Answer:
    """Answer the verdict on one frame, 404 if there is none or none any more."""
    frame_id = call.path_id("frame_id")
    frame = await call.verbs.store.frames.get(frame_id)
    if frame is None:
        raise NotFoundError(f"there is no frame {frame_id}")
    return Answer(body=plain(frame))
