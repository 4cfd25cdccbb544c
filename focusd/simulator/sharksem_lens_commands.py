"""Commands of the electron optics: lens, field, beam, centerings, geometry, high voltage."""

from __future__ import annotations

from collections.abc import Awaitable

from focusd.protocol.sharksem_body import encode_body, format_map
from focusd.simulator import sharksem_optics, sharksem_procedures
from focusd.simulator.sharksem_session import Answer, CommandRefusedError, Session

_OBJECTIVE_CENTERING, _STIGMATOR, _GUN_TILT = 1, 3, 6
_CENTERINGS = {_OBJECTIVE_CENTERING: "OBJ Centering", _STIGMATOR: "Stigmator", _GUN_TILT: "Gun Tilt"}

_IMAGE_SHIFT, _SCAN_ROTATION, _TILT_CORRECTION = 0, 1, 4
_GEOMETRIES = {
    _IMAGE_SHIFT: ("Image Shift", 2, "mm", (-0.05, 0.05, -0.05, 0.05)),
    _SCAN_ROTATION: ("Scan Rotation", 1, "deg", (-180.0, 180.0, 0.0, 0.0)),
    _TILT_CORRECTION: ("Tilt Correction", 1, "deg", (-90.0, 90.0, 0.0, 0.0)),
}
_INDEX_OFF, _INDEX_CHANGING = 1000, 1001
_VOLTAGE_RANGES_V = ((200.0, 5_000.0), (5_000.0, 10_000.0), (10_000.0, 20_000.0), (20_000.0, 30_000.0))


def get_wd(session: Session) -> Answer:
    """Tell the working distance; a NaN by fault is sent as a C library prints it."""
    value = session.instrument.optics.working_distance_mm
    return encode_body(["nan"]) if value != value else (value,)  # noqa: PLR0124 - NaN alone differs from itself


def set_wd(session: Session, working_distance_mm: float) -> None:
    """Move the lens."""
    session.instrument.optics.set_working_distance(working_distance_mm)


def auto_wd(
    session: Session, _channel: int, low_mm: float = 0.0, high_mm: float = 0.0, _dwell: int = 0
) -> None:
    """Focus roughly; ignored while something scans."""
    _focus(session, sharksem_procedures.COARSE, low_mm, high_mm)


def auto_wd_fine(
    session: Session, _channel: int, low_mm: float = 0.0, high_mm: float = 0.0, _step_mm: float = 0.0
) -> None:
    """Focus finely; ignored while something scans."""
    _focus(session, sharksem_procedures.FINE, low_mm, high_mm)


def _focus(session: Session, how: sharksem_procedures.FocusProcedure, low_mm: float, high_mm: float) -> None:
    instrument = session.instrument
    if not instrument.scan.active and not instrument.live.scanning:
        instrument.procedures.focus(how, low_mm, high_mm)


def auto_stigmators(_session: Session, *_arguments: float) -> None:
    """Needs a licence that the simulated microscope lacks."""
    raise CommandRefusedError("no licence")


def get_view_field(session: Session) -> Answer:
    """Tell the width of the scan window."""
    return (session.instrument.column.field_of_view_mm,)


def set_view_field(session: Session, field_of_view_mm: float) -> None:
    """Set the width of the scan window."""
    session.instrument.optics.set_field_of_view(field_of_view_mm)


def get_beam_current(session: Session) -> Answer:
    """Tell the beam current."""
    return (session.instrument.column.probe_current_pa,)


def set_beam_current(session: Session, current_pa: float) -> None:
    """Set the beam current."""
    session.instrument.optics.set_beam_current(current_pa)


def get_i_absorbed(session: Session, _signed: int = 0) -> Answer:
    """Tell the current that the specimen takes: most of the beam, when it is on."""
    instrument = session.instrument
    reaches = instrument.optics.beam_reaches_specimen
    return (0.8 * instrument.column.probe_current_pa if reaches else 0.0,)


def get_spot_size(session: Session) -> Answer:
    """Tell the diameter of the focused beam."""
    return (2.0 * session.instrument.column.options.beam_radius_nm,)


def get_opt_params(session: Session) -> Answer:
    """Tell the optics' state as a map."""
    instrument = session.instrument
    entries = {
        "wd": instrument.column.working_distance_mm,
        "viewfield": instrument.column.field_of_view_mm,
        "hv": instrument.column.accelerating_voltage_kv * 1000.0,
        "spotsize": 2.0 * instrument.column.options.beam_radius_nm,
    }
    return (format_map(entries),)


def get_image_shift(session: Session) -> Answer:
    """Tell the shift of the beam."""
    return session.instrument.column.image_shift_mm


