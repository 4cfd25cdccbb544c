"""The daemon itself: its endpoint, its memory, its log."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from focusd.config.base import Section


def is_loopback(host: str) -> bool:
    """Tell whether listening on ``host`` is private to this computer; a name other than localhost is not."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HttpSettings(Section):
    """The control endpoint."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to listen on. Any other than loopback needs ``token_file``."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8470
    """TCP port; 0 takes a free one."""
    unix_socket: Path | None = None
    """Socket file to listen on beside the address, for programs of the same group on this computer."""
    token_file: Path | None = None
    """File with the access token (one line, mode 0600), unless systemd brings it as the credential
    ``http-token``; clients send it as ``Authorization: Bearer``."""
    read_token_file: Path | None = None
    """File with a second token, which may look and change nothing."""
    certificate_file: Path | None = None
    """Certificate chain (PEM); with ``private_key_file`` the endpoint speaks HTTPS."""
    private_key_file: Path | None = None
    """The certificate's key (PEM, without a password)."""
    max_changes_per_s: Annotated[int, Field(ge=1, le=1000)] = 10
    """Requests that move the lens or change a setting; more are told to come again."""
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
        if self.read_token_file is not None and self.token_file is None:
            raise ValueError("read_token_file needs token_file: without it everybody may do everything")
        if (self.certificate_file is None) != (self.private_key_file is None):
            raise ValueError("certificate_file and private_key_file must be set together")
        return self


class StoreSettings(Section):
    """What is kept on disk."""

    directory: Path = Path("state")
    """Where; relative to the configuration file."""
    max_frames: Annotated[int, Field(ge=100, le=10_000_000)] = 100_000
    """Frame verdicts kept; the oldest go first."""
    keep_days: Annotated[int, Field(ge=1, le=36_500)] = 365
    """Frame verdicts older than this go too, however few there are."""


class LogSettings(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe event that is written."""
    format: Literal["auto", "json", "console"] = "auto"
    """``auto``: colours on a terminal, JSON lines otherwise."""
