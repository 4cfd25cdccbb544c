"""What every error means over HTTP."""

from __future__ import annotations

import errno
import inspect
import json
import sqlite3
from collections.abc import Callable

import pytest

from focusd import errors
from focusd.api import problems
from focusd.api.problems import Kind, problem_for
from focusd.errors import BusyError, FocusdError, LocalProtocolError, StoreError, WorkingDistanceNotSetError


def full_disk() -> sqlite3.Error:
    """An SQLITE_FULL as SQLite raises it."""
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA max_page_count = 2")
    connection.execute("CREATE TABLE t (x)")
    try:
        with pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    finally:
        connection.close()
    return caught.value


def caused(cause: BaseException) -> StoreError:
    """A store error with a cause."""
    error = StoreError("state/focusd.sqlite: it went wrong")
    error.__cause__ = cause
    return error


def test_every_kind_has_a_type_of_its_own() -> None:
    """Types are what programs tell problems apart by, so no two kinds share one."""
    kinds = [value for value in vars(problems).values() if isinstance(value, Kind)]

    assert len({kind.slug for kind in kinds}) == len(kinds) > 30
    assert all(400 <= kind.status <= 599 for kind in kinds)


@pytest.mark.parametrize(
    "kind",
    [
        value
        for _, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, FocusdError)
        and value not in {FocusdError, errors.ConfigError, LocalProtocolError}
    ],
)
def test_every_error_of_a_request_has_a_meaning(kind: type[FocusdError]) -> None:
    """No error that a verb may raise ends as a fault of focusd."""
    special: dict[type[FocusdError], Callable[[], FocusdError]] = {
        errors.WorkingDistanceLimitError: lambda: errors.WorkingDistanceLimitError(3.0, 4.0, 30.0),
        errors.LeasedError: lambda: errors.LeasedError("a scan runs", free_in_s=2.5),
        errors.WorkingDistanceNotSetError: lambda: errors.WorkingDistanceNotSetError(9.0, 8.0),
    }
    made = special[kind]() if kind in special else kind("it went wrong")

    problem = problem_for(made)

    assert problem is not None
    assert problem.kind.status != 500
    assert problem.detail == str(made)


@pytest.mark.parametrize("fault", [LocalProtocolError("a bug"), errors.ConfigError(["x"]), KeyError("bug")])
def test_a_fault_of_focusd_has_no_meaning_for_clients(fault: Exception) -> None:
    """It is logged and answered 500 by whoever asked."""
    assert problem_for(fault) is None


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (full_disk(), 507),
        (OSError(errno.ENOSPC, "No space left on device"), 507),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 507),
        (OSError(errno.EROFS, "Read-only file system"), 503),
        (sqlite3.OperationalError("database is locked"), 503),
    ],
)
def test_a_full_disk_is_told_from_a_broken_one(cause: BaseException, status: int) -> None:
    """507 asks for room, 503 for repair."""
    problem = problem_for(caused(cause))

    assert problem is not None
    assert problem.kind.status == status


@pytest.mark.parametrize(("running_id", "told"), [("12", 12), (None, None), ("a job", None)])
def test_busy_names_the_running_refocus_as_a_number(running_id: str | None, told: int | None) -> None:
    """Ids are integers in every answer."""
    problem = problem_for(BusyError("a refocus is running", running_id=running_id))

    assert problem is not None
    assert problem.document()["running_id"] == told


def test_a_document_holds_the_members_of_rfc_9457_and_the_facts() -> None:
    """Type, title, status and detail come first, then what the error knows."""
    problem = problem_for(WorkingDistanceNotSetError(9.5, 9.0))

    assert problem is not None
    assert json.loads(json.dumps(problem.document())) == {
        "type": "urn:focusd:problem:working-distance-not-set",
        "title": "The microscope did not take the working distance",
        "status": 502,
        "detail": "asked for working distance 9.500000 mm, the microscope is at 9.000000 mm",
        "requested_working_distance_mm": 9.5,
        "working_distance_mm": 9.0,
    }
