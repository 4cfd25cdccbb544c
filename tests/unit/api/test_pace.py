"""How fast clients may change things."""

from __future__ import annotations

from focusd.api.pace import BURST_S, ChangeRate
from focusd.api.problems import ProblemError
from focusd.api.server import serve_http
from focusd.config import HttpSettings
from tests.unit.api.client import Client
from tests.unit.api.fake_supervisor import FakeSupervisor


def test_a_burst_passes_and_then_a_steady_rate() -> None:
    """What is not used is saved up, but not for ever."""
    now = 0.0
    rate = ChangeRate(2.0, clock=lambda: now)

    def passes() -> int:
        count = 0
        while True:
            try:
                rate.take()
            except ProblemError:
                return count
            count += 1

    assert passes() == 2 * BURST_S
    now = 1.0
    assert passes() == 2
    now = 1000.0
    assert passes() == 2 * BURST_S


async def test_a_runaway_script_is_told_to_come_again(supervisor: FakeSupervisor) -> None:
    """Looking, and frames, are not counted; a change beyond the rate is not made."""
    async with (
        serve_http(HttpSettings(port=0, max_changes_per_s=1), supervisor) as url,
        Client(url) as client,
    ):
        replies = [await client.post("/v1/pause") for _ in range(20)]
        refused = [reply for reply in replies if reply.status == 429]
        assert {reply.status for reply in replies} == {200, 429}
        assert refused[0].problem == "too-fast"
        assert int(refused[0].headers["Retry-After"]) >= 1
        assert len(refused) >= 20 - BURST_S - 2
        assert (await client.get("/v1/status")).status == 200
        assert (await client.post("/v1/scans")).problem == "paused"
