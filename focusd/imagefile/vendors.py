"""The headers that ZEISS, Thermo Fisher (FEI) and TESCAN write into their TIFF files.

All three are lines of text in a TIFF tag of their own. Their makers publish no description: keys and units
are those on which the public readers of such files agree (tifffile, rosettasciio, gwyddion, pynxtools-em,
NexusLIMS).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime

from focusd.imagefile.metadata import ImageMetadata, stage
from focusd.imagefile.quantities import positive, quantity
from focusd.imagefile.text import name, text_of

ZEISS_TAG = 34118
THERMO_TAGS = (34680, 34682)
TESCAN_TAG = 50431

_SI = {"mm": "m", "nm": "m", "us": "s", "kv": "v", "deg": "deg"}
_ZEISS_KEY = re.compile(r"(?:AP|DP|SV)_[A-Z0-9_]+")
_TESCAN_LINE = re.compile(rb"(?:^|[\r\n\0])([A-Za-z]\w{0,40})=([^\r\n\0]{0,200})")


def read_zeiss(data: bytes) -> ImageMetadata:
    """Read SmartSEM's tag: a key such as ``AP_WD`` on one line, ``WD = 5.012 mm`` on the next.

    Units differ from file to file (``558.2 pm``, ``10 nm``), so each is read. ``AP_PIXEL_SIZE`` is that of
    the screen and is not read.
    """
    values = _zeiss_values(text_of(data))

    def number(key: str, unit: str) -> float | None:
        return quantity(values.get(key), unit)

    return ImageMetadata(
        source="ZEISS",
        working_distance_mm=positive(number("AP_WD", "mm")),
        pixel_size_nm=positive(number("AP_IMAGE_PIXEL_SIZE", "nm")),
        dwell_time_us=positive(number("DP_DWELL_TIME", "us")),
        accelerating_voltage_kv=positive(number("AP_ACTUALKV", "kv")),
        detector=name(values.get("DP_DETECTOR_CHANNEL") or values.get("DP_DETECTOR_TYPE")),
        stage_position=stage(
            x_mm=number("AP_STAGE_AT_X", "mm"),
            y_mm=number("AP_STAGE_AT_Y", "mm"),
            z_mm=number("AP_STAGE_AT_Z", "mm"),
            rotation_deg=number("AP_STAGE_AT_R", "deg"),
            tilt_deg=number("AP_STAGE_AT_T", "deg"),
        ),
        acquired_at=_time(f"{values.get('AP_DATE')} {values.get('AP_TIME')}", "%d %b %Y %H:%M:%S"),
    )


def _zeiss_values(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        if _ZEISS_KEY.fullmatch(line.strip()):
            key = line.strip()
        elif key:
            # "WD = 5.012 mm", but "Time :14:02:31".
            value = line.partition("=" if "=" in line else ":")[2]
            values.setdefault(key, value.strip())
            key = ""
    return values


def read_thermo(data: bytes) -> ImageMetadata:
    """Read the tag of FEI and Thermo Fisher: sections of ``Key=Value`` in metres, seconds, volts, radians.

    ``[Beam]`` names the beam that took the image, and so the section that holds for it. ``[User] Date``
    is written in the operator's own order of day and month and is not read.
    """
    values = _thermo_values(text_of(data))
    beam, scan = values.get("Beam.Beam", "EBeam"), values.get("Beam.Scan", "EScan")

    def number(unit: str, *keys: str) -> float | None:
        return _first(values, keys, unit)

    def angle_deg(*keys: str) -> float | None:
        radians = number("deg", *keys)
        return None if radians is None else round(math.degrees(radians), 9)

    return ImageMetadata(
        source="Thermo",
        working_distance_mm=positive(number("mm", f"{beam}.WD", "Stage.WorkingDistance")),
        pixel_size_nm=positive(number("nm", "Scan.PixelWidth", f"{scan}.PixelWidth")),
        dwell_time_us=positive(number("us", "Scan.Dwelltime", f"{scan}.Dwell")),
        accelerating_voltage_kv=positive(number("kv", f"{beam}.HV", "Beam.HV")),
        detector=name(values.get("Detectors.Name")),
        stage_position=stage(
            x_mm=number("mm", "Stage.StageX", f"{beam}.StageX"),
            y_mm=number("mm", "Stage.StageY", f"{beam}.StageY"),
            z_mm=number("mm", "Stage.StageZ", f"{beam}.StageZ"),
            rotation_deg=angle_deg("Stage.StageR", f"{beam}.StageR"),
            tilt_deg=angle_deg("Stage.StageT", "Stage.StageTa", f"{beam}.StageTa"),
        ),
        acquired_at=_time(values.get("PrivateFei.TimeOfCreation", ""), "%d.%m.%Y %H:%M:%S"),
    )


def _thermo_values(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line.strip("[]")
        else:
            key, _, value = line.partition("=")
            values.setdefault(f"{section}.{key.strip()}", value.strip())
    return values


def read_tescan(data: bytes) -> ImageMetadata:
    """Read TESCAN's tag: blocks, each a size, a number and lines of ``Key=Value``, in SI units and degrees.

    The first block is a small JPEG and is passed over. Of a key that two blocks have, the first counts:
    that of the electron beam, which comes before the ion beam.
    """
    values: dict[str, str] = {}
    for match in _TESCAN_LINE.finditer(data):
        key, value = (group.decode("cp1252", errors="replace") for group in match.groups())
        values.setdefault(key, value.strip())

    def number(unit: str, *keys: str) -> float | None:
        return _first(values, keys, unit)

    return ImageMetadata(
        source="TESCAN",
        working_distance_mm=positive(number("mm", "WD")),
        pixel_size_nm=positive(number("nm", "PixelSizeX")),
        dwell_time_us=positive(number("us", "DwellTime")),
        accelerating_voltage_kv=positive(number("kv", "HV", "AcceleratorVoltage")),
        detector=name(values.get("Detector") or values.get("Detector0")),
        stage_position=stage(
            x_mm=number("mm", "StageX"),
            y_mm=number("mm", "StageY"),
            z_mm=number("mm", "StageZ"),
            rotation_deg=number("deg", "StageRotation"),
            tilt_deg=number("deg", "StageTilt"),
        ),
        acquired_at=_time(f"{values.get('Date')} {values.get('Time')}", "%Y-%m-%d %H:%M:%S"),
    )


def _first(values: Mapping[str, str], keys: tuple[str, ...], unit: str) -> float | None:
    """Give the first of ``keys`` that holds a number, which is in SI units if it names none."""
    found = (quantity(values.get(key), unit, default_unit=_SI[unit]) for key in keys)
    return next((value for value in found if value is not None), None)


def _time(text: str, layout: str) -> datetime | None:
    """Read a date and time; these headers name no time zone, so the result has none."""
    try:
        return datetime.strptime(text.strip(), layout)  # noqa: DTZ007 - the file tells no zone
    except ValueError:
        return None
