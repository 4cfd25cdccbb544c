"""Rendered scans: regions, dose, noise, detectors, and that a seed decides everything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from focusd.frame import ScanRegion
from focusd.simulator.detection import ELECTRONS_PER_PA_US
from focusd.simulator.options import Plateau, SpecimenOptions
from focusd.simulator.presets import seed_column, worn_column
from tests.unit.simulator.scenes import (
    DEPTH_UM,
    NOISY,
    QUIET,
    SIDE_PX,
    SMALL,
    Clock,
    column,
    defocused,
    detail,
    grey,
    scan,
)

REGION = ScanRegion(60, 101, 90, 70)


def flat(path: Path, level: int = 128) -> SpecimenOptions:
    """A specimen of one grey, so that all variation is noise."""
    assert cv2.imwrite(str(path / "flat.png"), np.full((64, 64), level, np.uint8))
    return SpecimenOptions(image=path / "flat.png")


@pytest.mark.parametrize("defocus_d", [0.0, 0.6, 7.0, 31.0, 40.0, 150.0])
def test_region_shows_what_the_frame_shows_there(defocus_d: float) -> None:
    """Noise aside, scanning a part gives that part of the whole, however blurred."""
    microscope = column()
    whole = grey(defocused(microscope, defocus_d * DEPTH_UM))

    part = grey(microscope.render(scan(region=REGION)))

    np.testing.assert_allclose(part, whole[101:171, 60:150], atol=0.35)


def test_region_of_an_uneven_field_shows_what_the_frame_shows_there() -> None:
    """So it is where a step and a tilt put the parts of a field at different heights."""
    microscope = column(specimen=replace(SMALL, plateaus=(Plateau(9.0, left_mm=1e-4),)))
    microscope.move_stage(tilt_deg=45.0)
    whole = grey(defocused(microscope, 3.0))

    part = grey(microscope.render(scan(region=REGION)))

    np.testing.assert_allclose(part, whole[101:171, 60:150], atol=4.0)
    assert np.abs(part - whole[101:171, 60:150]).mean() < 0.5


def test_step_in_the_field_blurs_one_side_only() -> None:
    """Left of the step the image is sharp, right of it blurred."""
    microscope = column(specimen=replace(SMALL, plateaus=(Plateau(16.0, left_mm=0.0),)))
    microscope.set_working_distance(9.0)

    image = microscope.render(scan())

    assert detail(image[:, :120]) > 5 * detail(image[:, 136:])


def test_tilted_stage_is_sharp_in_the_middle_only() -> None:
    """At 60 degrees a field 2.56 um high spans two depths of field and more."""
    microscope = column(replace(QUIET, half_angle_mrad=20.0))
    flat_detail = detail(microscope.render(scan())[:40])

    microscope.move_stage(tilt_deg=60.0)
    image = microscope.render(scan())

    assert detail(image[:40]) < 0.5 * flat_detail
    assert detail(image[108:148]) > 0.8 * detail(column().render(scan())[108:148])


def test_region_takes_its_place_in_a_frame_that_is_not_square() -> None:
    """The field of view is the frame's width; rows go down from the top."""
    request = replace(scan(), height=100)

    image = column().render(request)

    assert image.shape == (100, SIDE_PX)
    np.testing.assert_allclose(image, column().render(scan())[78:178], atol=2)


def test_same_history_gives_the_same_images() -> None:
    """Everything random comes from the seed and the number of the scan."""
    options = replace(worn_column(), field_of_view_mm=QUIET.field_of_view_mm)
    one, two, other = column(options), column(options), column(replace(options, seed=2))

    first, second = ([m.render(scan(bits=8)) for _ in range(2)] for m in (one, two))

    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first[0], other.render(scan(bits=8)))


def test_noise_is_fresh_in_every_scan_and_fixed_in_each() -> None:
    """Two scans differ; one exposure rendered twice does not."""
    microscope = column(NOISY)
    exposure = microscope.expose(scan())

    np.testing.assert_array_equal(exposure.render(), exposure.render())
    assert not np.array_equal(microscope.render(scan()), exposure.render())


def test_exposure_keeps_the_state_it_began_with() -> None:
    """What moves after the scan has begun does not show in it."""
    microscope = column()
    before = microscope.render(scan())

    exposure = microscope.expose(scan())
    microscope.set_working_distance(9.1)
    microscope.move_stage(x_mm=1.0)
    microscope.beam_on = False

    np.testing.assert_array_equal(exposure.render(), before)


@pytest.mark.parametrize(("dwell_us", "current_pa"), [(1.0, 100.0), (0.2, 40.0), (10.0, 100.0)])
def test_shot_noise_is_that_of_the_dose(tmp_path: Path, dwell_us: float, current_pa: float) -> None:
    """On mid-grey the variance over the mean is the grey that one electron makes: 128 over their number."""
    microscope = column(replace(NOISY, readout_noise_grey=0.0), flat(tmp_path))
    microscope.probe_current_pa = current_pa
    electrons = dwell_us * current_pa * ELECTRONS_PER_PA_US * microscope.detectors[0].detection_yield
    # Less gain, so that the noise of a few electrons is not clipped at white.
    microscope.settings[microscope.selected_detector].gain_percent = 40.0

    signal = grey(microscope.render(scan(dwell_us=dwell_us))) * 2.0

    assert signal.mean() == pytest.approx(128.0, rel=0.01)
    assert signal.var() / signal.mean() == pytest.approx(128.0 / electrons, rel=0.03)


