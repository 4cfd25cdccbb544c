"""Commands of detectors and scanning."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from focusd.frame import Pixels, ScanRegion, ScanRequest
from focusd.protocol.sharksem_body import format_map
from focusd.protocol.sharksem_image import wire_pixels
from focusd.simulator.sharksem_instrument import SPEED_DWELLS_US
from focusd.simulator.sharksem_scan import ScanChannel, ScanOrder
from focusd.simulator.sharksem_session import CHANNELS, Answer, Channel, LookUpTable, Session

MAX_SCAN_PIXELS = 8192 * 8192

_REFUSED = (-1,)
_DONE = (0,)
_MAX_DWELL_NS = 10**9
_LUT_FROM_SESSION = 2
_GAIN_S = 0.1
_SPEED_S = 0.005
_MODES = ("RESOLUTION", "DEPTH", "FIELD", "WIDE FIELD")


def dt_enum_detectors(session: Session) -> Answer:
    """List the detectors; a detector's number is not its place in the list."""
    entries: dict[str, object] = {}
    for index, detector in enumerate(session.instrument.column.detectors):
        entries |= {f"det.{index}.name": detector.name, f"det.{index}.detector": detector.number}
    return (format_map(entries),)


def dt_get_channels(_session: Session) -> Answer:
    """Tell the number of video inputs."""
    return (CHANNELS,)


def dt_select(session: Session, channel: int, detector: int) -> None:
    """Put a detector on a channel."""
    known = any(detector == one.number for one in session.instrument.column.detectors)
    if 0 <= channel < CHANNELS and known:
        session.channels[channel].detector = detector


def dt_get_selected(session: Session, channel: int) -> Answer:
    """Tell the detector on a channel; 0 where none was selected."""
    return (_channel(session, channel).detector,)


def dt_enable(session: Session, channel: int, on: int, bits: int = 8) -> None:
    """Send a channel's pixels from the next scan on, with 8 or 16 bits; ignored during one's own scan."""
    if 0 <= channel < CHANNELS and not session.instrument.scan.active_for(session):
        chosen = session.channels[channel]
        chosen.enabled = bool(on)
        chosen.bits_per_pixel = 8 if bits <= 8 else 16


def dt_get_enabled(session: Session, channel: int) -> Answer:
    """Tell whether a channel is sent, and its depth."""
    chosen = _channel(session, channel)
    return (int(chosen.enabled), chosen.bits_per_pixel)


def _channel(session: Session, channel: int) -> Channel:
    return session.channels[channel] if 0 <= channel < CHANNELS else Channel()


def dt_get_gain_black(session: Session, detector: int) -> Answer:
    """Tell contrast and brightness."""
    setting = session.instrument.column.settings.get(detector)
    return (0.0, 0.0) if setting is None else (setting.gain_percent, setting.black_percent)


def dt_set_gain_black(session: Session, detector: int, gain_percent: float, black_percent: float) -> None:
    """Set contrast and brightness."""
    setting = session.instrument.column.settings.get(detector)
    if setting is not None:
        setting.gain_percent = min(max(gain_percent, 0.0), 100.0)
        setting.black_percent = min(max(black_percent, 0.0), 100.0)
        session.instrument.optics.settle_for(_GAIN_S)


def dt_auto_signal(session: Session, channel: int, _dwell: int = 0) -> None:
    """Set contrast and brightness by themselves; ignored while something scans."""
    instrument = session.instrument
    if not instrument.scan.active and not instrument.live.scanning:
        instrument.procedures.auto_signal(_channel(session, channel).detector)


def sc_enum_speeds(_session: Session) -> Answer:
    """List the scan speeds."""
    return (format_map({f"speed.{i}.dwell": dwell for i, dwell in enumerate(SPEED_DWELLS_US, start=1)}),)


def sc_get_speed(session: Session) -> Answer:
    """Tell the scan speed."""
    return (session.instrument.speed,)


