"""The configuration: one frozen tree. ``focusd.configfile`` reads it from a TOML file and the environment.

Every key carries its unit, every field its meaning: ``focusd schema`` prints both.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from focusd.protocol.bridge import DEFAULT_PORT

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Pixels = Annotated[int, Field(ge=64, le=32_768)]
WorkingDistanceMm = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class _Section(BaseModel):
    """A section: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Limits(_Section):
    """What may be commanded at all."""

    working_distance_mm: tuple[WorkingDistanceMm, WorkingDistanceMm]
    """Lowest and highest working distance focusd may ever set. Keep the specimen out of reach of the lens."""

    @model_validator(mode="after")
    def _ordered(self) -> Limits:
        low, high = self.working_distance_mm
        if low >= high:
            raise ValueError(
                f"working_distance_mm must be [low, high] with low below high, got [{low:g}, {high:g}]"
            )
        return self


class Timeouts(_Section):
    """Deadlines of the microscope link, in seconds."""

    connect_s: Positive = 5.0
    """For opening the connection."""
    request_s: Positive = 5.0
    """For the answer to one command."""
    settle_s: Positive = 10.0
    """For the lens to settle after a move."""
    ping_interval_s: Positive = 10.0
    """How often an idle link is asked for a sign of life."""
    reconnect_max_s: Positive = 30.0
    """Longest pause between two attempts to connect."""


class MicroscopeSettings(_Section):
    """The microscope and the way to it."""

    driver: str = "sharksem"
    """Protocol it speaks: ``sharksem`` (TESCAN), or ``bridge`` for any instrument with a bridge program."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """Name or address of the microscope's computer."""
    port: Annotated[int, Field(ge=1, le=65_534)] = 8300
    """TCP control port; 8460 when not given with ``bridge``. SharkSEM uses the next one for images."""
    channel: Annotated[int, Field(ge=0, le=31)] = 0
    """Image channel focusd scans with, counted from 0 (SharkSEM)."""
    detector: Annotated[int, Field(ge=0)] | None = None
    """Detector number to put on that channel; left as the operator chose it when not given (SharkSEM)."""
    max_payload_mib: Annotated[int, Field(ge=1, le=4096)] = 256
    """Largest image that is accepted, in MiB (bridge)."""
    limits: Limits
    """Limits no command of focusd goes past."""
    working_distance_tolerance_um: Positive = 1.0
    """How far a readback may be from the setpoint and still count as reached."""
    timeouts: Timeouts = Timeouts()
    """Deadlines."""

    @model_validator(mode="before")
    @classmethod
    def _port_of_driver(cls, given: object) -> object:
        if isinstance(given, dict) and "port" not in given and given.get("driver") == "bridge":
            return given | {"port": DEFAULT_PORT}
        return given


class FramesSettings(_Section):
    """Where frames come from."""

    source: Literal["scan", "push", "folder", "relay"] = "scan"
    """``scan``: focusd takes them itself; ``push``: others take them and send them to ``POST /v1/frames``;
    ``folder``: others write them as files into ``folder.path``; ``relay``: others take them through focusd's
    relay (SharkSEM)."""


class FolderSettings(_Section):
    """A folder into which others write frames as files, one image each."""

    path: Path | None = None
    """The folder; relative to the configuration file. It may be made, or mounted, later."""
    patterns: Annotated[tuple[str, ...], Field(min_length=1)] = ("*.tif", "*.tiff", "*.png", "*.bmp")
    """Names of the images, in any case. Names that begin with a dot never count."""
    recursive: bool = False
    """Whether subfolders count."""
    existing: Literal["skip", "judge"] = "skip"
    """What becomes of the files that are there when focusd is started for the very first time."""
    settle_s: Annotated[float, Field(ge=0.05, le=3600)] = 1.0
    """A file is read when it has not changed for so long, or at once if it was renamed into place."""
    give_up_s: Annotated[float, Field(ge=0, le=86_400)] = 30.0
    """A file that has not changed for so long and still is no complete image is refused until it changes."""
    polling: bool = False
    """For network shares, of whose changes the system does not tell: list the folder often instead."""
    polling_interval_s: Annotated[float, Field(ge=0.05, le=3600)] = 2.0
    """With ``polling``: how often; less often where listing takes more than a twentieth of that."""
    rescan_s: Annotated[float, Field(ge=0.05, le=86_400)] = 30.0
    """Without: how often the folder is listed in case that the system has lost a change."""
    max_file_mib: Annotated[int, Field(ge=1, le=2048)] = 256
    """Largest file that is read, and that a compressed one may unfold to."""
    label: str = Field(default="", max_length=64)
    """Your own word for what is imaged; baselines of different labels are kept apart."""
    pixel_size_nm: Positive | None = None
    """Side of a pixel on the specimen, where a file does not tell it."""
    dwell_time_us: Positive | None = None
    """Time the beam rests on a pixel, where a file does not tell it."""
    accelerating_voltage_kv: Positive | None = None
    """Of the beam, where a file does not tell it."""
    detector: str | None = Field(default=None, min_length=1, max_length=64)
    """Name of the detector, where a file does not tell it."""


