"""Settle what a refocus left open: put the lens back, unless an operator has moved it since."""

from __future__ import annotations

import structlog

from focusd.microscope.interface import Microscope
from focusd.records import RestorePoint
from focusd.store.database import Store

_log = structlog.get_logger(__name__)


async def settle_open_entries(store: Store, microscope: Microscope, *, tolerance_mm: float) -> int:
    """Close every open restore point; give their number. Runs after each connect, before anything else.

    The lens is put back only when it stands where the refocus sent it. Anywhere else it has been moved
    by somebody since, and stays.

    Raises:
        MicroscopeError: the lens could not be put back; the entry stays open.
        StoreError: the journal cannot be read or written.
    """
    entries = await store.journal.pending()
    # The last first: it may have begun where the one before had left the lens.
    for entry in reversed(entries):
        await _settle(store, microscope, entry, tolerance_mm)
    return len(entries)


async def _settle(store: Store, microscope: Microscope, entry: RestorePoint, tolerance_mm: float) -> None:
    found_mm = await microscope.get_working_distance()
    original_mm = entry.original_working_distance_mm
    log = _log.bind(
        refocus_id=entry.refocus_id,
        original_working_distance_mm=original_mm,
        found_working_distance_mm=found_mm,
    )
    if abs(found_mm - original_mm) <= tolerance_mm:
        outcome = "already_there"
    elif any(abs(found_mm - placed_mm) <= tolerance_mm for placed_mm in entry.commanded_mm):
        await microscope.set_working_distance(original_mm)
        outcome = "put_back"
    else:
        outcome = "left_to_operator"
    await store.journal.close(entry.entry_id, outcome)
    log.warning("restore_point_settled", outcome=outcome)
