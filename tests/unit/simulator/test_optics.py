"""The two models of blur: the published one to the bit, the physical one by what it does to an image."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import j1

from focusd.frame import ScanRegion
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.optics import Blur, seed_blur, transfer_function
from focusd.simulator.options import PsfShape, SpecimenOptions
from focusd.simulator.presets import seed_column
from tests.unit.simulator.scenes import (
    DEPTH_UM,
    QUIET,
    SIDE_PX,
    column,
    defocused,
    grey,
    scan,
)

PICTURE = np.random.default_rng(3).integers(0, 256, (70, 90), dtype=np.uint8)
RADII_PX = (0.25, 0.5, 1.0, 2.5, 6.0, 15.0, 31.0, 33.0, 60.0)


def published(image: NDArray[np.uint8], wd: float, wd_optimal: float = 50.0) -> NDArray[np.uint8]:
    """The reference model, written out again from its description."""
    radius = round(abs(wd - wd_optimal) * 0.1)
    if radius == 0:
        return image
    size = 2 * radius + 1
    kernel = np.zeros((size, size))
    for row in range(size):
        for at in range(size):
            if (row - radius) ** 2 + (at - radius) ** 2 <= radius**2:
                kernel[row, at] = 1.0
    return cv2.filter2D(image, -1, kernel / kernel.sum()).astype(np.uint8)


def specimen_spectrum(microscope: SimulatedColumn) -> NDArray[np.complex128]:
    """The specimen under the field, as a beam without width would see it."""
    frame, _ = microscope._rasters(scan())
    return np.fft.rfft2(microscope.specimen.grey(frame).astype(np.float64))


def transfer(microscope: SimulatedColumn, defocus_um: float) -> NDArray[np.float64]:
    """Measure the optics' transfer: spectrum of the image over that of the specimen, both periodic."""
    seen = np.fft.rfft2(grey(defocused(microscope, defocus_um)))
    there = specimen_spectrum(microscope)
    clear = np.abs(there) > 3e2
    return np.where(clear, (seen / np.where(clear, there, 1.0)).real, np.nan)


def frequency() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vertical and horizontal frequency of each mode, cycles per pixel."""
    down = np.fft.fftfreq(SIDE_PX).astype(np.float64)
    across = np.fft.rfftfreq(SIDE_PX).astype(np.float64)
    return down[:, np.newaxis], across[np.newaxis, :]


def measured_radius_px(measured: NDArray[np.float64]) -> float:
    """Radius of the blur from its second moment: -log H**2 is (pi r f)**2 at low frequencies."""
    fy, fx = frequency()
    squared = np.broadcast_to(np.pi**2 * (fx**2 + fy**2), measured.shape)
    low = (measured > 0.9) & (squared > 0) & np.isfinite(measured)
    if not low.any():
        low = np.isfinite(measured) & (squared > 0) & (squared <= np.partition(np.unique(squared), 2)[2])
    return math.sqrt(float(np.median(-2.0 * np.log(measured[low]) / squared[low])))


@pytest.mark.parametrize("wd", [1.0, 10.0, 14.9, 15.1, 35.0, 45.0, 45.1, 50.0, 54.9, 55.1, 78.3, 110.0])
def test_seed_blur_is_the_published_formula_bit_for_bit(wd: float) -> None:
    """Every whole radius gives exactly what the published code gives."""
    blurred = seed_blur(PICTURE, wd, 50.0)

    np.testing.assert_array_equal(blurred, published(PICTURE, wd))


@pytest.mark.parametrize("wd", [10.0, 33.0, 50.0])
def test_seed_column_images_are_the_published_ones(wd: float) -> None:
    """Through the whole column: the specimen's own pixels, the formula, no noise."""
    microscope = column(replace(seed_column(), field_of_view_mm=SIDE_PX * 1e-5))
    frame, _ = microscope._rasters(scan())
    specimen = np.rint(microscope.specimen.grey(frame)).astype(np.uint8)

    microscope.set_working_distance(wd)

    np.testing.assert_array_equal(microscope.render(scan(bits=8)), published(specimen, wd))


def test_seed_region_is_cut_from_the_frame() -> None:
    """A region shows what the whole frame shows there, its borders too."""
    microscope = column(replace(seed_column(), field_of_view_mm=SIDE_PX * 1e-5))
    whole = microscope.render(scan(bits=8))

    part = microscope.render(scan(bits=8, region=ScanRegion(0, 30, 100, 70)))

    np.testing.assert_array_equal(part, whole[30:100, :100])


