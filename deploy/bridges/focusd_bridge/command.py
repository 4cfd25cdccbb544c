"""Options every bridge has, and the main loop."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading

from .bridge import DEFAULT_PORT, Bridge
from .instrument import Instrument

log = logging.getLogger("focusd_bridge")


def parser(description: str) -> argparse.ArgumentParser:
    """Give the options every bridge has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    options.add_argument("--port", type=int, default=DEFAULT_PORT, help="default: %(default)s; 0: any")
    options.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="a computer that may connect; needed when --host is not loopback, may be given again",
    )
    options.add_argument("-v", "--verbose", action="store_true", help="log more")
    return options


def run(instrument: Instrument, options: argparse.Namespace) -> int:
    """Serve until it is interrupted or told to end (SIGTERM); give the exit code."""
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        with Bridge(instrument, options.host, options.port, tuple(options.allow)):
            # Windows hears of a signal between two waits only.
            while not ended.wait(0.5):
                pass
    except Exception:
        log.exception("the bridge cannot go on")
        return 1
    log.info("stopped")
    return 0
