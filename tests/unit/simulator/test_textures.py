"""Procedural textures: full of detail, without seams, the same from the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from focusd.simulator.fields import smooth_field
from focusd.simulator.textures import NAMES, build

SIDE_PX = 512
DETAILED = [name for name in NAMES if name != "resin"]


@pytest.mark.parametrize("name", DETAILED)
@pytest.mark.parametrize("seed", [1, 2])
def test_texture_fills_the_grey_range(name: str, seed: int) -> None:
    """A texture is neither blank nor burnt out, and its mean lies away from both ends."""
    grey = build(name, SIDE_PX, seed)

    assert grey.shape == (SIDE_PX, SIDE_PX)
    assert grey.dtype == np.float32
    assert 40 < grey.mean() < 200
    assert grey.std() > 20
    assert 0 <= grey.min() < grey.max() <= 255
    assert (grey >= 254).mean() < 0.02


@pytest.mark.parametrize("name", DETAILED)
def test_texture_has_detail_at_the_finest_scale(name: str) -> None:
    """There is something to focus on: neighbours differ by more than a smooth field's would."""
    grey = build(name, SIDE_PX, 1)

    assert np.diff(grey, axis=0).std() > 3
    assert np.diff(grey, axis=1).std() > 3


def test_resin_is_nearly_blank() -> None:
    """Resin varies by a grey level or two: nothing to focus on."""
    grey = build("resin", SIDE_PX, 1)

    assert 0.5 < grey.std() < 3
    assert np.diff(grey, axis=0).std() < 1.5


@pytest.mark.parametrize("name", NAMES)
def test_texture_repeats_without_a_seam(name: str) -> None:
    """Across the edges neighbours differ no more than anywhere else."""
    grey = build(name, SIDE_PX, 1)

    seam_x = np.abs(grey[:, 0] - grey[:, -1]).mean()
    seam_y = np.abs(grey[0] - grey[-1]).mean()

    for seam, axis in ((seam_x, 1), (seam_y, 0)):
        lines = np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)
        assert seam <= lines.max()


@pytest.mark.parametrize("name", NAMES)
def test_texture_comes_from_its_seed(name: str) -> None:
    """The same seed draws the same, another seed another texture."""
    first = build(name, 256, 1)
    build.cache_clear()

    np.testing.assert_array_equal(build(name, 256, 1), first)
    assert not np.array_equal(build(name, 256, 2), first)


def test_texture_cannot_be_changed_by_who_was_given_it() -> None:
    """Textures are shared, so they are read-only."""
    with pytest.raises(ValueError, match="read-only"):
        build("resin", 256, 1)[0, 0] = 0


def test_unknown_texture_is_named() -> None:
    """The message says what there is."""
    with pytest.raises(ValueError, match="gold, fibres, porous, neuropil, resin, got 'velvet'"):
        build("velvet", SIDE_PX, 1)


def test_too_small_a_texture_is_refused() -> None:
    """Organelles need room."""
    with pytest.raises(ValueError, match="at least 256, got 100"):
        build("gold", 100, 1)


@pytest.mark.parametrize("side", [256, 300, 321])
@pytest.mark.parametrize("size_px", [2.0, 9.0, 30.0])
def test_smooth_field_changes_over_its_size(side: int, size_px: float) -> None:
    """A field has unit spread, and its correlation falls to exp(-1/4) within its size."""
    field = smooth_field(np.random.default_rng(2), side, size_px)

    shifted = np.roll(field, round(size_px), axis=1)
    assert field.std() == pytest.approx(1.0, rel=1e-3)
    assert field.mean() == pytest.approx(0.0, abs=1e-3)
    assert float((field * shifted).mean()) == pytest.approx(np.exp(-0.25), abs=0.12)
