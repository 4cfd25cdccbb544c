"""The configuration: one frozen tree. ``focusd.configfile`` reads it from a TOML file and the environment.

Every key carries its unit, every field its meaning: ``focusd schema`` prints both.
"""

from __future__ import annotations

from pydantic import model_validator

from focusd.config.base import Section
from focusd.config.daemon import HttpSettings, LogSettings, StoreSettings, is_loopback
from focusd.config.focus import BaselineSettings, DriftSettings, RefocusSettings, SurfaceSettings
from focusd.config.frames import FolderSettings, FramesSettings, RelaySettings, StreamSettings
from focusd.config.microscope import Limits, MicroscopeSettings, Timeouts
from focusd.config.scan import RegionSettings, ScanSettings

__all__ = [
    "BaselineSettings",
    "Config",
    "DriftSettings",
    "FolderSettings",
    "FramesSettings",
    "HttpSettings",
    "Limits",
    "LogSettings",
    "MicroscopeSettings",
    "RefocusSettings",
    "RegionSettings",
    "RelaySettings",
    "ScanSettings",
    "StoreSettings",
    "StreamSettings",
    "SurfaceSettings",
    "Timeouts",
    "is_loopback",
]


class Config(Section):
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
    stream: StreamSettings = StreamSettings()
    """Frames that the microscope's bridge tells of by itself."""
    baseline: BaselineSettings = BaselineSettings()
    """How the reference sharpness comes about."""
    drift: DriftSettings = DriftSettings()
    """When focus counts as lost."""
    refocus: RefocusSettings = RefocusSettings()
    """What is done when focus is lost."""
    surface: SurfaceSettings = SurfaceSettings()
    """Focus over the stage."""
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

    @model_validator(mode="after")
    def _stream_fits(self) -> Config:
        if self.frames.source != "stream":
            return self
        if self.microscope.driver == "sharksem":
            raise ValueError(
                'frames.source = "stream" needs microscope.driver = "bridge": a SharkSEM microscope tells of '
                'no frames by itself; with it use frames.source = "relay"'
            )
        if "mode" not in self.refocus.model_fields_set:
            # Nobody says where a frame begins or ends, so that nothing may move but when told.
            waiting = self.refocus.model_copy(update={"mode": "checkpoint"})
            object.__setattr__(self, "refocus", waiting)
        return self
