"""How a command ends: the exit codes, and the one place where an error becomes a line and a code."""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import IntEnum
from typing import NoReturn, ParamSpec

import typer

from focusd.errors import ConfigError, FocusdError, StoreLockedError

P = ParamSpec("P")


class ExitCode(IntEnum):
    """What a command tells its caller; the numbers above 64 are those of ``sysexits.h``."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_DAEMON = 69
    BUSY = 75
    BAD_CONFIGURATION = 78
    INTERRUPTED = 130


class CommandFailedError(FocusdError):
    """A command cannot do what was asked; the message is one line for the person who asked.

    Args:
        message: What is wrong, and what to do next.
        exit_code: What the caller is told.
    """

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
        self.exit_code = exit_code
        super().__init__(message)


def plain(text: object) -> str:
    """Give text from elsewhere fit for a terminal: one line, control characters shown as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def complain(message: str) -> None:
    """Say on standard error what is wrong, in one line."""
    typer.echo(f"focusd: {plain(message)}", err=True)


def explained(command: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command so that an error focusd raises on purpose ends it with a line and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except FocusdError as error:
            end(error)

    return run


def end(error: FocusdError) -> NoReturn:
    """Explain the error and end the command.

    Raises:
        typer.Exit: always, with the exit code that belongs to the error.
    """
    if isinstance(error, ConfigError):
        for problem in error.problems:
            typer.echo(plain(f"{error.source}: {problem}"), err=True)
    else:
        complain(str(error))
    raise typer.Exit(_exit_code(error)) from error


def _exit_code(error: FocusdError) -> ExitCode:
    if isinstance(error, CommandFailedError):
        return error.exit_code
    if isinstance(error, ConfigError):
        return ExitCode.BAD_CONFIGURATION
    if isinstance(error, StoreLockedError):
        return ExitCode.BUSY
    return ExitCode.FAILED
