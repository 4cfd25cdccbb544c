"""Readers of foreign bytes never crash: all that the fuzzer has found, and its neighbours."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import corpus
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

KNOWN = {target: [*SEEDS[target], *corpus.read(target)] for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS)
def test_what_has_been_found_is_read_or_refused(target: str) -> None:
    """Each entry led to code that nothing else had led to, or was a fault once."""
    for entry in KNOWN[target]:
        TARGETS[target](entry)
    assert KNOWN[target]


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), damages=st.integers(1, 4))
def test_damaged_bytes_are_read_or_refused(target: str, seed: int, damages: int) -> None:
    """Bytes changed, cut out, doubled, put in from elsewhere, and torn off."""
    rng = random.Random(seed)
    data = bytearray(rng.choice(KNOWN[target]))
    for _ in range(damages):
        start, end = sorted(rng.choices(range(len(data) + 1), k=2))
        other = rng.choice(KNOWN[target])
        match rng.randrange(5):
            case 0:
                data[start : start + 1] = rng.randbytes(1)
            case 1:
                del data[start : min(end, start + 64)]
            case 2:
                data[start:start] = data[start : min(end, start + 256)]
            case 3:
                data[start : start + 8] = other[start : start + 8]
            case _:
                del data[end:]
    TARGETS[target](bytes(data))
