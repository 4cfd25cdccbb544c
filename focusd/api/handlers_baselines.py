"""Baselines: the reference sharpness of each imaging condition."""

from __future__ import annotations

import time
from dataclasses import replace
from urllib.parse import quote

from focusd.api.rendering import plain
from focusd.api.routing import Answer, Call
from focusd.api.schemas import BaselineBody, NoBody, NoQuery
from focusd.errors import NotFoundError
from focusd.records import Baseline


async def list_baselines(call: Call[NoQuery, NoBody]) -> Answer:
    """Answer ``{"baselines": [...]}``."""
    return Answer(body={"baselines": plain(await call.verbs.store.baselines.list())})


async def get_baseline(call: Call[NoQuery, NoBody]) -> Answer:
    """Answer the baseline of one imaging condition, 404 if there is none."""
    return Answer(body=plain(await _existing(call)))


async def put_baseline(call: Call[NoQuery, BaselineBody]) -> Answer:
    """Replace the reference values of a condition that has a baseline, and answer the new one.

    Only an existing one: what a condition consists of is learnt from frames, not told.
    """
    baseline = replace(
        await _existing(call),
        sharpness=dict(call.body.sharpness),
        source="operator",
        created_at=time.time(),
        frames=0,
    )
    await call.verbs.put_baseline(baseline)
    return Answer(body=plain(baseline))


async def delete_baseline(call: Call[NoQuery, NoBody]) -> Answer:
    """Forget the baseline of a condition and answer 204, 404 if there is none."""
    await call.verbs.delete_baseline(call.path["condition"])
    return Answer(status=204)


async def capture_baseline(call: Call[NoQuery, NoBody]) -> Answer:
    """Make the last judgeable frame the baseline of its condition: 201 with the baseline and ``Location``."""
    baseline = await call.verbs.capture_baseline()
    location = f"/v1/baselines/{quote(baseline.condition, safe='')}"
    return Answer(status=201, body=plain(baseline), headers={"Location": location})


async def _existing(call: Call[NoQuery, BaselineBody] | Call[NoQuery, NoBody]) -> Baseline:
    condition = call.path["condition"]
    baseline = await call.verbs.store.baselines.get(condition)
    if baseline is None:
        raise NotFoundError(f"there is no baseline {condition}")
    return baseline
