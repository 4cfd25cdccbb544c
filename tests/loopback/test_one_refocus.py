"""Many clients that all want a refocus: one runs, and the others are told which."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.loopback.bench import Client, connected, make_column

CLIENTS = int(os.environ.get("CLIENTS", "20"))
"""50 by hand ..."""
TRIES = int(os.environ.get("TRIES", "30"))
"""... and 200."""


@dataclass
class Seen:
    """What the clients were answered."""

    admitted: list[int] = field(default_factory=list)
    told: Counter[int] = field(default_factory=Counter)
    unnamed: int = 0


async def hammer(client: Client, seen: Seen, number: int) -> None:
    """Ask again and again; every third client also ends what runs now and then."""
    for attempt in range(TRIES):
        status, body = await client.call("POST", "v1/refocuses")
        if status == 202:
            seen.admitted.append(body["refocus_id"])
        else:
            assert status == 409, body
            running = body.get("running_id")
            if running is None:
                seen.unnamed += 1
            else:
                seen.told[int(running)] += 1
                if number % 3 == 0 and attempt % 10 == 9:
                    ended, _ = await client.call("DELETE", f"v1/refocuses/{running}?timeout_s=0")
                    assert ended in {200, 202, 404}


async def test_of_many_who_ask_one_is_let_in(tmp_path: Path) -> None:
    """Each answer is the one refocus, or 409 with the id of one that was let in; no two overlap."""
    seen = Seen()
    column = make_column(working_distance_mm=9.008)
    async with connected(column, tmp_path, http={"port": 0, "max_changes_per_s": 1000}) as client:
        await asyncio.gather(*(hammer(client, seen, number) for number in range(CLIENTS)))
        await client.until(lambda status: status["current_refocus"] is None)
        listed = (await client.get("v1/refocuses?limit=50"))["refocuses"]

    assert len(seen.admitted) + sum(seen.told.values()) + seen.unnamed == CLIENTS * TRIES
    assert len(seen.admitted) == len(set(seen.admitted)) >= 1
    assert set(seen.told) <= set(seen.admitted)
    # While a refocus is being written down it has ended, and the next cannot begin yet.
    assert seen.unnamed <= 0.2 * CLIENTS * TRIES
    records = sorted((record for record in listed if record["refocus_id"] in seen.admitted), key=_begun)
    assert all(record["result"] is not None for record in records)
    for one, next_one in pairwise(records):
        assert one["started_at"] + one["duration_s"] <= next_one["started_at"] + 0.005


def _begun(record: dict[str, float]) -> float:
    return record["started_at"]
