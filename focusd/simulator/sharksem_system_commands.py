"""Commands of the connection, the stage, the vacuum and everything else."""

from __future__ import annotations

from focusd import __version__
from focusd.protocol.sharksem import WAIT_FLAGS
from focusd.protocol.sharksem_body import encode_body, format_map
from focusd.simulator.sharksem_instrument import Progress
from focusd.simulator.sharksem_session import Answer, Session

_VERSION_BUFFER_BYTES = 64
_LICENCES = ("SharkSEM Advanced", "SharkSEM Automation")
_VACUUM_READY = 0
_PRESSURE_PA = 1e-3
_MAX_DELAY_MS = 600_000


def tcp_reg_data_port(session: Session, port: int) -> Answer:
    """Announce where the data connection will come from."""
    if not 0 < port < 65_536:
        return (-1,)
    session.data_port = port
    return (0,)


def tcp_get_version(session: Session) -> Answer:
    """Tell the protocol's version."""
    faults = session.instrument.faults
    if not faults.version_buffer:
        return (faults.protocol_version,)
    text = faults.protocol_version.encode() + b"\0"
    return encode_body([text + b"\xcd" * (_VERSION_BUFFER_BYTES - len(text))])


def tcp_get_sw_version(_session: Session) -> Answer:
    """Tell the software's version."""
    return (f"Version {__version__}, build 1",)


def tcp_get_device(_session: Session) -> Answer:
    """Tell the serial number."""
    return ("SIM-0001",)


def tcp_get_model(_session: Session) -> Answer:
    """Tell the model."""
    return ("SIMULATED",)


def is_license_valid(_session: Session, module: str) -> Answer:
    """Tell whether a licence is there."""
    return (int(module in _LICENCES),)


def is_busy(session: Session, mask: int) -> Answer:
    """Tell whether a condition of the mask, in header positions, is raised."""
    return (int(session.instrument.busy.raised(mask & WAIT_FLAGS)),)


def delay(session: Session, milliseconds: int) -> None:
    """Raise condition C for a while, and nothing else."""
    session.instrument.optics.settle_for(min(max(milliseconds, 0), _MAX_DELAY_MS) / 1000.0)


def chamber_led(session: Session, on: int) -> None:
    """Light the chamber."""
    session.instrument.chamber_led = bool(on)


def get_device_params(session: Session, group: int) -> Answer:
    """Tell what the header of a saved image would."""
    column = session.instrument.column
    groups: dict[int, dict[str, object]] = {
        0: {"Device": "SIMULATED", "SerialNumber": "SIM-0001", "SoftwareVersion": __version__},
        1: {
            "HV": column.accelerating_voltage_kv * 1000.0,
            "WD": column.working_distance_mm * 1e-3,
            "PredictedBeamCurrent": column.probe_current_pa * 1e-12,
            "SpotSize": 2e-9 * column.options.beam_radius_nm,
        },
    }
    return (format_map(groups.get(group, {})),)


def stg_get_position(session: Session) -> Answer:
    """Tell where the stage stands: x, y, z, rotation, tilt."""
    return session.instrument.stage.position


def stg_move_to(session: Session, *targets: float) -> None:
    """Move the stage; axes left out stay."""
    session.instrument.stage.move_to(*targets)


def stg_is_busy(session: Session) -> Answer:
    """Tell whether the stage moves."""
    return (int(session.instrument.stage.moving),)


def stg_is_calibrated(_session: Session) -> Answer:
    """Tell that the stage knows where it is."""
    return (1,)


def stg_stop(session: Session) -> None:
    """Stop the stage."""
    session.instrument.stage.stop()


def stg_get_limits(session: Session, _kind: int) -> Answer:
    """Tell the travel of every axis, lowest and highest in turn."""
    return tuple(limit for pair in session.instrument.stage.limits for limit in pair)


def stg_get_motorized(session: Session) -> Answer:
    """Tell which axes have a motor: all of them."""
    return (1,) * len(session.instrument.stage.limits)


def vac_get_status(_session: Session) -> Answer:
    """Tell that the chamber is pumped."""
    return (_VACUUM_READY,)


def vac_get_pressure(_session: Session, _gauge: int) -> Answer:
    """Tell the pressure in pascal."""
    return (_PRESSURE_PA,)


def progress_show(
    session: Session, title: str, text: str, _button: int, _marquee: int, _low: int, _high: int
) -> None:
    """Show a note in the microscope's own program; the last caller wins."""
    session.instrument.progress = Progress(session, title, text)


def progress_text(session: Session, text: str) -> None:
    """Change the note's text."""
    if session.instrument.progress is not None:
        session.instrument.progress.text = text


def progress_perc(session: Session, percent: int) -> None:
    """Change the note's bar."""
    if session.instrument.progress is not None:
        session.instrument.progress.percent = percent


def progress_hide(session: Session) -> None:
    """Take the note away."""
    session.instrument.progress = None


def camera_enable(session: Session, channel: int, zoom: float, rate_hz: float, _compression: int) -> None:
    """Send pictures of the chamber."""
    session.camera.enable(channel, zoom, rate_hz)


def camera_get_status(session: Session, _channel: int) -> Answer:
    """Tell whether pictures are sent, and how."""
    camera = session.camera
    return (int(camera.enabled), camera.zoom, camera.rate_hz, 0)


def camera_disable(session: Session) -> None:
    """Send no more pictures of the chamber."""
    session.camera.disable()
