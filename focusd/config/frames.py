"""Where frames come from, when focusd does not take them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from focusd.config.base import Positive, Section


class FramesSettings(Section):
    """Where frames come from."""

    source: Literal["scan", "push", "folder", "relay", "stream"] = "scan"
    """``scan``: focusd takes them itself; ``push``: others take them and send them to ``POST /v1/frames``;
    ``folder``: others write them as files into ``folder.path``; ``relay``: others take them through focusd's
    relay (SharkSEM); ``stream``: others take them at the microscope, and its bridge tells of each."""


class FolderSettings(Section):
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


class StreamSettings(Section):
    """Frames that the microscope's bridge tells of by itself."""

    waiting_frames: Annotated[int, Field(ge=1, le=64)] = 4
    """Most frames that wait to be judged; when more come the oldest is dropped, and counted."""
    memory_mib: Annotated[int, Field(ge=1, le=65_536)] = 512
    """Most memory that waiting frames take; a frame that is larger is not received."""
    label: str = Field(default="", max_length=64)
    """Your own word for what is imaged; baselines of different labels are kept apart."""


class RelaySettings(Section):
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
