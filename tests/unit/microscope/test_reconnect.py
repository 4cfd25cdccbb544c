"""When and how soon to connect again."""

from __future__ import annotations

from itertools import islice

import pytest

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
    """The bound grows by half from half a second and stays at the cap."""
    bounds = list(islice(backoff(cap_s=2.0, fraction=lambda: 1.0), 6))

    assert bounds == [0.5, 0.75, 1.125, 1.6875, 2.0, 2.0]


def test_the_whole_pause_is_drawn() -> None:
    """Any share of the bound may be drawn, so that several daemons do not knock in step."""
    fractions = iter([0.0, 0.5, 0.25])

    assert list(islice(backoff(first_s=4, cap_s=10, fraction=lambda: next(fractions)), 3)) == [0.0, 3.0, 2.25]


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