def sc_set_speed(session: Session, speed: int) -> None:
    """Choose the scan speed for the next scan; the nearest one when there is none such."""
    session.instrument.speed = min(max(speed, 1), len(SPEED_DWELLS_US))
    session.instrument.optics.settle_for(_SPEED_S)


async def sc_scan_xy(  # noqa: PLR0913, PLR0917 - the wire has so many
    session: Session,
    frame_id: int,
    width: int,
    height: int,
    left: int,
    top: int,
    right: int,
    bottom: int,
    frames: int,
    dwell_ns: int = 0,
    lines: int = 1,
) -> Answer:
    """Start a scan of a rectangle; -1 when that is impossible now, or ever."""
    inside = left <= right < width and top <= bottom < height
    if not inside or width * height > MAX_SCAN_PIXELS or frames < 0:
        return _REFUSED
    region = ScanRegion(left, top, right - left + 1, bottom - top + 1)
    dwell_us = _dwell_us(session, dwell_ns) * max(lines, 1)

    def make(bits_per_pixel: int, detector: int) -> Callable[[], Pixels]:
        request = ScanRequest(width, height, dwell_us, bits_per_pixel, region)
        return session.instrument.optics.expose(request, detector).render

    return await _start(session, frame_id, region.width * region.height, dwell_us, frames, make)


async def sc_scan_line(  # noqa: PLR0913, PLR0917 - the wire has so many
    session: Session,
    frame_id: int,
    width: int,
    height: int,
    x0: int,
    y0: int,
    x1: int,
    y1: int,
    dwell_ns: int,
    pixels: int,
    frames: int,
) -> Answer:
    """Start a scan of a straight line; -1 when that is impossible now, or ever."""
    inside = max(x0, x1) < width and max(y0, y1) < height
    if not inside or not 0 < pixels <= MAX_SCAN_PIXELS or width * height > MAX_SCAN_PIXELS or frames < 0:
        return _REFUSED
    left, top = min(x0, x1), min(y0, y1)
    region = ScanRegion(left, top, abs(x1 - x0) + 1, abs(y1 - y0) + 1)
    columns = np.rint(np.linspace(x0 - left, x1 - left, pixels)).astype(np.intp)
    rows = np.rint(np.linspace(y0 - top, y1 - top, pixels)).astype(np.intp)
    dwell_us = _dwell_us(session, dwell_ns)

    def make(bits_per_pixel: int, detector: int) -> Callable[[], Pixels]:
        request = ScanRequest(width, height, dwell_us, bits_per_pixel, region)
        render = session.instrument.optics.expose(request, detector).render
        return lambda: render()[rows, columns]

    return await _start(session, frame_id, pixels, dwell_us, frames, make)


async def _start(
    session: Session,
    frame_id: int,
    pixels: int,
    dwell_us: float,
    frames: int,
    make: Callable[[int, int], Callable[[], Pixels]],
) -> Answer:
    instrument = session.instrument
    await instrument.live.stopped()
    if instrument.live.scanning or instrument.procedures.running:
        return _REFUSED
    channels = tuple(
        _scan_channel(session, number, channel, make)
        for number, channel in enumerate(session.channels)
        if channel.enabled
    )
    order = ScanOrder(session, frame_id, pixels, dwell_us * 1e-6, frames, channels, session.send_data)
    return _DONE if instrument.scan.start(order) else _REFUSED


def _scan_channel(
    session: Session, number: int, channel: Channel, make: Callable[[int, int], Callable[[], Pixels]]
) -> ScanChannel:
    bits_per_pixel, detector = channel.bits_per_pixel, channel.detector

    def expose() -> Callable[[], bytes]:
        render = make(bits_per_pixel, detector)
        table = session.luts[number] if session.lut_source == _LUT_FROM_SESSION else None
        return lambda: wire_pixels(render() if table is None else _looked_up(render(), table))

    return ScanChannel(number, bits_per_pixel, expose)


