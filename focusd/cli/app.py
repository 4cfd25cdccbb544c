"""The table of commands, what ``focusd --help`` says, and the way in."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from focusd import __version__
from focusd.cli.bridge.command import check as bridge_check
from focusd.cli.demo.command import demo
from focusd.cli.history import history
from focusd.cli.outcome import explained
from focusd.cli.pause import pause, resume
from focusd.cli.refocus import refocus
from focusd.cli.run import run
from focusd.cli.score import score
from focusd.cli.settings import check_config, schema
from focusd.cli.simulate import simulate
from focusd.cli.status import status

DAEMON = "The daemon"
CLIENT = "Talk to a running daemon"
TOOLS = "Tools"

COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("run", run, DAEMON),
    ("check-config", check_config, DAEMON),
    ("schema", schema, DAEMON),
    ("status", status, CLIENT),
    ("refocus", refocus, CLIENT),
    ("history", history, CLIENT),
    ("pause", pause, CLIENT),
    ("resume", resume, CLIENT),
    ("demo", demo, TOOLS),
    ("score", score, TOOLS),
    ("simulate", simulate, TOOLS),
)

EPILOG = """
Exit codes:
    0  done
    1  failed
    2  the command line makes no sense
   69  no daemon answers
   75  busy, or another focusd has the state directory
   78  the configuration cannot be used
  130  interrupted by Ctrl-C
"""

app = typer.Typer(
    name="focusd",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"focusd {__version__}")
        raise typer.Exit


@app.callback()
def _focusd(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Keep an unattended scanning electron microscope in focus.

    Try it without a microscope:
      focusd demo

    Each command has a --help of its own, with an example.
    """


for _name, _command, _panel in COMMANDS:
    app.command(_name, rich_help_panel=_panel)(explained(_command))

bridge = typer.Typer(
    help="For labs that write a bridge of their own.", no_args_is_help=True, rich_markup_mode="rich"
)
bridge.command("check")(explained(bridge_check))
app.add_typer(bridge, name="bridge", rich_help_panel=TOOLS)


def main() -> None:
    """Run the ``focusd`` command; ends the process with one of the exit codes in the help."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character is no reason to fail.
            stream.reconfigure(errors="replace")
    app(prog_name="focusd")