@pytest.mark.parametrize("shape", ["disk", "gaussian"])
@pytest.mark.parametrize("radius_px", RADII_PX)
def test_blur_radius_is_the_hypotenuse_of_beam_and_defocus(radius_px: float, shape: PsfShape) -> None:
    """The image's second moment is that of r = hypot(r0, dz / D), from under a pixel to many."""
    measured = transfer(column(replace(QUIET, psf=shape)), radius_px * DEPTH_UM)

    assert measured_radius_px(measured) == pytest.approx(math.hypot(1.0, radius_px), rel=0.03)


@pytest.mark.parametrize("radius_px", [0.5, 3.0, 12.0, 40.0, 100.0])
def test_disk_passes_frequencies_as_theory_says(radius_px: float) -> None:
    """The image is the specimen times 2 J1(q) / q of the disk and the Gaussian of the beam, to 1 %."""
    microscope = column()
    fy, fx = frequency()
    f = np.hypot(fx, fy)
    q = np.maximum(2 * np.pi * radius_px * f, 1e-9)
    expected = np.fft.irfft2(specimen_spectrum(microscope) * 2 * j1(q) / q * np.exp(-0.5 * (np.pi * f) ** 2))

    seen = grey(defocused(microscope, -radius_px * DEPTH_UM))

    assert (seen - expected).std() < 0.01 * expected.std()


def test_both_sides_of_focus_look_alike_without_astigmatism() -> None:
    """Defocus blurs by its size, not its sign."""
    microscope = column()

    np.testing.assert_allclose(defocused(microscope, 5.0), defocused(microscope, -5.0), atol=2)


def test_astigmatism_changes_direction_through_focus() -> None:
    """Under the focus one direction is sharp, above it the other, and in the middle both are alike."""
    microscope = column(replace(QUIET, astigmatism_um=6.0))

    # At these two places one of the line foci lies on the specimen.
    below, between, above = (transfer(microscope, at) for at in (-3.0, 0.0, 3.0))

    across, down = (slice(0, 1), slice(8, 60)), (slice(8, 60), slice(0, 1))
    assert np.nanmean(below[across]) > 2 * np.nanmean(below[down])
    assert np.nanmean(above[down]) > 2 * np.nanmean(above[across])
    assert np.nanmean(between[across]) == pytest.approx(np.nanmean(between[down]), rel=0.05)


def test_stigmator_cancels_astigmatism() -> None:
    """The right stigmator setting makes the beam round again."""
    astigmatic = column(
        replace(QUIET, astigmatism_um=4.0, astigmatism_angle_deg=22.5, stigmator_um_per_percent=0.5)
    )

    setting = -4.0 / 0.5 / math.sqrt(2)
    astigmatic.stigmator_percent = (setting, setting)

    np.testing.assert_allclose(defocused(astigmatic, 3.0), defocused(column(), 3.0), atol=2)


@pytest.mark.parametrize("shape", ["disk", "gaussian"])
def test_transfer_function_passes_the_mean_unchanged(shape: PsfShape) -> None:
    """A beam of any shape spreads electrons and loses none."""
    values = transfer_function(Blur(1.3, 7.0, 2.0, 0.4, shape), (48, 63))

    assert values.shape == (48, 32)
    assert values[0, 0] == pytest.approx(1.0)
    assert np.abs(values).max() <= 1.0 + 1e-6


def test_blur_grows_without_a_jump_where_rendering_turns_coarse() -> None:
    """Wide blurs are made of larger pixels, and nobody can tell where that begins."""
    microscope = column(specimen=SpecimenOptions(texture="neuropil", texture_side_px=512))

    spreads = [grey(defocused(microscope, at * DEPTH_UM)).std() for at in (30.0, 31.9, 32.1, 34.0)]

    assert spreads == sorted(spreads, reverse=True)
    assert spreads[2] == pytest.approx(spreads[1], rel=0.03)


def test_farthest_blur_leaves_the_mean_grey() -> None:
    """Ten thousand pixels of blur show an even field, and cost no more than ten."""
    far = grey(defocused(column(), 20_000.0))

    assert far.std() < 0.5
    assert far.mean() == pytest.approx(grey(defocused(column(), 0.0)).mean(), abs=2.0)
