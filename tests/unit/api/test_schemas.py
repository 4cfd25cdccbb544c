"""Requests' models and the JSON Schema made from them are of one mind."""

from __future__ import annotations

from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import ValidationError

from focusd.api import schemas
from focusd.api.app import ROUTES
from focusd.api.schemas import FramesQuery, Request, WaitQuery, WorkingDistanceBody
from focusd.api.tokens import Scope
from focusd.focus.metrics import METRICS

MODELS = [
    value
    for value in vars(schemas).values()
    if isinstance(value, type) and issubclass(value, Request) and value is not Request
]
KEYWORDS = {
    Ge: "minimum",
    Gt: "exclusiveMinimum",
    Le: "maximum",
    Lt: "exclusiveMaximum",
    MaxLen: "max",
    MinLen: "min",
}


@pytest.mark.parametrize("model", MODELS)
def test_every_bound_is_in_the_schema(model: type[Request]) -> None:
    """A bound that only the code knows would surprise every generated client."""
    schema = model.model_json_schema()

    assert schema["additionalProperties"] is False
    for name, field in model.model_fields.items():
        written = str(schema["properties"][name])
        for bound in field.metadata:
            keyword = KEYWORDS.get(type(bound))
            assert keyword is None or keyword in written, (name, bound)


@pytest.mark.parametrize("model", MODELS)
def test_every_field_says_what_it_means(model: type[Request]) -> None:
    """Descriptions feed the API's documentation."""
    assert all(field.description for field in model.model_fields.values())


def test_the_schema_names_the_metrics() -> None:
    """A client can choose one without trying."""
    sharpness = schemas.BaselineBody.model_json_schema()["properties"]["sharpness"]

    assert sharpness["propertyNames"]["enum"] == list(METRICS)


def test_bounds_of_optional_ids_are_in_the_schema() -> None:
    """``before`` may be left out, not be zero."""
    options = FramesQuery.model_json_schema()["properties"]["before"]["anyOf"]

    assert {"type": "integer", "minimum": 1, "maximum": 2**63 - 1} in options


@pytest.mark.parametrize(("sent", "taken"), [(20, 20), (20.0, 20), (1, 1), (200, 200)])
def test_an_integral_number_is_an_integer(sent: float, taken: int) -> None:
    """JSON Schema makes no difference between 20 and 20.0."""
    limit = FramesQuery.model_validate({"limit": sent}).limit

    assert limit == taken
    assert type(limit) is int


@pytest.mark.parametrize("sent", [20.5, "20", True, None, float("nan"), float("inf"), [20]])
def test_nothing_else_is_an_integer(sent: object) -> None:
    """Also what Python would gladly turn into one."""
    with pytest.raises(ValidationError):
        FramesQuery.model_validate({"limit": sent})


@pytest.mark.parametrize("sent", [0, 1, "true", 1.0])
def test_only_true_and_false_are_truth_values(sent: object) -> None:
    """A wait is not asked for by accident."""
    with pytest.raises(ValidationError):
        WaitQuery.model_validate({"wait": sent})


def test_a_request_cannot_be_changed_on_its_way() -> None:
    """What was checked is what is done."""
    body: Any = WorkingDistanceBody(working_distance_mm=9.0)

    with pytest.raises(ValidationError):
        body.working_distance_mm = 90.0


def test_the_table_names_each_route_once_and_describes_it() -> None:
    """No row hides another, and each handler says what it answers."""
    rows = [(route.method, route.path) for route in ROUTES]

    assert len(set(rows)) == len(rows)
    assert all(route.path.startswith("/v1/") for route in ROUTES)
    assert all(route.handler.__doc__ for route in ROUTES)
    assert {route.path for route in ROUTES if route.scope is Scope.NOTHING} == {
        "/v1/health/live",
        "/v1/health/ready",
    }
