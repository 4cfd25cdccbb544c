"""Every record comes back as it was put in, also after a restart."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.errors import StoreError
from focusd.focus.spectrum import log_energy, radial_spectrum
from focusd.records import (
    Baseline,
    FrameVerdict,
    RefocusRecord,
    RefocusResult,
    RefocusSpectra,
    StoredSpectrum,
)
from focusd.store.database import Store, open_store
from tests.unit.store.records_made import any_record, baseline, refocus, spectra, verdict

TEXT = st.text(st.characters(codec="utf-8"))
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=15)
@given(made=st.lists(any_record(FrameVerdict), max_size=6))
async def test_verdicts_come_back(made: list[FrameVerdict]) -> None:
    """Any verdict is read after a restart exactly as it was appended."""
    verdicts = [replace(one, frame_id=number) for number, one in enumerate(made, 1)]
    with tempfile.TemporaryDirectory() as directory:
        async with open_store(Path(directory), max_frames=100) as store:
            for one in verdicts:
                await store.frames.append(one)
        async with open_store(Path(directory), max_frames=100) as store:
            page = await store.frames.page(None, 100)
            single = [await store.frames.get(one.frame_id) for one in verdicts]

    assert page == verdicts[::-1]
    assert single == verdicts


@settings(deadline=None, max_examples=15)
@given(made=st.lists(any_record(RefocusRecord), max_size=4))
async def test_refocuses_come_back(made: list[RefocusRecord]) -> None:
    """Any refocus with its scans is read after a restart exactly as it was last updated."""
    records = [replace(one, refocus_id=number) for number, one in enumerate(made, 1)]
    with tempfile.TemporaryDirectory() as directory:
        async with open_store(Path(directory), max_frames=100) as store:
            for one in records:
                await store.refocuses.insert(replace(one, scans=(), result=None))
                await store.refocuses.update(one)
        async with open_store(Path(directory), max_frames=100) as store:
            page = await store.refocuses.page(None, 100)
            single = [await store.refocuses.get(one.refocus_id) for one in records]

    assert page == records[::-1]
    assert single == records


@settings(deadline=None, max_examples=15)
@given(made=st.lists(any_record(Baseline), max_size=4, unique_by=lambda one: one.condition))
async def test_baselines_come_back(made: list[Baseline]) -> None:
    """Any baseline is read after a restart exactly as it was put."""
    with tempfile.TemporaryDirectory() as directory:
        async with open_store(Path(directory), max_frames=100) as store:
            for one in made:
                await store.baselines.put(one)
        async with open_store(Path(directory), max_frames=100) as store:
            listed = await store.baselines.list()
            single = [await store.baselines.get(one.condition) for one in made]

    assert single == made
    assert {one.condition for one in listed} == {one.condition for one in made}


@settings(deadline=None, max_examples=15)
@given(made=st.lists(any_record(RefocusSpectra), max_size=3))
async def test_spectra_come_back(made: list[RefocusSpectra]) -> None:
    """The spectra of any refocus are read after a restart exactly as they were put."""
    runs = [replace(one, refocus_id=number) for number, one in enumerate(made, 1)]
    with tempfile.TemporaryDirectory() as directory:
        async with open_store(Path(directory), max_frames=100) as store:
            for one in runs:
                await store.spectra.put(one)
        async with open_store(Path(directory), max_frames=100) as store:
            kept = [await store.spectra.get(one.refocus_id) for one in runs]

    assert kept == runs


async def test_a_stored_spectrum_measures_as_it_did(store: Store) -> None:
    """To the last bit: what is computed from it later is what was computed from the picture."""
    measured = radial_spectrum(np.random.default_rng(3).integers(0, 255, (96, 128)).astype(np.uint8))
    await store.spectra.put(RefocusSpectra(1, (StoredSpectrum.of(measured),)))

    kept = await store.spectra.get(1)

    assert kept is not None
    restored = kept.spectra[0].restored()
    assert np.array_equal(restored.frequency, measured.frequency)
    assert log_energy(restored, 2.0) == log_energy(measured, 2.0)


async def test_only_the_newest_spectra_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often they are asked for, they do not fill the disk."""
    monkeypatch.setattr("focusd.store.spectra.MAX_RUNS", 3)
    for number in (1, 5, 6, 7):
        await store.spectra.put(spectra(number))

    assert [number for number in range(1, 8) if await store.spectra.get(number)] == [5, 6, 7]


