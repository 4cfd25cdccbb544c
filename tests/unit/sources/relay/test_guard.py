"""Whatever an onlooker raises goes no further."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from focusd.sources.relay.guard import Guard


def fail(number: int) -> None:
    """Fail."""
    raise ValueError(number)


@pytest.mark.parametrize(("once_only", "calls"), [(True, 0), (False, 2)])
def test_a_failure_is_logged_once(once_only: bool, calls: int) -> None:
    """What is tried only once is given up; the rest is called again, and its failures counted."""
    seen: list[int] = []
    guard = Guard("folding", once_only=once_only, session=3)

    with capture_logs() as events:
        for number in range(3):
            guard.run(fail, number)
        guard.run(seen.append, 1)
        guard.run(seen.append, 2)

    [event] = events
    assert (event["event"], event["what"], event["session"]) == ("relay_onlooker_failed", "folding", 3)
    assert event["error"] == "ValueError: 0"
    assert len(seen) == calls
    assert guard.failures == (1 if once_only else 3)


def test_what_is_no_error_is_not_kept_back() -> None:
    """A cancellation or an interrupt goes through."""
    guard = Guard("folding", once_only=True)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guard.run(interrupt)
