"""A scan lease holds until it is given back or runs out."""

from __future__ import annotations

import pytest

from focusd.errors import NotFoundError, TooManyError
from focusd.service.leases import MOST_LEASES, Leases


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_runs_out_by_itself() -> None:
    """Software that died holds the lens for as long as it said, and no longer."""
    clock = Clock()
    leases = Leases(clock)
    lease = leases.take("scan.py", 10.0)

    clock.now += 4.0
    assert [(held.holder, held.expires_in_s) for held in leases.current] == [("scan.py", 6.0)]
    assert leases.free_in_s == 6.0
    clock.now += 6.0
    assert not leases.current
    with pytest.raises(NotFoundError, match="run out"):
        leases.renew(lease.lease_id, 10.0)


def test_a_renewed_lease_holds_on_and_an_ended_one_does_not() -> None:
    """Renewing counts from now; giving back ends it at once and only once."""
    clock = Clock()
    leases = Leases(clock)
    lease = leases.take("scan.py", 10.0)

    clock.now += 9.0
    assert leases.renew(lease.lease_id, 20.0).expires_in_s == 20.0
    clock.now += 19.0
    assert len(leases.current) == 1
    leases.end(lease.lease_id)
    assert not leases.current
    with pytest.raises(NotFoundError):
        leases.end(lease.lease_id)


def test_the_last_lease_to_run_out_counts() -> None:
    """The lens is free when nobody holds it any more."""
    leases = Leases(Clock())
    leases.take("one", 5.0)
    leases.take("other", 30.0)

    assert leases.free_in_s == 30.0


def test_leases_are_bounded() -> None:
    """A program that takes leases in a loop is told so."""
    leases = Leases(Clock())
    for number in range(MOST_LEASES):
        leases.take(f"{number}", 5.0)

    with pytest.raises(TooManyError, match=f"at most {MOST_LEASES}"):
        leases.take("one more", 5.0)
