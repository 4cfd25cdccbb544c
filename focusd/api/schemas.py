"""What clients may send. Strict: a string is no number, a misspelt key is an error, NaN is refused.

Two rules keep the models and the JSON Schema made from them of one mind: an integral float such as ``26.0``
counts as an integer (JSON Schema says so), and ``Field`` stands before ``BeforeValidator``, because bounds
are lost from the schema otherwise.
"""

from __future__ import annotations

from typing import Annotated, Literal

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
Word = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$")]
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


class CheckpointQuery(Request):
    """How long to wait for the refocus that is pending."""

    timeout_s: Annotated[float, Field(ge=0, le=3600)] = 600.0
    """Longest wait."""


Millimetres = Annotated[float, Field(ge=-1000, le=1000)]


class PositionBody(Request):
    """A place of the stage, as the microscope tells its position."""

    x_mm: Millimetres
    """Along x."""
    y_mm: Millimetres
    """Along y."""


class CheckpointBody(Request):
    """What comes next."""

    position: PositionBody | None = None
    """Where the next tile is: the lens may go to the focus predicted for it."""


class PredictBody(Request):
    """Where, and when, focus is to be predicted."""

    positions: Annotated[list[PositionBody], Field(min_length=1, max_length=1000)]
    """Places of the stage."""
    at: Annotated[float, Field(ge=0, le=1e11)] | None = None
    """Seconds since 1970 (UTC); now unless given."""


class LeaseQuery(Request):
    """How long to wait for a refocus that runs."""

    wait_s: Annotated[float, Field(ge=0, le=3600)] = 600.0
    """Longest wait; 409 after that."""


class LeaseBody(Request):
    """A promise asked of focusd: not to move the lens."""

    holder: Line
    """Who scans, for people."""
    expires_in_s: Annotated[float, Field(ge=1, le=86_400)] = 600.0
    """When the lease runs out unless it is renewed."""


class RenewalBody(Request):
    """How much longer a lease is to hold."""

    expires_in_s: Annotated[float, Field(ge=1, le=86_400)] = 600.0
    """From now."""


class FrameQuery(Request):
    """What a client knows of a frame it sends; what it does not say is taken from the file's own header."""

    wait: Literal["verdict", "refocus"] = "verdict"
    """``refocus``: answer when the refocus that the frame leads to has ended."""
    timeout_s: Annotated[float, Field(ge=0, le=3600)] = 600.0
    """Longest wait for the refocus; then its record is given as it stands."""
    shape: Annotated[str, Field(max_length=40)] | None = None
    """``rows,columns`` of bare pixels."""
    dtype: Annotated[str, Field(max_length=40)] | None = None
    """``uint8`` or ``uint16`` (little-endian) of bare pixels."""
    working_distance_mm: Annotated[float, Field(gt=0, le=1000)] | None = None
    """As read back."""
    pixel_size_nm: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Side of a pixel on the specimen."""
    dwell_time_us: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Time the beam rested on a pixel."""
    accelerating_voltage_kv: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Of the beam."""
    detector: Word | None = None
    """Its name."""
    label: Word | None = None
    """Your own word for what is imaged; baselines of different labels are kept apart."""
    acquired_at: Annotated[float, Field(ge=0, le=1e11)] | None = None
    """Seconds since 1970 (UTC)."""
    x_mm: float | None = None
    """Position of the stage."""
    y_mm: float | None = None
    """The same."""
    z_mm: float | None = None
    """The same."""
    rotation_deg: float | None = None
    """Of the stage."""
    tilt_deg: float | None = None
    """Of the stage."""


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