class RelaySettings(_Section):
    """The relay: acquisition software connects to it as to the microscope."""

    listen: str = "127.0.0.1:8310"
    """Address and control port to listen on; images come on the next port. The protocol knows no password:
    listen only where the microscope itself might."""
    max_hold_s: Positive = 600.0
    """Longest a client's scan waits for a refocus before it is let through."""

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, listen: str) -> str:
        _address(listen)
        return listen

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of ``listen``."""
        return _address(self.listen)


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    # 65,535 has no next port.
    if not (
        separator and host and port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65_534
    ):
        raise ValueError(f'must be "HOST:PORT" with a port from 0 (a free one) to 65534, got {text!r}')
    return host.removeprefix("[").removesuffix("]"), int(port)


class RegionSettings(_Section):
    """A part of the scan's pixel grid."""

    x: Annotated[int, Field(ge=0)]
    """Left edge, in pixels."""
    y: Annotated[int, Field(ge=0)]
    """Top edge, in pixels."""
    width: Pixels
    """Columns."""
    height: Pixels
    """Rows."""


class ScanSettings(_Section):
    """How focusd scans."""

    width: Pixels = 1024
    """Pixels across the field of view."""
    height: Pixels = 1024
    """Pixels down the field of view."""
    dwell_time_us: Annotated[float, Field(ge=0.01, le=100_000)] = 1.0
    """Time the beam rests on a pixel."""
    bits_per_pixel: Literal[8, 16] = 8
    """Depth of the image."""
    region: RegionSettings | None = None
    """Restricts the beam to a part of the field of view."""
    focus_region: Literal["auto", "frame"] | RegionSettings = "auto"
    """What a refocus scans. ``auto``: the middle of the frame, half as wide and high but 256 to 1024 px, so
    that a refocus costs less dose than one frame; ``frame``: all of it; or a region of your own."""
    focus_dwell_time_us: Annotated[float, Field(ge=0.01, le=100_000)] | None = None
    """Dwell time of a refocus's scans; that of the frames when not given."""
    trigger: Literal["interval", "request"] = "interval"
    """``interval``: a frame every ``interval_s``; ``request``: only when asked by ``POST /v1/scans``."""
    interval_s: Annotated[float, Field(ge=0, le=86_400)] = 10.0
    """From the start of one frame to the start of the next; 0 is back to back."""
    label: str = Field(default="", max_length=64)
    """Your own word for what is imaged; baselines of different labels are kept apart."""

    @model_validator(mode="after")
    def _region_inside(self) -> ScanSettings:
        region, focus = self.region, self.focus_region
        _check_inside("region", region, (0, 0, self.width, self.height))
        if isinstance(focus, RegionSettings):
            x, y, width, height = (
                (region.x, region.y, region.width, region.height)
                if region
                else (0, 0, self.width, self.height)
            )
            _check_inside("focus_region", focus, (x, y, width, height))
        return self


def _check_inside(name: str, region: RegionSettings | None, frame: tuple[int, int, int, int]) -> None:
    """Raise ``ValueError`` unless ``region`` lies inside the frame (x, y, width, height)."""
    if region is None:
        return
    x, y, width, height = frame
    right, bottom = region.x + region.width, region.y + region.height
    if region.x < x or region.y < y or right > x + width or bottom > y + height:
        raise ValueError(
            f"{name} must lie inside x {x}..{x + width}, y {y}..{y + height}, "
            f"got x {region.x}..{right}, y {region.y}..{bottom}"
        )


