"""What SharkSEM tells, in focusd's units and types."""

from __future__ import annotations

import pytest

from focusd.microscope.sharksem_values import detector_names, nearest_speed, printable, speeds_us


def test_a_detectors_number_is_not_its_place_in_the_list() -> None:
    """Names go by the number that DtSelect takes; entries without one are left out."""
    entries = {
        "det.0.name": "SE",
        "det.0.detector": "4",
        "det.1.name": "BSE\x1b",
        "det.1.detector": "0",
        "det.2.name": "no number",
        "det.3.name": "odd number",
        "det.3.detector": "-1",
        "det.4.name": "huge number",
        "det.4.detector": "9" * 5000,
    }

    assert detector_names(entries) == {4: "SE", 0: "BSE"}


def test_speeds_that_cannot_be_chosen_are_left_out() -> None:
    """Only an index with a positive dwell time is a speed."""
    entries = {
        "speed.1.dwell": "0.32",
        "speed.2.dwell": "0",
        "speed.3.dwell": "nan",
        "speed.x.dwell": "1",
        "speed.4.name": "fast",
        "speed": "1",
        "speed.10.dwell": "1e2",
    }

    assert speeds_us(entries) == {1: 0.32, 10: 100.0}


@pytest.mark.parametrize(
    ("wanted_us", "index"), [(0.01, 1), (0.5, 1), (0.6, 2), (3.1, 2), (3.3, 3), (99.0, 3)]
)
def test_the_nearest_speed_is_the_nearest_by_ratio(wanted_us: float, index: int) -> None:
    """Between 1 and 10 us the middle is 3.2, not 5.5."""
    assert nearest_speed({1: 0.32, 2: 1.0, 3: 10.0}, wanted_us) == index
    assert nearest_speed({}, wanted_us) is None


def test_foreign_text_loses_what_does_not_print() -> None:
    """Control characters, line ends and direction marks do not reach a log."""
    assert printable(" S9251X\n\x00\u202e\x7f") == "S9251X"
