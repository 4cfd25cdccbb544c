"""What clients may send. Strict: a string is no number, a misspelt key is an error, NaN is refused.

Two rules keep the models and the JSON Schema made from them of one mind: an integral float such as ``26.0``
counts as an integer (JSON Schema says so), and ``Field`` stands before ``BeforeValidator``, because bounds
are lost from the schema otherwise.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from focusd.focus.metrics import METRICS

LARGEST_ID = 2**63 - 1
"""SQLite's largest integer."""


class Request(BaseModel):
    """Base of all: strict, finite, frozen; a key it does not know is an error."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def _integral(value: object) -> object:
    """Take ``26.0`` for 26."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _known_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"must be one of {', '.join(METRICS)}")
    return name


Id = Annotated[int, Field(ge=1, le=LARGEST_ID), BeforeValidator(_integral)]
Line = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        # A reason goes to systemd and to terminals, where control characters would do harm.
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$",
    ),
]
MetricName = Annotated[str, Field(json_schema_extra={"enum": list(METRICS)}), AfterValidator(_known_metric)]
Sharpness = Annotated[float, Field(gt=0)]


class NoQuery(Request):
    """No query parameters."""


class NoBody(Request):
    """No body, or an empty JSON object."""


class FramesQuery(Request):
    """Which page of the frames."""

    limit: Annotated[int, Field(ge=1, le=200), BeforeValidator(_integral)] = 50
    """Frames at most."""
    before: Id | None = None
    """Only frames with smaller ids: the last page's ``next``."""


class RefocusesQuery(Request):
    """Which page of the refocuses."""

    limit: Annotated[int, Field(ge=1, le=50), BeforeValidator(_integral)] = 20
    """Refocuses at most."""
    before: Id | None = None
    """Only refocuses with smaller ids: the last page's ``next``."""


class WaitQuery(Request):
    """Whether to wait for the end of the refocus."""

    wait: bool = False
    """Answer when it has ended, not at once."""
    timeout_s: Annotated[float, Field(ge=0, le=3600)] = 600.0
    """Longest wait; then the record is given as it stands."""


class CancelQuery(Request):
    """How long to wait for the lens to be put back."""

    timeout_s: Annotated[float, Field(ge=0, le=3600)] = 120.0
    """Longest wait; then the record is given as it stands."""


class ReadyQuery(Request):
    """How long to wait."""

    timeout_s: Annotated[float, Field(ge=0, le=600)] = 30.0
    """Longest wait."""


class RefocusBody(Request):
    """How a refocus is recorded."""

    keep_spectra: bool | None = None
    """Whether the power spectrum of each scan is kept; ``refocus.keep_spectra`` unless given."""


class PauseBody(Request):
    """Why focusd is paused."""

    reason: Line = "paused on request"
    """One line, shown wherever the status is."""


class WorkingDistanceBody(Request):
    """Where to put the lens."""

    working_distance_mm: float
    """Within ``limits_mm`` of the microscope."""


class BaselineBody(Request):
    """New reference values of an imaging condition; they replace the old ones."""

    sharpness: Annotated[dict[MetricName, Sharpness], Field(min_length=1)]
    """Sharpness in focus, by metric."""
