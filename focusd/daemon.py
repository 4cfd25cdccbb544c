"""The composition root: builds every object, and names the order of start and shutdown.

Start: state directory, HTTP endpoint, READY, microscope. Shutdown: HTTP endpoint, running refocus (the
lens is put back), microscope link, state directory.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import structlog

from focusd import __version__
from focusd.api.server import serve_http
from focusd.config import Config
from focusd.errors import ConfigError
from focusd.focus import replay
from focusd.focus.metrics import METRICS
from focusd.framepool import FRAMES
from focusd.microscope.registry import connect, driver_names
from focusd.notify import Notifier
from focusd.service.heartbeat import Heartbeat
from focusd.service.intake import taking_files
from focusd.service.looplag import LoopLag
from focusd.service.spare_memory import give_memory_back
from focusd.service.status import Status
from focusd.service.streaming import stream_of, subscribing, taking_stream
from focusd.service.supervisor import PAUSED_SETTING, Supervisor
from focusd.service.watchdog import feed
from focusd.service.workers import Workers
from focusd.store.database import Store, open_store
from focusd.store.housekeeping import keep_house

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon: where its endpoint listens, and its verbs."""

    url: str
    supervisor: Supervisor


def check(config: Config) -> None:
    """Check what the settings tree cannot know by itself: names of drivers and metrics.

    Raises:
        ConfigError: naming the field and the known names.
    """
    problems = []
    if config.microscope.driver not in driver_names():
        known = ", ".join(driver_names())
        problems.append(f"microscope.driver must be one of {known}, got {config.microscope.driver!r}")
    for field, name in (("drift.metric", config.drift.metric), ("refocus.metric", config.refocus.metric)):
        if name not in METRICS:
            problems.append(f"{field} must be one of {', '.join(METRICS)}, got {name!r}")
    if problems:
        raise ConfigError(problems)


async def run_until_stopped(config: Config, *, notifier: Notifier, watchdog_s: float | None = None) -> None:
    """Run the daemon until SIGTERM or SIGINT, then shut down in order; a second signal ends it at once.

    Raises:
        ConfigError, StoreError, OSError: it could not be started.
    """
    stop = asyncio.Event()
    with _stop_on_signals(stop):
        async with running(config, notifier=notifier, watchdog_s=watchdog_s):
            await stop.wait()
            _log.info("stopping")


@asynccontextmanager
async def running(
    config: Config, *, notifier: Notifier | None = None, watchdog_s: float | None = None
) -> AsyncIterator[Daemon]:
    """Run the daemon for the length of a ``with`` block.

    Raises:
        ConfigError: a setting that cannot be used.
        StoreError: the state directory cannot be used.
        OSError: the endpoint's address cannot be listened on.
        ExceptionGroup: a fault inside the daemon.
    """
    check(config)
    if config.refocus.method != "spectral":
        replay.load()
    notifier = notifier or Notifier(None)
    heartbeat = Heartbeat()
    workers = Workers()
    asyncio.get_running_loop().set_default_executor(workers)
    kept = config.store
    async with open_store(kept.directory, max_frames=kept.max_frames, keep_days=kept.keep_days) as store:
        stream = stream_of(config)
        supervisor = Supervisor(
            config,
            store,
            connect=subscribing(lambda: connect(config.microscope), stream),
            heartbeat=heartbeat,
        )
        supervisor.board.listen(lambda status: notifier.status(_line(status)))
        async with asyncio.TaskGroup() as group:
            async with (
                supervisor.sources(),
                taking_files(config, supervisor),
                taking_stream(stream, supervisor),
                serve_http(config.http, supervisor) as url,
            ):
                _log.info("started", version=__version__, url=url)
                notifier.ready()
                notifier.status(_line(supervisor.status))
                owner = group.create_task(supervisor.run(), name="owner of the microscope")
                watchdog = group.create_task(
                    _feed(notifier, heartbeat, workers, store, watchdog_s), name="watchdog"
                )
                lag = group.create_task(
                    LoopLag(supervisor.note_loop_lag).watch(), name="lag of the event loop"
                )
                memory = group.create_task(give_memory_back(FRAMES), name="memory of frames")
                store_watch = group.create_task(supervisor.store_watch.run(), name="watch on the store")
                house = group.create_task(keep_house(store), name="housekeeping of the store")
                try:
                    yield Daemon(url, supervisor)
                finally:
                    notifier.stopping()
            lag.cancel()
            memory.cancel()
            house.cancel()
            store_watch.cancel()
            watchdog.cancel()
            owner.cancel()
            with suppress(asyncio.CancelledError):
                await owner
    _log.info("stopped")


async def _feed(
    notifier: Notifier, heartbeat: Heartbeat, workers: Workers, store: Store, watchdog_s: float | None
) -> None:
    """Feed the watchdog, if there is one, while the owner, the store and the threads make progress."""
    if watchdog_s is None:
        return
    signs = {
        "the store": lambda: store.settings.get(PAUSED_SETTING),
        "the threads": lambda: asyncio.to_thread(lambda: None),
    }
    await feed(notifier, lambda: (*heartbeat.overdue, *workers.overdue), signs, watchdog_s=watchdog_s)


def _line(status: Status) -> str:
    reason = f": {status.reason}" if status.reason else ""
    return f"{status.state}{reason}"


@contextmanager
def _stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        stop.set()
        # From now on the second signal does what the system's default is: it ends the process.
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