class BaselineSettings(_Section):
    """How the reference sharpness comes about."""

    policy: Literal["autofocus", "learn", "manual"] = "autofocus"
    """``autofocus``: focus the first frame and keep its verified sharpness; ``learn``: take the median of
    the first frames; ``manual``: wait for the operator."""
    learn_frames: Annotated[int, Field(ge=1, le=1000)] = 10
    """Judgeable frames that policy ``learn`` needs."""
    follow_frames: Annotated[int, Field(ge=0, le=1000)] = 300
    """Frames are compared with the median of so many that were found in focus, but at least 0.8 of the
    baseline; 0 compares them with the baseline itself."""


class DriftSettings(_Section):
    """When focus counts as lost."""

    metric: str = "band_ratio"
    """Metric that is compared with the baseline; see ``focusd score --list``."""
    detector: Literal["both", "ratio", "cusum", "ewma"] = "both"
    """``ratio``: enough frames below a share of the baseline, soonest at a marked loss; ``cusum`` (Page 1954)
    and ``ewma`` (Roberts 1959): control charts of the log score, which also notice small and slow losses;
    ``both``: ``ratio`` or ``cusum``, whichever speaks first."""
    threshold_ratio: Fraction = 0.72
    """``ratio``: a frame under this share of the baseline is below."""
    suspect_ratio: Fraction = 0.78
    """``ratio``: a frame under this share of the baseline is suspect, or under ``threshold_ratio`` if that is
    higher."""
    frames_below: Annotated[int, Field(ge=1, le=100)] = 3
    """``ratio``: so many frames below ..."""
    frames_window: Annotated[int, Field(ge=1, le=100)] = 4
    """... among this many judgeable frames mean that focus is lost."""
    cusum_reference: Annotated[float, Field(ge=0, le=10)] = 0.5
    """``cusum``: fall of a frame that is allowed, in units of the content's scatter."""
    cusum_limit: Annotated[float, Field(gt=0, le=1000)] = 40.0
    """``cusum``: sum of the falls beyond that which means that focus is lost, in the same units."""
    ewma_weight: Annotated[float, Field(gt=0, le=1)] = 0.2
    """``ewma``: weight of the newest frame."""
    ewma_limit: Annotated[float, Field(gt=0, le=100)] = 7.0
    """``ewma``: average that means that focus is lost, in its own standard deviations."""
    lost_signal_frames: Annotated[int, Field(ge=0, le=10_000)] = 5
    """So many frames in a row too faint to judge (empty ones not counted), where there used to be plenty of
    signal, mean that focus may be lost altogether; 0 never takes it so."""

    @model_validator(mode="after")
    def _window_holds_them(self) -> DriftSettings:
        if self.frames_below > self.frames_window:
            raise ValueError(
                f"frames_below must be at most frames_window = {self.frames_window}, got {self.frames_below}"
            )
        return self


