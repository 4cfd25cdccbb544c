"""Reading a specimen at any place and pixel size."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from focusd.errors import ImageError
from focusd.simulator.options import SpecimenOptions
from focusd.simulator.raster import Raster
from focusd.simulator.specimen import Specimen, Surface, grey_of
from focusd.simulator.textures import build
from tests.unit.simulator.scenes import SIDE_PX, SMALL

PIXEL_MM = 1e-5
LOW = -SIDE_PX / 2 * PIXEL_MM
FIELD = Raster(LOW, LOW, PIXEL_MM, 0, 0, SIDE_PX, SIDE_PX)
GREY16 = np.random.default_rng(8).integers(0, 65_536, (70, 90), dtype=np.uint16)


def saved(path: Path, image: NDArray[np.uint8 | np.uint16]) -> Path:
    """Write ``image`` as the kind of file its name says."""
    assert cv2.imwrite(str(path), image)
    return path


def test_texture_is_read_as_it_is_where_pixels_agree() -> None:
    """A field of the texture's size around the origin shows its very pixels."""
    np.testing.assert_array_equal(Specimen(SMALL).grey(FIELD), build("gold", SIDE_PX, 1))


@pytest.mark.parametrize("periods", [(1, 0), (-3, 2), (1000, -1000)])
def test_texture_goes_on_for_ever(periods: tuple[int, int]) -> None:
    """Whole periods away the specimen looks the same."""
    specimen = Specimen(SMALL)
    away = replace(
        FIELD,
        origin_x_mm=LOW + periods[0] * SIDE_PX * PIXEL_MM,
        origin_y_mm=LOW + periods[1] * SIDE_PX * PIXEL_MM,
    )

    np.testing.assert_array_equal(specimen.grey(away), specimen.grey(FIELD))


@pytest.mark.parametrize("factor", [2, 3, 8, 21])
def test_larger_pixels_see_the_mean_of_smaller_ones(factor: int) -> None:
    """A coarse scan averages what lies under its pixels and does not alias."""
    fine = Specimen(SMALL).grey(Raster(0.0, 0.0, PIXEL_MM, 0, 0, 24 * factor, 24 * factor))
    mean = fine.reshape(24, factor, 24, factor).mean(axis=(1, 3))

    coarse = Specimen(SMALL).grey(Raster(0.0, 0.0, PIXEL_MM * factor, 0, 0, 24, 24))

    assert np.corrcoef(coarse.ravel(), mean.ravel())[0, 1] > 0.97
    assert coarse.std() == pytest.approx(mean.std(), rel=0.15)
    assert coarse.mean() == pytest.approx(mean.mean(), rel=0.02)


