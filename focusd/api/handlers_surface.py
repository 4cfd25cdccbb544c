"""Focus over the stage: where it was found, what that says, and where it is expected."""

from __future__ import annotations

from typing import Any

from focusd.api.rendering import plain
from focusd.api.routing import Answer, Call
from focusd.api.schemas import NoBody, NoQuery, PredictBody
from focusd.errors import NotFoundError
from focusd.service.surface import KnownSurface, Place


async def get_surface(call: Call[NoQuery, NoBody]) -> Answer:
    """Answer ``{"surfaces": [...]}``, that of the newest point first.

    Each has ``condition``, ``depth_of_field_um``, ``is_doubted`` (its newest point contradicts the others),
    ``fit`` (tilt, drift and relief with their standard deviations, see ``SurfaceFit``) and ``points``, oldest
    first. Points found at another height, tilt, rotation or imaging condition make another surface.
    """
    return Answer(body={"surfaces": [_surface(one) for one in await call.verbs.surfaces.all()]})


async def predict_focus(call: Call[NoQuery, PredictBody]) -> Answer:
    """Answer ``{"condition", "predictions": [...]}``, in the order of the positions.

    Each is ``{"x_mm", "y_mm", "working_distance_mm", "standard_deviation_um"}``, by the points that hold for
    the microscope as it is; 404 if there are none.
    """
    surfaces = call.verbs.surfaces
    surface = await surfaces.now(call.verbs.status.column)
    if surface is None:
        raise NotFoundError("no focus was found yet under the present conditions")
    places = [Place(one.x_mm, one.y_mm) for one in call.body.positions]
    told = await surfaces.predict(surface, places, call.body.at)
    predictions = [{**plain(place), **plain(focus)} for place, focus in zip(places, told, strict=True)]
    return Answer(body={"condition": surface.condition, "predictions": predictions})


async def clear_surface(call: Call[NoQuery, NoBody]) -> Answer:
    """Forget all points, for another specimen; answer ``{"points_forgotten"}``."""
    return Answer(body={"points_forgotten": await call.verbs.surfaces.clear()})


def _surface(surface: KnownSurface) -> dict[str, Any]:
    shown = {
        "condition": surface.condition,
        "depth_of_field_um": surface.depth_of_field_um,
        "is_doubted": surface.is_doubted,
        "fit": surface.fit,
        "points": surface.points,
    }
    return {name: plain(value) for name, value in shown.items()}