class RefocusSettings(_Section):
    """What is done when focus is lost."""

    mode: Literal["immediate", "checkpoint", "advise"] = "immediate"
    """``immediate``: refocus at once; ``checkpoint``: when the acquisition software says that it is between
    two tiles (``POST /v1/checkpoint``); ``advise``: never move, only report."""
    method: Literal["spectral", "brent", "brent-wide"] = "spectral"
    """``spectral``: focus from the relative blur of two scans, seen by a third, with the last step of Brent's
    method; ``brent``: a bracket around the current working distance, then Brent's method in it;
    ``brent-wide``: Brent's method over the whole of ``microscope.limits`` with 1/variance of the Laplacian, as
    published."""
    metric: str = "log_energy"
    """Metric that ``brent`` maximises."""
    depth_of_field_um: Annotated[float, Field(gt=0, le=20_000)] = 2.0
    """Defocus that adds one pixel of blur; sets the search's first step and its tolerance."""
    probe: bool = True
    """Whether an alarm is checked first: a scan beside the present working distance shows whether focus is
    the matter at all. A true alarm costs no scan more by this."""
    probe_suspicion: bool = True
    """Where acquisition waits for the verdict or comes to a checkpoint, whether the first suspect frame is
    probed already: a probe costs less than that tile and the next ones taken again."""
    place_cool_down_s: Annotated[float, Field(ge=0, le=604_800)] = 3600.0
    """How long a place where a probe found that focus is not the matter is left alone."""
    max_scans: Annotated[int, Field(ge=4, le=100)] = 14
    """Images a refocus may take, verification included."""
    wide_maxiter: Annotated[int, Field(ge=2, le=100)] = 5
    """``maxiter`` of ``brent-wide``."""
    max_change_um: Positive = 200.0
    """Farthest the search may go from where it started."""
    deadline_s: Positive = 300.0
    """Longest a refocus may take."""
    keep_spectra: bool = False
    """Whether the power spectrum of each scan is kept, about 2 KiB each, for the newest 500 refocuses."""
    use_reference: bool = True
    """Whether ``spectral`` takes its second scan as far away as the last picture in focus under the same
    condition says that focus is; after a probe there is no need."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """Automatic tries in a row at one place, or three times as many at different ones, before focusd gives up
    and reports ``degraded``."""
    cool_down_s: Annotated[float, Field(ge=0, le=86_400)] = 600.0
    """Pause in ``degraded`` before focusd tries again by itself."""


def is_loopback(host: str) -> bool:
    """Tell whether listening on ``host`` is private to this computer; a name other than localhost is not."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HttpSettings(_Section):
    """The control endpoint."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to listen on. Any other than loopback needs ``token_file``."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8470
    """TCP port; 0 takes a free one."""
    token_file: Path | None = None
    """File with the access token (one line); clients send it as ``Authorization: Bearer``."""
    max_body_kib: Annotated[int, Field(ge=1, le=1024)] = 64
    """Largest request body but a frame."""
    max_frame_mib: Annotated[int, Field(ge=1, le=2048)] = 256
    """Largest frame that may be sent, and that a compressed one may unfold to."""
    frame_memory_mib: Annotated[int, Field(ge=1, le=65_536)] = 512
    """For all the frames that are being received and judged; a client that finds no room is told to wait."""

    @model_validator(mode="after")
    def _guarded(self) -> HttpSettings:
        if self.token_file is None and not is_loopback(self.host):
            message = "host must be a loopback address (127.0.0.1, ::1, localhost) unless token_file is set"
            raise ValueError(f"{message}, got {self.host}")
        return self


class StoreSettings(_Section):
    """What is kept on disk."""

    directory: Path = Path("state")
    """Where; relative to the configuration file."""
    max_frames: Annotated[int, Field(ge=100, le=10_000_000)] = 100_000
    """Frame verdicts kept; the oldest go first."""


class LogSettings(_Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe event that is written."""
    format: Literal["auto", "json", "console"] = "auto"
    """``auto``: colours on a terminal, JSON lines otherwise."""


class Config(_Section):
    """The whole configuration."""

    microscope: MicroscopeSettings
    """The microscope and the way to it."""
    frames: FramesSettings = FramesSettings()
    """Where frames come from."""
    folder: FolderSettings = FolderSettings()
    """A folder into which others write frames as files."""
    scan: ScanSettings = ScanSettings()
    """How focusd scans."""
    relay: RelaySettings = RelaySettings()
    """Where acquisition software connects to instead of the microscope."""
    baseline: BaselineSettings = BaselineSettings()
    """How the reference sharpness comes about."""
    drift: DriftSettings = DriftSettings()
    """When focus counts as lost."""
    refocus: RefocusSettings = RefocusSettings()
    """What is done when focus is lost."""
    http: HttpSettings = HttpSettings()
    """The control endpoint."""
    store: StoreSettings = StoreSettings()
    """What is kept on disk."""
    log: LogSettings = LogSettings()
    """What is written to standard error."""

    @model_validator(mode="after")
    def _source_is_told(self) -> Config:
        if self.frames.source == "folder" and self.folder.path is None:
            raise ValueError('folder.path is required with frames.source = "folder"')
        return self

    @model_validator(mode="after")
    def _relay_fits(self) -> Config:
        if self.frames.source != "relay":
            return self
        if self.microscope.driver != "sharksem":
            message = "frames.source = relay needs microscope.driver = sharksem"
            raise ValueError(f"{message}, got {self.microscope.driver}")
        if self.relay.max_hold_s <= self.refocus.deadline_s:
            raise ValueError(
                f"relay.max_hold_s must be above refocus.deadline_s = {self.refocus.deadline_s:g}, "
                f"got {self.relay.max_hold_s:g}"
            )
        return self