def _looked_up(pixels: Pixels, table: LookUpTable) -> Pixels:
    most = int(np.iinfo(pixels.dtype).max)
    levels: NDArray[np.float64] = np.arange(most + 1) / most
    spread = np.clip((levels - table.low) / max(table.high - table.low, 1e-6), 0.0, 1.0)
    values = np.rint(most * spread ** max(table.gamma, 1e-3))
    if pixels.dtype == np.uint8:
        return values.astype(np.uint8)[pixels]
    return values.astype(np.uint16)[pixels]


def _dwell_us(session: Session, dwell_ns: int) -> float:
    return min(dwell_ns, _MAX_DWELL_NS) / 1000.0 if dwell_ns > 0 else session.instrument.dwell_us


def sc_stop_scan(session: Session) -> None:
    """Stop the scan, whoever started it: there is one scan generator."""
    session.instrument.scan.stop()


def sc_get_time_est_ex(
    session: Session,
    _width: int,
    _height: int,
    left: int,
    top: int,
    right: int,
    bottom: int,
    frames: int,
    dwell_ns: int = 0,
    lines: int = 1,
) -> Answer:
    """Tell how long a scan will take, in seconds."""
    pixels = max(right - left + 1, 0) * max(bottom - top + 1, 0) * max(frames, 1) * max(lines, 1)
    return (pixels * _dwell_us(session, dwell_ns) * 1e-6,)


def sc_get_blanker(session: Session, index: int = 0) -> Answer:
    """Tell the mode of a blanker."""
    return (session.instrument.optics.blanker.get(index, 0),)


def sc_set_blanker(session: Session, index_or_mode: int, mode: int | None = None) -> None:
    """Set the mode of a blanker, the electrostatic one when only a mode is given."""
    index, chosen = (0, index_or_mode) if mode is None else (index_or_mode, mode)
    if index in session.instrument.optics.blanker and chosen in (0, 1, 2):
        session.instrument.optics.blanker[index] = chosen


def sc_get_external(session: Session) -> Answer:
    """Tell whether the external scan input is chosen."""
    return (session.instrument.external_scan,)


def sc_set_external(session: Session, on: int) -> None:
    """Choose the external scan input."""
    session.instrument.external_scan = int(bool(on))


def sc_set_beam_pos(session: Session, x: float, y: float) -> None:
    """Park the beam; ignored while a scan runs."""
    if not session.instrument.scan.active:
        session.instrument.beam_position = (min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0))


def sc_lut_src_get(session: Session) -> Answer:
    """Tell where the look-up table comes from."""
    return (session.lut_source,)


def sc_lut_src_set(session: Session, source: int) -> None:
    """Choose where the look-up table comes from."""
    if source in (0, 1, 2):
        session.lut_source = source


def sc_lut_par_get(session: Session, channel: int) -> Answer:
    """Tell the session's look-up table."""
    table = session.luts.get(channel, LookUpTable())
    return (table.low, table.high, table.gamma)


def sc_lut_par_set(session: Session, channel: int, low: float, high: float, gamma: float) -> None:
    """Set the session's look-up table."""
    if 0 <= channel < CHANNELS and math.isfinite(low + high + gamma):
        session.luts[channel] = LookUpTable(low, high, gamma)


def sm_enum_modes(_session: Session) -> Answer:
    """List the scanning modes."""
    return (format_map({f"mode.{index}.name": name for index, name in enumerate(_MODES)}),)


def sm_get_mode(session: Session) -> Answer:
    """Tell the scanning mode."""
    return (session.instrument.scan_mode,)


def sm_set_mode(session: Session, mode: int) -> None:
    """Choose the scanning mode, which has no effect on the image."""
    if 0 <= mode < len(_MODES):
        session.instrument.scan_mode = mode
        session.instrument.optics.settle_for(_GAIN_S)


def gui_get_scanning(session: Session) -> Answer:
    """Tell whether a live window scans."""
    return (int(session.instrument.live.scanning),)


def gui_set_scanning(session: Session, mode: int) -> None:
    """Start or stop the live window."""
    session.instrument.live.set(mode)
