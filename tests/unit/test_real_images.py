"""Every real SEM image at hand can be read, judged, put under the simulated beam, and focused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from focusd.focus.measure import measure
from focusd.frame import ScanRequest
from focusd.imagefile import read_image
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.specimen import Specimen
from tests.loopback.bench import connected
from tests.real_images import needs_real_images, real_image_files

pytestmark = needs_real_images
each_image = pytest.mark.parametrize("path", real_image_files(), ids=lambda path: path.name)


@each_image
def test_a_real_image_can_be_read_and_judged(path: Path) -> None:
    """It holds signal, its scores are finite, and nothing about it is refused."""
    measurement = measure(read_image(path), ["log_energy", "band_ratio"])

    assert measurement.quality.judgeable, measurement.quality.reason
    assert all(np.isfinite(score.value) for score in measurement.scores.values())


def column_over(path: Path, working_distance_mm: float = 9.0) -> SimulatedColumn:
    """Put an image under the simulated beam."""
    return SimulatedColumn(
        ColumnOptions(field_of_view_mm=0.00512, working_distance_mm=working_distance_mm),
        Specimen(SpecimenOptions(image=path)),
    )


@each_image
def test_under_the_simulated_beam_it_blurs(path: Path) -> None:
    """The score falls with the distance from focus."""
    scores = []
    for defocus_mm in (0.0, 0.008, 0.02):
        pixels = column_over(path, 9.0 + defocus_mm).render(ScanRequest(512, 512, 1.0))
        scores.append(measure(pixels, ["log_energy"]).scores["log_energy"].value)

    assert scores[0] > scores[1] > scores[2]


@each_image
async def test_the_daemon_focuses_it(path: Path, tmp_path: Path) -> None:
    """From six depths of field away, over real TCP, within one."""
    column = column_over(path, 9.012)
    async with connected(column, tmp_path, scan={"width": 512, "height": 512}) as client:
        _, record = await client.call("POST", "v1/refocuses?wait=true")

    assert record["result"] == "refocused", record["reason"]
    assert abs(column.true_defocus_um()) < 2.5
