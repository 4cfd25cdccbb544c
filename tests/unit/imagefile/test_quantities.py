"""Numbers with units: what is understood, and that nothing else is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.imagefile.quantities import quantity


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("5.012 mm", "mm", 5.012),
        ("5012 um", "mm", 5.012),
        ("5012 µm", "mm", 5.012),
        ("5012 μm", "mm", 5.012),
        ("558.2 pm", "nm", 0.5582),
        ("10.00nm", "nm", 10.0),
        ("25 Å", "nm", 2.5),
        ("4.12e-003 m", "mm", 4.12),
        ("100 ns", "us", 0.1),
        ("48.7 Secs", "s", 48.7),
        ("1.50 kV", "kv", 1.5),
        ("800 V", "kv", 0.8),
        ("-0.1 °", "deg", -0.1),
        ("  +7. mm ", "mm", 7.0),
        (".5 mm", "mm", 0.5),
    ],
)
def test_a_number_is_read_in_its_own_unit(text: str, unit: str, value: float) -> None:
    """Exactly, not nearly: the conversion is decimal."""
    assert quantity(text, unit) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        "mm",
        "5",
        "5 px",
        "5 kV",
        "5 s",
        "five mm",
        "5,012 mm",
        "nan mm",
        "inf mm",
        "1e999 mm",
        "5 mm mm",
    ],
)
def test_what_is_no_length_says_nothing(text: str | None) -> None:
    """Neither a guess nor an error."""
    assert quantity(text, "mm") is None


def test_a_number_without_a_unit_is_in_the_default_unit() -> None:
    """Thermo Fisher and TESCAN write bare numbers in SI units."""
    assert quantity("0.00412", "mm", default_unit="m") == 4.12


@settings(deadline=None, max_examples=200)
@given(text=st.text(max_size=40) | st.from_regex(r"[0-9.eE+-]{1,40} ?[a-zA-Zµ°]{0,4}", fullmatch=True))
def test_any_text_gives_a_number_or_nothing(text: str) -> None:
    """Headers come from outside."""
    value = quantity(text, "nm", default_unit="m")

    assert value is None or abs(value) < float("inf")