@settings(deadline=None, max_examples=15)
@given(name=TEXT, value=JSON_VALUES)
async def test_settings_come_back(name: str, value: object) -> None:
    """Any JSON value is read after a restart exactly as it was put."""
    with tempfile.TemporaryDirectory() as directory:
        async with open_store(Path(directory), max_frames=100) as store:
            await store.settings.put(name, "something else")
            await store.settings.put(name, value)  # type: ignore[arg-type] # hypothesis cannot say JSON
        async with open_store(Path(directory), max_frames=100) as store:
            assert await store.settings.get(name) == value


async def test_what_was_never_kept_is_none(store: Store) -> None:
    """An unknown name, id or condition gives ``None``, also an id that SQLite could not hold."""
    assert await store.frames.get(1) is None
    assert await store.frames.get(2**70) is None
    assert await store.refocuses.get(-(2**70)) is None
    assert await store.spectra.get(1) is None
    assert await store.spectra.get(2**70) is None
    assert await store.baselines.get("none") is None
    assert await store.settings.get("none") is None


async def test_pages_go_back_without_gaps(store: Store) -> None:
    """Each page continues below the last id of the page before."""
    for number in range(1, 11):
        await store.frames.append(verdict(number))

    first = await store.frames.page(None, 4)
    second = await store.frames.page(first[-1].frame_id, 4)
    third = await store.frames.page(second[-1].frame_id, 4)

    ids = [[one.frame_id for one in page] for page in (first, second, third)]
    assert ids == [[10, 9, 8, 7], [6, 5, 4, 3], [2, 1]]


@pytest.mark.parametrize(
    ("before", "limit"), [(1, 10), (0, 10), (-5, 10), (-(2**70), 10), (None, 0), (None, -1)]
)
async def test_pages_beyond_the_end_are_empty(store: Store, before: int | None, limit: int) -> None:
    """A cursor below the first id, or a limit of nothing, gives nothing."""
    await store.frames.append(verdict(1))
    await store.refocuses.insert(refocus(1))

    assert await store.frames.page(before, limit) == []
    assert await store.refocuses.page(before, limit) == []


async def test_a_cursor_above_all_ids_starts_at_the_newest(store: Store) -> None:
    """Also one that SQLite could not hold."""
    await store.frames.append(verdict(1))

    assert await store.frames.page(2**70, 10) == [verdict(1)]


async def test_the_oldest_frames_go(directory: Path) -> None:
    """At least ``max_frames`` are kept and at most a tenth more."""
    async with open_store(directory, max_frames=100) as store:
        kept = []
        for _ in range(230):
            frame_id = await store.frames.next_id()
            await store.frames.append(verdict(frame_id))
            kept.append(len(await store.frames.page(None, 1000)))
        newest = await store.frames.page(None, 100)

    assert kept[:100] == list(range(1, 101))
    assert min(kept[100:]) == 100
    assert max(kept) <= 110
    assert [one.frame_id for one in newest] == list(range(230, 130, -1))


async def test_ids_go_on_after_a_restart(directory: Path) -> None:
    """An id that was used is never given again, also when its row is the only one left."""
    async with open_store(directory, max_frames=1) as store:
        given = [await store.frames.next_id() for _ in range(5)]
        for frame_id in given:
            await store.frames.append(verdict(frame_id))
        await store.refocuses.insert(refocus(await store.refocuses.next_id()))
    async with open_store(directory, max_frames=1) as store:
        next_frame, next_refocus = await store.frames.next_id(), await store.refocuses.next_id()

    assert given == [1, 2, 3, 4, 5]
    assert (next_frame, next_refocus) == (6, 2)


async def test_an_id_is_used_once(store: Store) -> None:
    """A second row under a taken id is refused and the first stays."""
    await store.frames.append(verdict(1))
    await store.refocuses.insert(refocus(1))

    with pytest.raises(StoreError, match="UNIQUE"):
        await store.frames.append(replace(verdict(1), ratio=0.1))
    with pytest.raises(StoreError, match="UNIQUE"):
        await store.refocuses.insert(replace(refocus(1), method="other"))

    assert await store.frames.get(1) == verdict(1)
    assert await store.refocuses.get(1) == refocus(1)


