"""The options that every command for a running daemon has: where it is, how to be let in, how to answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from focusd.cli.answers import Json
    from focusd.cli.http import DaemonClient

DEFAULT_URL = "http://127.0.0.1:8470"

Url = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="FOCUSD_URL",
        metavar="URL",
        help="Where the daemon listens; unix:PATH for a socket file.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="FOCUSD_TOKEN_FILE",
        metavar="FILE",
        help="File with the daemon's access token, if it asks for one.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the daemon's answer as JSON.")]


def reach(url: str, token_file: Path | None) -> DaemonClient:
    """Make the client for a daemon; nothing is sent yet.

    Raises:
        CommandFailedError: the URL or the token file cannot be used.
    """
    from focusd.cli.http import DaemonClient, read_token

    return DaemonClient(url, token=read_token(token_file) if token_file else None)


def print_json(value: Json | list[Json]) -> None:
    """Print JSON for another program: ASCII, so no terminal and no locale can break it."""
    typer.echo(json.dumps(value, indent=2))
