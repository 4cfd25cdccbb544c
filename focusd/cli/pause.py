"""``focusd pause`` and ``focusd resume``: take focusd's hands off the microscope, and let it go on."""

from __future__ import annotations

from typing import Annotated

import typer

from focusd.cli.answers import text
from focusd.cli.connection import DEFAULT_URL, AsJson, TokenFile, Url, print_json, reach

Reason = Annotated[str, typer.Argument(metavar="REASON", help="Shown to everybody who asks for the status.")]


def pause(
    reason: Reason = "paused from the command line",
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Take focusd's hands off the microscope until it is resumed.

    No frame is taken and nothing is moved. A running refocus is cancelled,
    and the working distance put back. A pause outlives a restart.

    Example:
      focusd pause "aligning the aperture"
    """
    answer = reach(url, token_file).post("/v1/pause", {"reason": reason})
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"paused: {reason}")


def resume(url: Url = DEFAULT_URL, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Let focusd go on after a pause, or after it has given up.

    Example:
      focusd resume
    """
    answer = reach(url, token_file).post("/v1/resume")
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"resumed: {text(answer, 'state', 'at work again')}")
