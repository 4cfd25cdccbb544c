"""``focusd check-config`` and ``focusd schema``: what a configuration may hold, and whether one is good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focusd.errors import ConfigError

if TYPE_CHECKING:
    from focusd.config import Config

ConfigFile = Annotated[Path, typer.Argument(metavar="FILE", help="The configuration to check.")]


def check_config(file: ConfigFile) -> None:
    """Check a configuration file and say everything that is wrong with it.

    Nothing is started and no microscope is asked. Ends with 78 if focusd
    could not run with it.

    Example:
      focusd check-config /etc/focusd/focusd.toml
    """
    checked_config(file)
    typer.echo(f"{file}: OK")


def schema() -> None:
    """Print the JSON Schema of the configuration, each setting with its meaning.

    Example:
      focusd schema > focusd.schema.json
    """
    from focusd.config import Config

    typer.echo(json.dumps(Config.model_json_schema(), indent=2))


def checked_config(path: Path) -> Config:
    """Read a configuration and check all that can be checked without a microscope.

    Raises:
        ConfigError: naming every problem, with the file.
    """
    from focusd.configfile import load_config

    config = load_config(path)
    from focusd import daemon

    try:
        daemon.check(config)
    except ConfigError as error:
        raise ConfigError(error.problems, source=str(path)) from error
    return config
