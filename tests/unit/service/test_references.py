"""What a picture in focus looks like is learnt from successes, and used only where it may be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from focusd.config import BaselineSettings, DriftSettings
from focusd.focus.measure import Measurement, measure
from focusd.frame import ImagingConditions
from focusd.service.monitor import Monitor
from focusd.service.references import FocusReferences
from focusd.store.database import Store, open_store
from tests.fake_microscope import texture

CONDITIONS = ImagingConditions(192, 192, 8, dwell_time_us=1.0, pixel_size_nm=10.0, detector="SE")


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Give an empty store."""
    async with open_store(tmp_path, max_frames=1000) as store:
        yield store


def seen(*, blank: bool = False) -> Measurement:
    """Measure a picture in focus, or one of nothing."""
    pixels = np.full((192, 192), 90) if blank else texture()
    noisy = pixels + np.random.default_rng(1).normal(0, 2, pixels.shape)
    return measure(noisy.clip(0, 255).astype(np.uint8), ())


async def test_what_was_in_focus_is_known_under_the_same_condition(store: Store) -> None:
    """Also by another daemon later, to the last bit; another shape knows nothing of it."""
    verified = seen()
    await FocusReferences(store, is_used=True).learn(CONDITIONS, verified)

    references = FocusReferences(store, is_used=True)
    known = await references.known(CONDITIONS)

    assert known is not None
    assert np.array_equal(known.power, verified.spectrum.power)
    assert await references.known(replace(CONDITIONS, rows=256)) is None
    assert await references.known(None) is None


async def test_nothing_is_learnt_or_known_where_it_is_not_used(store: Store) -> None:
    """Switched off, it neither writes nor reads."""
    await FocusReferences(store, is_used=False).learn(CONDITIONS, seen())
    assert await FocusReferences(store, is_used=True).known(CONDITIONS) is None

    await FocusReferences(store, is_used=True).learn(CONDITIONS, seen())
    assert await FocusReferences(store, is_used=False).known(CONDITIONS) is None


async def test_a_picture_that_cannot_be_judged_teaches_nothing(store: Store) -> None:
    """What was known before stays."""
    references = FocusReferences(store, is_used=True)
    verified = seen()
    await references.learn(CONDITIONS, verified)

    await references.learn(CONDITIONS, seen(blank=True))

    known = await references.known(CONDITIONS)
    assert known is not None
    assert np.array_equal(known.power, verified.spectrum.power)


@pytest.mark.parametrize(("detector", "is_kept"), [("SE", False), ("BSE", True)])
async def test_it_goes_with_the_baseline(store: Store, detector: str, is_kept: bool) -> None:
    """An operator who deletes a baseline means all that is known of how the specimen looks."""
    references = FocusReferences(store, is_used=True)
    await references.learn(CONDITIONS, seen())
    monitor = Monitor(store, DriftSettings(), BaselineSettings(), refocus_metric="log_energy")
    whole = replace(CONDITIONS, rows=384, columns=384, detector=detector)
    verified = measure(texture().astype(np.uint8), ["band_ratio", "log_energy"])
    await monitor.adopt(whole, verified, 9.0)

    assert await monitor.delete(whole.key)

    assert (await references.known(CONDITIONS) is not None) is is_kept