def test_smaller_pixels_see_a_smooth_enlargement() -> None:
    """Every fourth pixel of a fourfold enlargement lies at one of the texture's own."""
    specimen = Specimen(SMALL)
    coarse = specimen.grey(Raster(0.0, 0.0, PIXEL_MM, 0, 0, 64, 64))

    fine = specimen.grey(Raster(0.0, 0.0, PIXEL_MM / 4, 0, 0, 256, 256))

    assert np.corrcoef(fine.reshape(64, 4, 64, 4).mean(axis=(1, 3)).ravel(), coarse.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("ratio", [0.7, 1.0, 1.003, 2.9])
def test_part_of_a_raster_shows_what_the_whole_shows_there(ratio: float) -> None:
    """Two rectangles of one grid agree where they overlap."""
    specimen = Specimen(
        replace(SMALL, contrast_variation_percent=20.0, blank_fraction=0.3, patch_size_mm=1e-3)
    )
    whole = replace(FIELD, origin_x_mm=0.123456, origin_y_mm=-0.77, pixel_mm=ratio * PIXEL_MM)

    part = specimen.grey(whole.part(40, 90, 100, 50))

    np.testing.assert_allclose(part, specimen.grey(whole)[90:140, 40:140], atol=0.5)


def test_image_is_mirrored_at_its_edges() -> None:
    """An image whose edges do not fit goes on as its own mirror image."""
    picture = (np.arange(70 * 90).reshape(70, 90) / 25).astype(np.float32)
    surface = Surface(picture, PIXEL_MM, mirrored=True)
    around = Raster(-45 * PIXEL_MM, -35 * PIXEL_MM, PIXEL_MM, -90, -70, 270, 210)

    seen = surface.sample(around)

    np.testing.assert_array_equal(seen, np.pad(picture, ((70, 70), (90, 90)), "symmetric"))
    softer = surface.sample(replace(around, pixel_mm=PIXEL_MM * (1 + 1e-5)))
    np.testing.assert_allclose(softer[5:-5, 5:-5], seen[5:-5, 5:-5], atol=4)


@pytest.mark.parametrize("fraction", [0.1, 0.4])
def test_blank_places_take_their_share(fraction: float) -> None:
    """The stated share of the area is resin, in patches."""
    options = replace(SMALL, blank_fraction=fraction, patch_size_mm=0.01, seed=5)
    wide = Raster(0.0, 0.0, 50 * PIXEL_MM, 0, 0, 600, 600)

    difference = Specimen(options).grey(wide) - Specimen(replace(options, blank_fraction=0.0)).grey(wide)

    assert (np.abs(difference) > 20).mean() == pytest.approx(fraction, abs=0.08)


def test_wholly_blank_specimen_is_resin() -> None:
    """With everything blank nothing of the texture is left."""
    seen = Specimen(replace(SMALL, blank_fraction=1.0)).grey(FIELD)

    assert seen.std() < 3


def test_contrast_varies_from_place_to_place() -> None:
    """Some fields of one specimen have more contrast than others, about the same mean."""
    specimen = Specimen(replace(SMALL, contrast_variation_percent=30.0, patch_size_mm=0.02))
    fields = [replace(FIELD, origin_x_mm=at * SIDE_PX * PIXEL_MM) for at in range(0, 400, 20)]

    spreads = [float(specimen.grey(field).std()) for field in fields]

    assert max(spreads) > 1.4 * min(spreads)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_image_keeps_its_grey(tmp_path: Path, suffix: str) -> None:
    """A 16-bit file is read in its full depth, on the scale of 255."""
    path = saved(tmp_path / f"specimen{suffix}", GREY16)

    np.testing.assert_allclose(grey_of(path), GREY16 / 257.0, atol=1e-3)


def test_image_file_is_the_specimen(tmp_path: Path) -> None:
    """A picture in place of the texture is seen where the stage stands at zero, to the grey level."""
    picture = (GREY16 >> 8).astype(np.uint8)
    specimen = Specimen(SpecimenOptions(image=saved(tmp_path / "specimen.png", picture)))

    seen = specimen.grey(Raster(-45 * PIXEL_MM, -35 * PIXEL_MM, PIXEL_MM, 0, 0, 90, 70))

    np.testing.assert_array_equal(seen, picture.astype(np.float32))


@pytest.mark.parametrize("content", [None, b"", b"no image at all"])
def test_unreadable_image_is_named(tmp_path: Path, content: bytes | None) -> None:
    """A missing, empty or foreign file is an ImageError that begins with its path."""
    path = tmp_path / "specimen.tif"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ImageError) as caught:
        Specimen(SpecimenOptions(image=path))

    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(SpecimenOptions, texture_pixel_nm=0.0), "texture_pixel_nm must be above 0, got 0"),
        (partial(SpecimenOptions, patch_size_mm=-1.0), "patch_size_mm must be above 0, got -1"),
        (partial(SpecimenOptions, blank_fraction=1.5), "blank_fraction must be 0 to 1, got 1.5"),
        (partial(SpecimenOptions, seed=-1), "seed must not be negative, got -1"),
    ],
)
def test_meaningless_option_is_named(make: partial[SpecimenOptions], message: str) -> None:
    """An option with which nothing could be drawn says so at once."""
    with pytest.raises(ValueError, match=message):
        make()
