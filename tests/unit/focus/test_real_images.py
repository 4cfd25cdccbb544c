"""A real field of neuropil at three distances from focus, when the shared images are at hand.

Zeiss Merlin, 10 nm pixels, 800 ns dwell, working distance stated as 13.324 um off, with two more frames at +5
and -5 um: 18.3, 13.3 and 8.3 um from focus. DeepFocus project, MIT licence; never copied into this project.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from focusd.focus.compare import sharper
from focusd.focus.measure import Measurement, measure
from focusd.focus.metrics import METRICS
from tests.real_images import REAL_IMAGES, needs_real_images

FARTHEST_FIRST = ("_minus5um", "", "_plus5um")

pytestmark = needs_real_images


def measured(name: str) -> Measurement:
    """Measure one of the real images."""
    pixels = cv2.imread(str(REAL_IMAGES / name), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return measure(np.asarray(pixels, np.uint8), METRICS)


@pytest.fixture(scope="module")
def triple() -> list[Measurement]:
    """Measure the three frames, the farthest from focus first."""
    return [measured(f"neuropil_wd_error_-13.324um{suffix}.png") for suffix in FARTHEST_FIRST]


@pytest.mark.parametrize("name", ["log_energy", "band_ratio", "vollath_f4"])
def test_noise_robust_metrics_order_the_real_frames(triple: list[Measurement], name: str) -> None:
    """The nearer to focus, the higher the score."""
    values = [frame.scores[name].value for frame in triple]

    assert values == sorted(values)


def test_the_published_score_does_not(triple: list[Measurement]) -> None:
    """The sharpest of the three frames has the lowest variance of the Laplacian."""
    values = [frame.laplacian_variance for frame in triple]

    assert min(values) == values[-1]


def test_the_evidence_is_overwhelming(triple: list[Measurement]) -> None:
    """Each frame is told from the next by many standard errors."""
    assert all(sharper(near.spectrum, far.spectrum) > 5.0 for far, near in pairwise(triple))


def test_real_frames_can_be_judged(triple: list[Measurement]) -> None:
    """None of the real frames is refused, however far from focus."""
    frames = [*triple, measured("rough_surface.tif")]

    assert [frame.quality.reason for frame in frames] == [None] * 4
