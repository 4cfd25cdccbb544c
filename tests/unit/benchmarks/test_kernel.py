"""The benchmark of the kernel measures what it says, and its figures keep generous floors."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import pytest

from focusd.frame import Pixels
from tests.benchmarks import kernel, kernel_ways
from tests.benchmarks.kernel import KernelOptions, Mark
from tests.benchmarks.kernel_ways import FORMULA, OWN, READ, SCIPY, VERDICT
from tests.benchmarks.tables import Cell

TOY = KernelOptions(turns=4, small_px=64, main_px=128, large_px=256, other_px=(96,), ring_mib=0.2)


def test_all_sizes_and_kinds_are_measured() -> None:
    """A tiny run gives times of every way, a ratio that is their quotient, goals, and a picture."""
    report = kernel.run(TOY)

    scores, verdicts, goals = report.tables
    assert [row[0] for row in scores.rows][:3] == ["64, uint8", "64, uint16", "64, 12 bits"]
    row = scores.row("128, uint16")
    assert row["ratio"] == pytest.approx(_number(row[FORMULA]) / _number(row[OWN]))
    assert scores.row("256, uint8")["ratio"] is None
    verdict = verdicts.row("256, uint8")
    assert verdict["ns a pixel"] == pytest.approx(_number(verdict["ms"]) * 1e6 / 256**2)
    assert len(goals.rows) == 12
    assert {trial["way"] for trial in report.trials} >= {OWN, VERDICT, READ, FORMULA, SCIPY}
    assert len(report.draw().axes[0].lines) == 1 + len({trial["way"] for trial in report.trials})


def _number(cell: Cell) -> float:
    assert isinstance(cell, float)
    return cell


@pytest.mark.parametrize(
    ("ratio", "at_most", "verdict"),
    [
        (9.0, False, "reached"),
        (8.0, False, "short by 1"),
        (5.0, False, "short by 4, under the floor"),
        (5.0, True, "reached"),
        (7.5, True, "short by 1.50"),
        (12.0, True, "short by 6, under the floor"),
    ],
)
def test_a_ratio_is_held_against_goal_and_floor(ratio: float, at_most: bool, verdict: str) -> None:
    """The goal is what is wanted, the floor what is asked for at least."""
    mark = Mark("it", 6.0, 9.0, at_most=True) if at_most else Mark("it", 9.0, 6.0)

    assert mark.verdict(ratio) == verdict
    assert mark.line(2.0, 3.0, "theirs", ratio)[1:4] == (2.0, "3 theirs", ratio)


@pytest.mark.parametrize("kind", kernel_ways.KINDS)
def test_the_frames_are_what_they_are_called(kind: str) -> None:
    """A ring holds frames that differ, clipped at both ends of their range."""
    dtype, highest = kernel_ways.KINDS[kind]

    ring = kernel_ways.frames(256, kind, 0.5)

    assert len(ring) == round(0.5 * 2**20 / (256 * 256 * np.dtype(dtype).itemsize))
    assert {frame.dtype for frame in ring} == {np.dtype(dtype)}
    assert all((frame.min(), frame.max()) == (0, highest) for frame in ring)
    assert not np.array_equal(ring[0], ring[1])


def test_the_peers_compute_the_same_score() -> None:
    """The published formula and scipy's filter give focusd's number, so the race is a fair one."""
    (frame,) = kernel_ways.frames(128, "uint8", 0.0)
    own, others = kernel_ways.own_ways(), kernel_ways.peers()

    assert others[FORMULA](frame) == pytest.approx(own[OWN](frame))
    assert others[SCIPY](frame) == pytest.approx(own[OWN](frame))
    assert own[READ](frame) == int(frame.view(np.uint64).sum())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_large_frame_keeps_generous_floors(dtype: type[np.unsignedinteger[Any]]) -> None:
    """At 4096 px the score takes less than half of the formula's time, a verdict at most six scores'."""
    random = np.random.default_rng(0)
    frame: Pixels = np.tile(random.integers(0, np.iinfo(dtype).max, (512, 512)).astype(dtype), (8, 8))

    own, verdict, formula = (
        min(_processor_time_s(way, frame) for _ in range(4))
        for way in (*list(kernel_ways.own_ways().values())[:2], kernel_ways.peers()[FORMULA])
    )

    assert own < formula / 2.0
    assert verdict < 6.0 * own


def _processor_time_s(way: kernel_ways.Way, frame: Pixels) -> float:
    cv2.setNumThreads(1)
    since = time.thread_time()
    way(frame)
    return time.thread_time() - since