async def test_a_refocus_cut_short_by_the_daemons_death_gets_a_result(directory: Path) -> None:
    """Only rows without a result are touched, once."""
    done = replace(refocus(1), result=RefocusResult.REFOCUSED, reason="peak found")
    async with open_store(directory, max_frames=100) as store:
        await store.refocuses.insert(done)
        await store.refocuses.insert(refocus(2))
    async with open_store(directory, max_frames=100) as store:
        closed = await store.refocuses.close_interrupted(
            RefocusResult.LINK_LOST, "focusd ended in the middle of it"
        )
        again = await store.refocuses.close_interrupted(RefocusResult.LINK_LOST, "another reason")
        page = await store.refocuses.page(None, 10)

    ended = replace(refocus(2), result=RefocusResult.LINK_LOST, reason="focusd ended in the middle of it")
    assert (closed, again) == ([ended], [])
    assert page == [ended, done]


async def test_an_update_makes_up_for_a_lost_insert(store: Store) -> None:
    """The disk may have been full when the refocus began; its outcome is kept all the same."""
    done = replace(refocus(3), result=RefocusResult.NO_PEAK)

    await store.refocuses.update(done)

    assert await store.refocuses.get(3) == done


async def test_the_newest_baseline_that_fits_is_found(store: Store) -> None:
    """Conditions within the tolerance share baselines; among several the newest is taken."""
    older = baseline(pixel_size_nm=10.0, created_at=100.0)
    newer = baseline(pixel_size_nm=10.1, created_at=200.0)
    other = baseline(pixel_size_nm=10.0, created_at=300.0, detector="BSE")
    for one in (newer, other, older):
        await store.baselines.put(one)

    found = await store.baselines.find(replace(older.conditions, pixel_size_nm=10.05))
    missed = await store.baselines.find(replace(older.conditions, pixel_size_nm=20.0))

    assert found == newer
    assert missed is None
    assert await store.baselines.list() == [other, newer, older]


async def test_a_baseline_is_replaced_and_forgotten(store: Store) -> None:
    """One baseline per condition; deleting tells whether there was one."""
    first, second = baseline(created_at=100.0), baseline(created_at=200.0)
    await store.baselines.put(first)
    await store.baselines.put(second)

    listed = await store.baselines.list()
    deleted = [await store.baselines.delete(first.condition) for _ in range(2)]

    assert listed == [second]
    assert deleted == [True, False]
    assert await store.baselines.list() == []


async def test_a_read_only_mapping_of_scores_is_taken(store: Store) -> None:
    """Any mapping of scores can be kept and comes back equal."""
    frozen = replace(baseline(), sharpness=MappingProxyType({"band_ratio": 0.5}))

    await store.baselines.put(frozen)

    assert await store.baselines.list() == [replace(frozen, sharpness={"band_ratio": 0.5})]


async def test_numbers_of_numpy_are_taken(store: Store) -> None:
    """Scores come from numpy, and are read back as Python's numbers."""
    scores = {"band_ratio": np.float32(0.5), "log_energy": np.float64(4.5)}
    made = replace(baseline(), sharpness=cast("dict[str, float]", scores), frames=cast("int", np.int64(7)))

    await store.baselines.put(made)

    (found,) = await store.baselines.list()
    assert (dict(found.sharpness), found.frames) == ({"band_ratio": 0.5, "log_energy": 4.5}, 7)
    assert {type(value) for value in found.sharpness.values()} == {float}


async def test_what_is_no_value_is_refused(store: Store) -> None:
    """An object that has no place in a record is an error in words."""
    with pytest.raises(StoreError, match="object has no place in a record"):
        await store.baselines.put(replace(baseline(), sharpness=cast("dict[str, float]", {"a": object()})))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
async def test_a_baseline_that_is_no_number_is_refused(store: Store, value: float) -> None:
    """A score that is not finite would make every frame look sharp or lost; the old baseline stays."""
    await store.baselines.put(baseline())

    with pytest.raises(StoreError, match="cannot be stored"):
        await store.baselines.put(replace(baseline(), sharpness={"band_ratio": value}))

    assert await store.baselines.list() == [baseline()]


async def test_text_that_no_encoding_holds_is_refused(store: Store) -> None:
    """Half a character in a reason is an error in words, and nothing is kept."""
    with pytest.raises(StoreError, match="cannot be stored"):
        await store.frames.append(replace(verdict(1), reason="\ud800"))

    assert await store.frames.page(None, 10) == []


async def test_a_score_that_is_no_number_is_kept_as_unknown(store: Store) -> None:
    """No score that is not finite is ever stored."""
    await store.frames.append(replace(verdict(1), sharpness=float("nan"), ratio=float("inf")))

    assert await store.frames.get(1) == replace(verdict(1), sharpness=None, ratio=None)