def set_image_shift(session: Session, x_mm: float, y_mm: float) -> None:
    """Shift the beam."""
    session.instrument.optics.set_image_shift(x_mm, y_mm)


def get_image_rot(session: Session) -> Answer:
    """Tell the scan rotation."""
    return (session.instrument.optics.geometry.get(_SCAN_ROTATION, (0.0, 0.0))[0],)


def set_image_rot(session: Session, angle_deg: float) -> None:
    """Set the scan rotation."""
    set_geometry(session, _SCAN_ROTATION, angle_deg, 0.0)


def enum_centerings(_session: Session) -> Answer:
    """List the centerings; the indices have gaps, as on real microscopes."""
    entries: dict[str, object] = {}
    for index, name in _CENTERINGS.items():
        entries |= {f"cen.{index}.name": name, f"cen.{index}.count": 2, f"cen.{index}.unit": "%"}
    return (format_map(entries),)


def get_centering(session: Session, index: int) -> Answer:
    """Tell a centering."""
    instrument = session.instrument
    if index == _STIGMATOR:
        return instrument.column.stigmator_percent
    return instrument.optics.centering.get(index, (0.0, 0.0))


def set_centering(session: Session, index: int, x_percent: float, y_percent: float, _store: int = 0) -> None:
    """Set a centering."""
    optics = session.instrument.optics
    if index == _STIGMATOR:
        optics.set_stigmator(x_percent, y_percent)
    elif index in _CENTERINGS:
        optics.set_centering(index, x_percent, y_percent)


def enum_geometries(_session: Session) -> Answer:
    """List the geometric transformations."""
    entries: dict[str, object] = {}
    for index, (name, count, unit, _) in _GEOMETRIES.items():
        entries |= {f"geom.{index}.name": name, f"geom.{index}.count": count, f"geom.{index}.unit": unit}
    return (format_map(entries),)


def get_geometry(session: Session, index: int) -> Answer:
    """Tell a geometric transformation."""
    if index == _IMAGE_SHIFT:
        return session.instrument.column.image_shift_mm
    return session.instrument.optics.geometry.get(index, (0.0, 0.0))


def set_geometry(session: Session, index: int, x: float, y: float) -> None:
    """Set a geometric transformation."""
    if index == _IMAGE_SHIFT:
        set_image_shift(session, x, y)
    elif index in _GEOMETRIES:
        session.instrument.optics.set_geometry(index, x, y, _GEOMETRIES[index][3])


def get_geom_limits(_session: Session, index: int) -> Answer:
    """Tell the limits of a geometric transformation; -1 for an unknown one."""
    if index not in _GEOMETRIES:
        return (-1, 0.0, 0.0, 0.0, 0.0)
    return (0, *_GEOMETRIES[index][3])


def hv_get_voltage(session: Session) -> Answer:
    """Tell the accelerating voltage in volts."""
    return (session.instrument.column.accelerating_voltage_kv * 1000.0,)


def hv_set_voltage(session: Session, volts: float, asynchronous: int = 0) -> Awaitable[None]:
    """Set the accelerating voltage; holds the session unless asked not to."""
    return session.instrument.optics.set_voltage(volts, wait=not asynchronous)


def hv_get_beam(session: Session) -> Answer:
    """Tell whether the beam is on."""
    return (session.instrument.optics.beam,)


def hv_beam_on(session: Session) -> None:
    """Switch the beam on."""
    session.instrument.optics.switch_beam(on=True)


def hv_beam_off(session: Session) -> None:
    """Switch the beam off."""
    session.instrument.optics.switch_beam(on=False)


def hv_enum_indexes(_session: Session) -> Answer:
    """List the ranges of the high voltage."""
    entries: dict[str, object] = {}
    for index, (low, high) in enumerate(_VOLTAGE_RANGES_V):
        entries |= {f"hv.{index}.min": low, f"hv.{index}.max": high, f"hv.{index}.value": high}
    return (format_map(entries),)


def hv_get_index(session: Session) -> Answer:
    """Tell the range of the high voltage."""
    optics = session.instrument.optics
    if optics.voltage_changing:
        return (_INDEX_CHANGING,)
    if optics.beam == sharksem_optics.BEAM_OFF:
        return (_INDEX_OFF,)
    volts = session.instrument.column.accelerating_voltage_kv * 1000.0
    return (next((i for i, (_, high) in enumerate(_VOLTAGE_RANGES_V) if volts <= high), 0),)


def hv_get_emission(session: Session) -> Answer:
    """Tell the emission current in microamperes."""
    return (0.0 if session.instrument.optics.beam == sharksem_optics.BEAM_OFF else 150.0,)
