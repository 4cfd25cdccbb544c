"""How the specimen looks in focus, by imaging condition: what the last success saw, kept in the store."""

from __future__ import annotations

import time

from focusd.focus.measure import Measurement
from focusd.focus.spectrum import RadialSpectrum
from focusd.frame import ImagingConditions
from focusd.records import Reference, StoredSpectrum
from focusd.store.database import Store


class FocusReferences:
    """Knows how a picture in focus looks; where it may not be used, it knows nothing.

    Args:
        store: Where it is kept.
        is_used: Whether references are learnt and used at all.
    """

    def __init__(self, store: Store, *, is_used: bool) -> None:
        self._store = store
        self._is_used = is_used

    async def known(self, conditions: ImagingConditions | None) -> RadialSpectrum | None:
        """Give the spectrum of a picture in focus under these very conditions."""
        if not self._is_used or conditions is None:
            return None
        reference = await self._store.references.find(conditions)
        return reference.spectrum.restored() if reference else None

    async def learn(self, conditions: ImagingConditions, verified: Measurement) -> None:
        """Take in a picture that a refocus has shown to be in focus."""
        if self._is_used and verified.quality.judgeable:
            spectrum = StoredSpectrum.of(verified.spectrum)
            await self._store.references.put(Reference(conditions, spectrum, time.time()))
