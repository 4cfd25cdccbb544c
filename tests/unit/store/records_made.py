"""Records of every kind, made by hypothesis from their own type hints, and plain ones made by hand."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar

from hypothesis import strategies as st

from focusd.frame import ImagingConditions, StagePosition
from focusd.records import (
    Baseline,
    FileNote,
    FrameVerdict,
    RefocusRecord,
    RefocusScan,
    RefocusSpectra,
    RefocusTrigger,
    ScanRole,
    StoredSpectrum,
    Verdict,
)
from focusd.store.files import Files

T = TypeVar("T")

_SCALARS: dict[object, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**62), 2**62),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(st.characters(codec="utf-8"), max_size=20),
    bool: st.booleans(),
    type(None): st.none(),
}


async def notes_under(files: Files, folder: str) -> list[FileNote]:
    """Give all notes on the files of a folder."""
    return [note async for notes in files.under(folder) for note in notes]


def any_record(kind: type[T]) -> st.SearchStrategy[T]:
    """Give the values of a record type with finite numbers; a field added later is covered by itself."""
    strategy: st.SearchStrategy[T] = _of(kind)
    return strategy


def _of(hint: Any) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return st.builds(hint, **{field.name: _of(hints[field.name]) for field in fields(hint)})
    if origin in (types.UnionType, typing.Union):
        return st.one_of([_of(argument) for argument in arguments])
    if origin is tuple:
        return st.lists(_of(arguments[0]), max_size=4).map(tuple)
    assert origin is Mapping, f"no strategy for {hint}"
    return st.dictionaries(_of(arguments[0]), _of(arguments[1]), max_size=4)


def verdict(frame_id: int) -> FrameVerdict:
    """Make a plain verdict."""
    return FrameVerdict(
        frame_id=frame_id,
        acquired_at=1_700_000_000.0 + frame_id,
        verdict=Verdict.IN_FOCUS,
        condition="SE-5kV",
        reason=None,
        metric="band_ratio",
        sharpness=0.8,
        sharpness_standard_error=0.01,
        baseline_sharpness=0.82,
        ratio=0.98,
        laplacian_variance=120.0,
        signal_to_noise=9.5,
        saturated_fraction=0.0,
        working_distance_mm=9.0,
        stage_position=StagePosition(x_mm=1.0, y_mm=2.0),
    )


def refocus(refocus_id: int) -> RefocusRecord:
    """Make a refocus that is running."""
    scan = RefocusScan(
        index=0,
        role=ScanRole.START,
        working_distance_mm=9.0,
        sharpness=0.4,
        sharpness_standard_error=0.01,
        laplacian_variance=60.0,
        signal_to_noise=8.0,
        beam_time_s=1.05,
    )
    return RefocusRecord(
        refocus_id=refocus_id,
        trigger=RefocusTrigger.DRIFT,
        method="brent",
        metric="log_energy",
        condition="SE-5kV",
        started_at=1_700_000_000.0,
        start_working_distance_mm=9.0,
        max_scans=14,
        scans=(scan,),
    )


def spectra(refocus_id: int) -> RefocusSpectra:
    """Make the spectra of a run of one scan."""
    spectrum = StoredSpectrum((0.1, 0.4), power=(90.0, 12.5), modes=(40.0, 300.0), corner_power=8.0)
    return RefocusSpectra(refocus_id, (spectrum,))


def baseline(*, detector: str = "SE", created_at: float = 1_700_000_000.0, **conditions: Any) -> Baseline:
    """Make a baseline."""
    return Baseline(
        conditions=ImagingConditions(1024, 1024, 8, detector=detector, **conditions),
        sharpness={"band_ratio": 0.82, "log_energy": 4.5},
        source="refocus",
        created_at=created_at,
        frames=1,
        working_distance_mm=9.0,
    )
