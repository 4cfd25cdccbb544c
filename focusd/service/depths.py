"""The depth of field that past refocuses have measured, by imaging condition, kept in the store."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from focusd.focus.depth import LearnedDepth
from focusd.focus.search import SearchOutcome
from focusd.store.database import Store

_ADAPTER = TypeAdapter(LearnedDepth)


class Depths:
    """Knows the depth of field, better with each refocus.

    Args:
        store: Where it is kept.
        configured_um: What is believed before the first refocus; changing it starts afresh.
    """

    def __init__(self, store: Store, configured_um: float) -> None:
        self._store = store
        self._configured_um = configured_um

    async def known(self, condition: str) -> LearnedDepth:
        """Give what is believed of a condition."""
        stored = await self._store.settings.get(_name(condition))
        try:
            learned = _ADAPTER.validate_python(stored)
        except ValidationError:
            # Nothing there yet, or numbers that make no sense: the configured value is always good enough.
            return LearnedDepth.configured(self._configured_um)
        if learned.configured_um != self._configured_um:
            return LearnedDepth.configured(self._configured_um)
        return learned

    async def learn(self, condition: str, outcome: SearchOutcome) -> None:
        """Take in what a successful refocus has measured."""
        if outcome.depth_of_field_um is None or outcome.depth_of_field_sd_um is None:
            return
        learned = (await self.known(condition)).after(outcome.depth_of_field_um, outcome.depth_of_field_sd_um)
        await self._store.settings.put(_name(condition), _ADAPTER.dump_python(learned, mode="json"))


def _name(condition: str) -> str:
    return f"depth_of_field/{condition}"
