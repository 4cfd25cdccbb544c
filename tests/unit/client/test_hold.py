"""Scan leases that are renewed, lost, and given back whatever happens."""

from __future__ import annotations

import asyncio
from types import ModuleType

import focusd_client
import pytest

from focusd.client import Hold
from tests.unit.client.faces import BOTH, client_of
from tests.unit.client.scripted_daemon import DROP, LEASE, Said, ScriptedDaemon, problem, scripted

GONE = Said(b"", 204)

both = pytest.mark.parametrize("kind", BOTH, ids=lambda module: module.__name__)


async def until_asked(daemon: ScriptedDaemon, method: str, times: int = 1) -> None:
    """Wait until a method was used so often."""
    async with asyncio.timeout(10):
        while [asked.method for asked in daemon.asked].count(method) < times:
            await asyncio.sleep(0.01)


async def until_lost(hold: Hold | focusd_client.Hold) -> None:
    """Wait until a lease was lost."""
    async with asyncio.timeout(10):
        while not hold.was_lost:
            await asyncio.sleep(0.01)


@both
async def test_a_lease_is_renewed_by_itself_and_given_back(kind: ModuleType) -> None:
    """A scan may last longer than its lease."""
    async with (
        scripted(Said(LEASE, 201), Said(LEASE), Said(LEASE), GONE) as daemon,
        client_of(kind, daemon.url) as focusd,
        focusd.hold("montage", expires_in_s=1.0) as hold,
    ):
        await until_asked(daemon, "PUT", 2)

    assert not hold.was_lost
    methods = [asked.method for asked in daemon.asked]
    assert (methods[0], set(methods[1:-1]), methods[-1]) == ("POST", {"PUT"}, "DELETE")
    assert daemon.asked[-1].path == "/v1/scan-leases/1f"


@both
async def test_an_error_in_the_block_ends_the_lease_and_stays_the_error(kind: ModuleType) -> None:
    """A script that fails holds nobody up, even if the daemon is gone too."""
    script = (Said(LEASE, 201), problem("microscope-error", 502))
    async with scripted(*script) as daemon, client_of(kind, daemon.url) as focusd:
        with pytest.raises(ZeroDivisionError):
            async with focusd.hold():
                raise ZeroDivisionError

    assert [asked.method for asked in daemon.asked] == ["POST", "DELETE"]


@both
async def test_a_lease_that_the_daemon_forgot_is_taken_anew_and_told(kind: ModuleType) -> None:
    """After a restart of the daemon the scan goes on protected, and its owner knows."""
    script = (Said(LEASE, 201), problem("not-found", 404), Said(LEASE | {"lease_id": "2a"}, 201), GONE)
    async with (
        scripted(*script) as daemon,
        client_of(kind, daemon.url) as focusd,
        focusd.hold(expires_in_s=1.0) as hold,
    ):
        await until_asked(daemon, "POST", 2)
        await until_lost(hold)

    assert daemon.asked[-1].path == "/v1/scan-leases/2a"


@both
async def test_a_lease_that_could_not_be_renewed_in_time_counts_as_lost(kind: ModuleType) -> None:
    """Nobody knows then whether the lens stood still."""
    async with (
        scripted(Said(LEASE, 201), DROP) as daemon,
        client_of(kind, daemon.url, patience_s=0.0) as focusd,
        focusd.hold(expires_in_s=0.3) as hold,
    ):
        await until_lost(hold)


@both
async def test_a_lease_that_had_run_out_at_the_end_is_told(kind: ModuleType) -> None:
    """A script that blocked its own renewal learns of it."""
    script = (Said(LEASE, 201), problem("not-found", 404))
    async with scripted(*script) as daemon, client_of(kind, daemon.url) as focusd, focusd.hold() as hold:
        assert not hold.was_lost

    assert hold.was_lost


@both
async def test_without_a_lease_the_block_is_not_entered(kind: ModuleType) -> None:
    """While the lens moves nobody begins to scan."""
    async with scripted(problem("busy", 409, running_id=3)) as daemon, client_of(kind, daemon.url) as focusd:
        with pytest.raises(kind.BusyError):
            async with focusd.hold(timeout_s=0.5):
                pytest.fail("the block was entered")

    assert [asked.method for asked in daemon.asked] == ["POST"]
    assert daemon.asked[0].query == {"wait_s": "0.500"}
