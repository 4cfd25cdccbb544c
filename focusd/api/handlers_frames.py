"""Frames: taking one now, and the verdicts on those before."""

from __future__ import annotations

import time

from focusd.api.frame_body import FrameBody
from focusd.api.rendering import encoded, plain
from focusd.api.routing import Answer, Call
from focusd.api.schemas import FrameQuery, FramesQuery, NoBody, NoQuery
from focusd.errors import NotFoundError
from focusd.frame import Frame, ImagingConditions, StagePosition
from focusd.service.turns import reacquire_from


async def take_scan(call: Call[NoQuery, NoBody]) -> Answer:
    """Take and judge one frame now, refocus if due; answer ``{"verdict", "refocus", "reacquire_from"}``.

    ``refocus`` is null if none was due; after a success ``reacquire_from`` is the first frame that was taken
    out of focus, if one was. A client that leaves before its scan has begun takes its wish with it; a scan
    once begun is finished.
    """
    answer = await call.hold(call.verbs.scan())
    lost_since = reacquire_from(answer.verdict, answer.refocus)
    return Answer(
        body={
            "verdict": plain(answer.verdict),
            "refocus": plain(answer.refocus),
            "reacquire_from": lost_since,
        }
    )


async def judge_frame(call: Call[FrameQuery, FrameBody]) -> Answer:
    """Judge a frame that others took, and answer ``{"verdict", "refocus", "reacquire_from", "waits_for"}``.

    With ``wait=refocus`` the answer comes when the refocus it leads to has ended: ``refocus`` is its record,
    and ``reacquire_from`` after a success the first frame that was taken out of focus. ``waits_for`` tells
    what a refocus that is wanted and has not begun waits for; while somebody scans, that is not waited for.
    """
    is_awaited = call.query.wait == "refocus"
    verdict, due = await call.verbs.judge(_frame(call.query, call.body), is_awaited=is_awaited)
    refocus = None
    if is_awaited and due is not None:
        refocus = await call.hold(call.verbs.wait_for_due(due, timeout_s=call.query.timeout_s))
    pending = call.verbs.status.pending_refocus
    return Answer(
        body={
            "verdict": plain(verdict),
            "refocus": plain(refocus),
            "reacquire_from": None if due is None else reacquire_from(due.verdict, refocus),
            "waits_for": None if pending is None else plain(pending.waits_for),
        }
    )


def _frame(said: FrameQuery, body: FrameBody) -> Frame:
    """What the client says of a frame goes before what its file says."""
    file = body.metadata
    rows, columns = body.pixels.shape
    position = StagePosition(said.x_mm, said.y_mm, said.z_mm, said.rotation_deg, said.tilt_deg)
    return Frame(
        pixels=body.pixels,
        conditions=ImagingConditions(
            rows=rows,
            columns=columns,
            bits_per_pixel=8 * body.pixels.itemsize,
            dwell_time_us=said.dwell_time_us or file.dwell_time_us,
            pixel_size_nm=said.pixel_size_nm or file.pixel_size_nm,
            detector=said.detector or file.detector,
            accelerating_voltage_kv=said.accelerating_voltage_kv or file.accelerating_voltage_kv,
            label=said.label or "",
        ),
        working_distance_mm=said.working_distance_mm or file.working_distance_mm,
        acquired_at=time.time() if said.acquired_at is None else said.acquired_at,
        stage_position=file.stage_position if position == StagePosition() else position,
    )


async def list_frames(call: Call[FramesQuery, NoBody]) -> Answer:
    """Answer ``{"frames": [...], "next"}``, newest first; ``next`` is the next page's ``before``, or null."""
    limit = call.query.limit
    frames = await call.verbs.store.frames.page(call.query.before, limit + 1)
    more = len(frames) > limit
    page = frames[:limit]
    return Answer(body=await encoded({"frames": page, "next": page[-1].frame_id if more else None}))


async def get_frame(call: Call[NoQuery, NoBody]) -> Answer:
    """Answer the verdict on one frame, 404 if there is none or none any more."""
    frame_id = call.path_id("frame_id")
    frame = await call.verbs.store.frames.get(frame_id)
    if frame is None:
        raise NotFoundError(f"there is no frame {frame_id}")
    return Answer(body=plain(frame))
