"""When and how soon to connect again."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.errors import (
    ConfigError,
    LinkError,
    LinkTimeoutError,
    LocalProtocolError,
    RemoteProtocolError,
    ScanRefusedError,
)
from focusd.microscope.reconnect import backoff, is_transient


def test_pauses_grow_to_the_cap() -> None:
    """At its longest a pause grows by half from half a second, and stays at the cap."""
    bounds = list(islice(backoff(cap_s=2.0, fraction=lambda: 1.0), 6))

    assert bounds == [0.5, 0.75, 1.125, 1.6875, 2.0, 2.0]


def test_the_whole_pause_is_drawn() -> None:
    """Any share of the bound may be drawn, so that several daemons do not knock in step."""
    fractions = iter([0.0, 0.5, 0.25])

    assert list(islice(backoff(first_s=4, cap_s=10, fraction=lambda: next(fractions)), 3)) == [0.0, 2.0, 1.25]


def back_after(outage_s: float, pauses: Iterator[float], attempt_s: float) -> tuple[float, int]:
    """How long after the end of an outage the first attempt is made that succeeds, and the attempts in it."""
    now_s = 0.0
    for attempts, pause_s in enumerate(pauses):
        now_s += pause_s
        if now_s >= outage_s:
            return now_s - outage_s, attempts
        now_s += attempt_s
    raise AssertionError("pauses are given for ever")


@given(st.floats(0.0, 3.0), st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1), st.floats(0.0, 1.0))
@settings(max_examples=200, deadline=None)
def test_after_a_short_outage_the_microscope_is_found_within_two_seconds(
    outage_s: float, drawn: list[float], attempt_s: float
) -> None:
    """Up to 3 s without it: whatever pauses are drawn, an attempt is made within 2 s of its return."""
    fractions = iter(drawn)
    pauses = backoff(fraction=lambda: next(fractions, 0.999))

    late_s, _ = back_after(outage_s, pauses, attempt_s)

    assert late_s <= 2.0


@pytest.mark.parametrize("outage_s", [60.0, 3600.0, 36_000.0])
@pytest.mark.parametrize("attempt_s", [0.001, 5.0])
def test_after_a_long_outage_within_35_s_and_with_few_attempts(outage_s: float, attempt_s: float) -> None:
    """Also after ten hours; the attempts come no oftener than every few seconds once it has lasted."""
    for seed in range(30):
        draw = random.Random(seed).random
        late_s, attempts = back_after(outage_s, backoff(fraction=draw), attempt_s)

        # An attempt may be under way when the microscope comes back, and be lost.
        assert late_s <= 35.0
        # In the mean half the cap, and a few more while the pauses are short.
        assert attempts <= outage_s / 12 + 25 * math.log10(outage_s)


def test_the_cap_holds_from_the_first_pause() -> None:
    """A cap under the first bound is kept too."""
    assert list(islice(backoff(first_s=5, cap_s=1, fraction=lambda: 1.0), 2)) == [1, 1]


@pytest.mark.parametrize("error", [LinkError(""), LinkTimeoutError(""), RemoteProtocolError(""), OSError()])
def test_faults_of_the_other_side_are_transient(error: Exception) -> None:
    """What the network or the microscope did may be over at the next try."""
    assert is_transient(error)


@pytest.mark.parametrize(
    "error", [LocalProtocolError(""), ScanRefusedError(""), ConfigError([]), ValueError()]
)
def test_faults_of_our_own_are_not(error: Exception) -> None:
    """A bug or a wrong setting is the same at the next try."""
    assert not is_transient(error)
