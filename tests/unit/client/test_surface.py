"""Either client says where the next tile is, and reads what focus is predicted there."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

from tests.unit.client.faces import BOTH, client_of
from tests.unit.client.scripted_daemon import Said, problem, scripted

PREDICTED: dict[str, Any] = {
    "x_mm": 1.5,
    "y_mm": -2,
    "working_distance_mm": 9.002,
    "standard_deviation_um": 0.75,
    "points": 7,
    "applied": True,
    "readback_mm": 9.0021,
    "reason": "",
}
MOVED: dict[str, Any] = {
    "action": "moved",
    "reacquire_from": None,
    "working_distance_mm": 9.0021,
    "refocus": None,
    "prediction": PREDICTED,
}

both = pytest.mark.parametrize("kind", BOTH, ids=lambda module: module.__name__)


@both
async def test_a_checkpoint_tells_where_the_next_tile_is(kind: ModuleType) -> None:
    """The position goes out in the body, and what became of it comes back."""
    async with scripted(Said(MOVED)) as daemon, client_of(kind, daemon.url) as focusd:
        done = await focusd.checkpoint((1.5, -2))

    [asked] = daemon.asked
    assert json.loads(asked.body) == {"position": {"x_mm": 1.5, "y_mm": -2.0}}
    assert asked.headers["content-type"] == "application/json"
    assert (done.action, done.working_distance_mm) == ("moved", 9.0021)
    assert (done.prediction.x_mm, done.prediction.y_mm) == (1.5, -2.0)
    assert done.prediction.working_distance_mm == 9.002
    assert done.prediction.standard_deviation_um == 0.75
    assert done.prediction.applied


@both
async def test_without_a_position_nothing_is_predicted(kind: ModuleType) -> None:
    """Also a daemon too old to know of predictions is understood."""
    old = {name: value for name, value in MOVED.items() if name != "prediction"} | {"action": "none"}
    async with scripted(Said(old)) as daemon, client_of(kind, daemon.url) as focusd:
        done = await focusd.checkpoint()

    assert daemon.asked[0].body == b""
    assert done.prediction is None


@both
async def test_focus_is_predicted_for_many_places(kind: ModuleType) -> None:
    """In the order in which they were asked for."""
    said = [{**PREDICTED, "x_mm": x_mm} for x_mm in (0.0, 0.5)]
    async with (
        scripted(Said({"condition": "SE", "predictions": said})) as daemon,
        client_of(kind, daemon.url) as focusd,
    ):
        told = await focusd.predict_focus([(0, -2), (0.5, -2)])

    [asked] = daemon.asked
    assert json.loads(asked.body)["positions"] == [{"x_mm": 0.0, "y_mm": -2.0}, {"x_mm": 0.5, "y_mm": -2.0}]
    assert [one.x_mm for one in told] == [0.0, 0.5]


@both
async def test_the_surface_of_another_specimen_is_forgotten(kind: ModuleType) -> None:
    """One request, and a refusal has its name."""
    async with (
        scripted(Said({"points_forgotten": 3}), problem("not-found", 404)) as daemon,
        client_of(kind, daemon.url) as focusd,
    ):
        await focusd.forget_focus_surface()
        with pytest.raises(kind.ProblemError) as refused:
            await focusd.predict_focus([(0, 0)])

    assert refused.value.slug == "not-found"


@both
@pytest.mark.parametrize(
    "strange", [{"prediction": {**PREDICTED, "working_distance_mm": None}}, {"prediction": {"x_mm": "1"}}]
)
async def test_a_strange_prediction_is_a_strangers(kind: ModuleType, strange: dict[str, Any]) -> None:
    """A number that is none is not passed on."""
    async with scripted(Said(MOVED | strange)) as daemon, client_of(kind, daemon.url) as focusd:
        with pytest.raises(kind.StrangerError):
            await focusd.checkpoint((1.5, -2.0))
