"""Refocuses: start, history, one with its scans and their spectra, cancel."""

from __future__ import annotations

from focusd.api.problems import ALREADY_FINISHED, ProblemError
from focusd.api.rendering import encoded, plain
from focusd.api.routing import Answer, Call
from focusd.api.schemas import CancelQuery, NoBody, NoQuery, RefocusBody, RefocusesQuery, WaitQuery
from focusd.errors import NotFoundError
from focusd.records import RefocusRecord


async def start_refocus(call: Call[WaitQuery, RefocusBody]) -> Answer:
    """Start a refocus: 202 with its record and ``Location``; with ``wait=true`` 200 with the finished record.

    A wait that outlasts ``timeout_s`` ends in 202 with the record as it stands. The refocus goes on whether
    or not anybody waits. How it ended is in ``result``: a refocus that found no peak is no HTTP error.
    """
    record = await call.verbs.start_refocus(keep_spectra=call.body.keep_spectra)
    if call.query.wait:
        waiting = call.verbs.wait_for_refocus(record.refocus_id, timeout_s=call.query.timeout_s)
        record = await call.hold(waiting)
    return _as_it_stands(record)


async def list_refocuses(call: Call[RefocusesQuery, NoBody]) -> Answer:
    """Answer ``{"refocuses": [...], "next"}``, newest first; one that runs has ``result`` null."""
    limit = call.query.limit
    records = await call.verbs.store.refocuses.page(call.query.before, limit + 1)
    more = len(records) > limit
    page = [await _current(call, record) for record in records[:limit]]
    return Answer(body=await encoded({"refocuses": page, "next": page[-1].refocus_id if more else None}))


async def get_refocus(call: Call[NoQuery, NoBody]) -> Answer:
    """Answer one refocus with its scans so far, 404 if there is none."""
    return Answer(body=plain(await call.verbs.get_refocus(call.path_id("refocus_id"))))


async def get_spectra(call: Call[NoQuery, NoBody]) -> Answer:
    """Answer ``{"refocus_id", "spectra": [...]}``, one for each scan, in the order of the record's ``scans``.

    Each has ``frequency_cycles_per_px``, ``power``, ``modes`` by ring, and ``corner_power``, the noise floor.
    404 if none are kept: they must be asked for, and are there when the refocus has ended.
    """
    refocus_id = call.path_id("refocus_id")
    spectra = await call.verbs.store.spectra.get(refocus_id)
    if spectra is None:
        record = await call.verbs.get_refocus(refocus_id)
        raise NotFoundError(f"no spectra of refocus {refocus_id} are kept: {_why_none(record)}")
    return Answer(body=await encoded(spectra))


async def cancel_refocus(call: Call[CancelQuery, NoBody]) -> Answer:
    """End a refocus and answer its finished record once the lens was put back; 409 if it had ended already.

    A wait that outlasts ``timeout_s`` ends in 202 with the record as it stands. The cancel holds whether or
    not anybody waits.
    """
    refocus_id = call.path_id("refocus_id")
    record = await call.verbs.get_refocus(refocus_id)
    if record.result is not None:
        raise _already_finished(record)
    try:
        call.verbs.cancel_refocus(refocus_id)
    except NotFoundError:
        # It ended between the two calls.
        raise _already_finished(await call.verbs.get_refocus(refocus_id)) from None
    waiting = call.verbs.wait_for_refocus(refocus_id, timeout_s=call.query.timeout_s)
    return _as_it_stands(await call.hold(waiting))


async def _current(call: Call[RefocusesQuery, NoBody], record: RefocusRecord) -> RefocusRecord:
    """The store holds a running refocus as it began; the service knows how far it is."""
    return record if record.result is not None else await call.verbs.get_refocus(record.refocus_id)


def _as_it_stands(record: RefocusRecord) -> Answer:
    return Answer(
        status=202 if record.result is None else 200,
        body=plain(record),
        headers={"Location": f"/v1/refocuses/{record.refocus_id}"},
    )


def _why_none(record: RefocusRecord) -> str:
    if not record.keep_spectra:
        return "it was started without keep_spectra"
    return "it has not ended yet" if record.result is None else "they were the oldest, or nothing was scanned"


def _already_finished(record: RefocusRecord) -> ProblemError:
    result = None if record.result is None else record.result.value
    return ProblemError(
        ALREADY_FINISHED, f"refocus {record.refocus_id} ended with {result or 'no result'}", result=result
    )