def test_readout_noise_is_all_there_is_without_a_beam() -> None:
    """Beam off, blanked or without current: black but for the amplifier, and no dose."""
    microscope = column(replace(NOISY, readout_noise_grey=2.0))
    images = []
    for name, value in (("beam_on", False), ("blanked", True), ("probe_current_pa", 0.0)):
        before = getattr(microscope, name)
        setattr(microscope, name, value)
        images.append(grey(microscope.render(scan(bits=8))))
        setattr(microscope, name, before)

    for image in images:
        assert image.mean() < 1.5
        assert 0 < image.std() < 2.0
    assert [entry.electrons for entry in microscope.scans] == [0.0, 0.0, 0.0]
    assert microscope.render(scan(bits=8)).mean() > 20


def test_seed_model_without_a_beam_is_black() -> None:
    """The published model has no noise at all."""
    microscope = column(seed_column())
    microscope.blanked = True

    assert not microscope.render(scan(bits=8)).any()


def test_depth_of_the_image_is_as_asked() -> None:
    """8 and 16 bits show the same picture."""
    low, high = column().render(scan(bits=8)), column().render(scan(bits=16))

    assert low.dtype.itemsize == 1
    assert high.dtype.itemsize == 2
    np.testing.assert_allclose(grey(high), low, atol=0.51)


def test_detector_of_lower_yield_is_noisier(tmp_path: Path) -> None:
    """Fewer electrons counted, more noise, same grey; an unknown number is the first detector."""
    microscope = column(NOISY, flat(tmp_path))
    first, second = microscope.detectors

    images = [grey(microscope.render(scan(), number)) for number in (first.number, second.number, 77)]

    assert images[1].mean() == pytest.approx(images[0].mean(), rel=0.01)
    assert images[1].var() == pytest.approx(
        images[0].var() * first.detection_yield / second.detection_yield, rel=0.1
    )
    assert images[2].std() == pytest.approx(images[0].std(), rel=0.03)


def test_contrast_and_brightness_act_on_the_selected_detector(tmp_path: Path) -> None:
    """Ten percent of gain double the signal; ten percent of black lift it by a hundred grey levels."""
    microscope = column(QUIET, flat(tmp_path, 50))
    setting = microscope.settings[microscope.selected_detector]

    setting.gain_percent = 60.0
    doubled = grey(microscope.render(scan())).mean()
    setting.black_percent = 60.0
    lifted = grey(microscope.render(scan())).mean()

    assert doubled == pytest.approx(100.0, abs=0.1)
    assert lifted == pytest.approx(200.0, abs=0.1)


def test_brightness_drifts_and_flickers(tmp_path: Path) -> None:
    """The signal changes by percents of itself an hour, and from scan to scan."""
    clock = Clock()
    drifting = column(replace(QUIET, brightness_drift_percent_per_hour=-20.0), flat(tmp_path), clock)
    flickering = column(replace(QUIET, gain_jitter_percent=5.0), flat(tmp_path))

    clock.now_s += 3600.0
    levels = [grey(flickering.render(scan(64))).mean() for _ in range(100)]

    assert grey(drifting.render(scan())).mean() == pytest.approx(0.8 * 128, rel=0.01)
    assert np.std(levels) == pytest.approx(0.05 * 128, rel=0.3)


def test_scans_lie_where_their_jitter_puts_them() -> None:
    """Each scan is shifted by some pixels: 50 nm are five pixels of 10 nm."""
    microscope = column(replace(QUIET, position_jitter_nm=50.0))

    images = [grey(microscope.render(scan(region=ScanRegion(64, 64, 128, 128)))) for _ in range(2)]

    assert np.abs(images[0] - images[1]).mean() > 5


def test_magnified_scan_keeps_the_beam_of_its_size() -> None:
    """The focused beam is nanometres wide, so in smaller pixels it covers more of them."""
    microscope = column()
    near = detail(microscope.render(scan()))

    microscope.field_of_view_setting_mm /= 8

    assert detail(microscope.render(scan())) < 0.1 * near


@pytest.mark.parametrize("field_mm", [1e-4, 0.05, 20.0])
def test_any_field_of_view_can_be_scanned(field_mm: float) -> None:
    """From far in to far out there is an image of the same mean."""
    microscope = column()
    microscope.field_of_view_setting_mm = field_mm

    image = grey(microscope.render(scan()))

    assert image.shape == (SIDE_PX, SIDE_PX)
    assert 5 < image.mean() < 250


def test_scan_of_a_single_line_is_possible() -> None:
    """A region one row high or one pixel wide is as good as any."""
    microscope = column()
    whole = microscope.render(scan())

    np.testing.assert_allclose(microscope.render(scan(region=ScanRegion(0, 9, 256, 1))), whole[9:10], atol=90)
    np.testing.assert_allclose(
        microscope.render(scan(region=ScanRegion(7, 9, 1, 1))), whole[9:10, 7:8], atol=90
    )
