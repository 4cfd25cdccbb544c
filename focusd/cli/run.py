"""``focusd run``: the daemon itself, as a systemd unit or a person starts it."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from focusd.cli.outcome import CommandFailedError, ExitCode
from focusd.cli.settings import checked_config
from focusd.errors import FocusdError
from focusd.notify import Notifier, watchdog_interval_s

if TYPE_CHECKING:
    from focusd.config import Config

STDERR = 2

ConfigOption = Annotated[
    Path, typer.Option("-c", "--config", metavar="FILE", help="The configuration.", show_default=False)
]


def run(config: ConfigOption) -> None:
    """Run the daemon until SIGTERM or Ctrl-C.

    Environment variables override the file, e.g. FOCUSD__HTTP__PORT=8471.

    Example:
      focusd run -c /etc/focusd/focusd.toml
    """
    # Two copies of OpenBLAS would start a thread for every core each. It must be set before numpy is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with imports_kept():
        settings = checked_config(config)
        import cv2

        from focusd import daemon, logs  # noqa: F401 - loads all that the daemon needs

    cv2.setNumThreads(1)
    in_journal = writes_to_journal(os.environ.get("JOURNAL_STREAM"), STDERR)
    logs.configure(settings.log.level, settings.log.format, journal=in_journal)
    watchdog_s = watchdog_interval_s(
        os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID"), os.getpid()
    )
    _run_daemon(settings, _StartWitness(os.environ.get("NOTIFY_SOCKET")), watchdog_s)


@contextmanager
def imports_kept() -> Iterator[None]:
    """Keep what is imported in a ``with`` block out of Python's search for garbage.

    There are 80,000 such objects, and they stay: looking through them would take an eighth of the start, and
    later stop everything for some 30 ms whenever Python thinks it is time.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def writes_to_journal(journal_stream: str | None, descriptor: int) -> bool:
    """Tell whether what is written to a file descriptor goes to systemd's journal.

    Args:
        journal_stream: The environment's ``JOURNAL_STREAM``: device and inode, e.g. ``9:12345``. A child
            whose output goes elsewhere inherits it too, so it must be compared.
        descriptor: The file descriptor.
    """
    if not journal_stream:
        return False
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return journal_stream == f"{found.st_dev}:{found.st_ino}"


class _StartWitness(Notifier):
    """A notifier that remembers whether the start was complete."""

    has_started = False

    def ready(self) -> bool:
        self.has_started = True
        return super().ready()


def _run_daemon(settings: Config, notifier: _StartWitness, watchdog_s: float | None) -> None:
    """Run the daemon. A start that cannot be is one line; a fault after it is told in the log."""
    import asyncio

    import structlog

    from focusd import daemon

    try:
        asyncio.run(daemon.run_until_stopped(settings, notifier=notifier, watchdog_s=watchdog_s))
    except Exception as error:  # noqa: BLE001 - whatever ended the daemon must be in the log
        if not notifier.has_started:
            cause = lone_cause(error)
            if isinstance(cause, FocusdError):
                raise cause from None
            if isinstance(cause, OSError):
                raise CommandFailedError(cause.strerror or str(cause)) from None
        structlog.get_logger(__name__).critical("daemon_failed", exc_info=error)
        _leave_threads_behind(ExitCode.FAILED)
        raise typer.Exit(ExitCode.FAILED) from None
    _leave_threads_behind(ExitCode.DONE)


def _leave_threads_behind(status: ExitCode) -> None:
    """End the process at once if a thread hangs, in the look-up of a name say: all else has been done.

    Python would wait for it, and systemd in the end kill what it takes for a daemon that does not stop.
    """
    import structlog

    from focusd.service.workers import LEFT_BEHIND

    left = [thread.name for thread in threading.enumerate() if thread.name.startswith(LEFT_BEHIND)]
    if left:
        structlog.get_logger(__name__).warning("threads_left_behind", threads=left)
        os._exit(status)


def lone_cause(error: Exception) -> Exception:
    """Give what a task group wrapped, as long as it is one thing."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
